"""One declared thing: from its place in the file to a checked value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from pkiconf.model.secret import Secret
from pkiconf.spec.acme import ACMEPolicySpec, decode_hmac_key
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.complaints import validate
from pkiconf.spec.document import Declaration
from pkiconf.spec.errors import Problem
from pkiconf.spec.mail import PASSWORD
from pkiconf.spec.misfits import Advised, Declared
from pkiconf.spec.nodes import Items, Mapping, Node, Scalar, find, steps, to_data
from pkiconf.spec.scep import check_passphrase, check_password
from pkiconf.spec.secrets import SecretSources, reference_text
from pkiconf.spec.settings import Settings
from pkiconf.spec.sources import read_beside
from pkiconf.spec.template import TemplateSpec

D = TypeVar("D", bound=Declared)
Data = dict[str, Any]


@dataclass(frozen=True)
class Kind(Generic[D]):
    """A declared kind: `key` is the top-level key, `files` the paths that name files with the octets each may have,
    `secrets` the paths where a secret is wanted with what checks it (raising Advised); a step `*` stands for every
    item of a list."""

    key: str
    noun: str
    model: type[D]
    files: dict[str, int] = field(default_factory=dict)
    secrets: MappingOf[str, Callable[[Secret], object]] = field(default_factory=dict)

    def secret_places(self, node: Node | None) -> Iterator[tuple[str, Scalar]]:
        """Each place below `node` where a secret is written, under its path: `external_account_bindings.0.hmac_key`."""
        if node is None:
            return
        for pattern in self.secrets:
            for path in _paths(node, pattern):
                scalar = _scalar_at(node, path)
                if scalar is not None and scalar.value() is not None:
                    yield path, scalar


def _anything(secret: Secret) -> None:
    """Any octets will do."""


SETTINGS = Kind("settings", "settings", Settings, secrets={PASSWORD: _anything})
AUTHORITIES = Kind(
    "authorities",
    "authority",
    AuthoritySpec,
    {
        "key.file": 1 << 16,
        "certificate.file": 1 << 16,
        "certificate.chain": 1 << 20,
        "import.issued": 256 << 20,
        "import.crl": 256 << 20,
        "cps.file": 1 << 20,
    },
    {"key.passphrase": _anything},
)
TEMPLATES = Kind(
    "templates",
    "template",
    TemplateSpec,
    secrets={
        "scep.static_passphrase": check_passphrase,  # short for the next
        "scep.static_passphrase.secret": check_passphrase,
        "scep.ndes.basic_auth.password": check_password,
        "scep.intune.client_secret": _anything,
    },
)
ACME_POLICIES = Kind(
    "acme_policies",
    "ACME policy",
    ACMEPolicySpec,
    secrets={"external_account_bindings.*.hmac_key": decode_hmac_key},
)


class Declarer:
    """Reads declared things; what is wrong goes to `problems`, what is only unwise to `findings`."""

    def __init__(self, secrets: SecretSources | None, problems: list[Problem]) -> None:
        self.secrets = secrets
        self.problems = problems
        self.findings: list[Problem] = []

    def declare(self, kind: Kind[D], node: Mapping) -> Declaration[D] | None:
        """None after adding at least one problem."""
        subject = subject_of(kind.noun, node)
        tagged: list[Scalar] = []
        data = cast(Data, to_data(node, tagged))
        before = len(self.problems)
        secrets = self._secrets(kind, node, data, subject, tagged)
        files = self._files(kind, node, data, subject)
        for scalar in tagged:
            places = ", ".join(path.replace(".*", "[]") for path in kind.secrets)
            wanted = f"A secret is wanted at {places} only" if places else "Write the value itself"
            self.problems.append(Problem(scalar.at, f"{subject}: {scalar.tag} may not stand here", wanted))
        spec = validate(kind.model, data, node, subject, self.problems)
        if spec is None or len(self.problems) > before:
            return None
        explicit = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return Declaration(spec, explicit, node.at, secrets, files, node)

    def _secrets(
        self, kind: Kind[D], node: Mapping, data: Data, subject: str, tagged: list[Scalar]
    ) -> dict[str, Secret]:
        found: dict[str, Secret] = {}
        for path, scalar in kind.secret_places(node):
            _put(data, path, reference_text(scalar))
            if scalar.tag is None:
                self.findings.append(
                    Problem(
                        scalar.at, f"{subject}: {path} stands in the file in plain text", "Use !env, !file or !vault"
                    )
                )
            else:
                tagged.remove(scalar)
            if self.secrets is None:
                continue
            try:
                found[path] = self.secrets.resolve(scalar)
                kind.secrets[_pattern(path)](found[path])
            except Advised as ex:
                self.problems.append(Problem(scalar.at, f"{subject}: {path}: {ex.problem}", ex.hint))
        return found

    def _files(self, kind: Kind[D], node: Mapping, data: Data, subject: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path, largest in kind.files.items():
            scalar = _scalar_at(node, path)
            if scalar is None or scalar.tag or not isinstance(scalar.value(), str):
                continue
            if path == "key.file" and self.secrets is None:
                continue
            try:
                content = read_beside(scalar.file, scalar.text, largest)
                found[path] = self.secrets.opened(content) if self.secrets else content
                if path == "cps.file":
                    self._take_text(data["cps"], found.pop(path))
            except Advised as ex:
                self.problems.append(Problem(scalar.at, f"{subject}: {path}: {ex.problem}", ex.hint))
        return found

    def _take_text(self, cps: dict[str, Any], content: bytes) -> None:
        """`cps.file` becomes `cps.text`, so that a changed file is a changed declaration."""
        if "text" in cps:
            return
        try:
            cps["text"] = content.decode()
        except UnicodeDecodeError:
            raise Advised("the practice statement is not UTF-8", "Save the file as UTF-8") from None
        del cps["file"]


def subject_of(noun: str, node: Mapping) -> str:
    """`template 'web'`, for messages."""
    name = node.get("name")
    return f"{noun} {name.text[:80]!r}" if isinstance(name, Scalar) and name.text else noun


def _scalar_at(node: Node, path: str) -> Scalar | None:
    found, taken = find(node, steps(path))
    return found if isinstance(found, Scalar) and taken == steps(path) else None


def _paths(node: Node, pattern: str) -> Iterator[str]:
    """The places below `node` that a path with `*` for every item of a list stands for."""
    above, star, below = pattern.partition(".*.")
    if not star:
        yield pattern
        return
    items, taken = find(node, steps(above))
    if isinstance(items, Items) and taken == steps(above):
        for number in range(len(items.items)):
            yield f"{above}.{number}.{below}"


def _pattern(path: str) -> str:
    return ".".join("*" if isinstance(step, int) else step for step in steps(path))


def _put(data: Data, path: str, value: str) -> None:
    *above, last = steps(path)
    inner: Any = data
    for step in above:
        inner = inner[step]
    inner[last] = value
