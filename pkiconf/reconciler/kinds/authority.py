"""`authority/<name>`: which changed field means what for a certificate authority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from pkiconf.model.usages import KeyUsage
from pkiconf.policy.authority import authority_defaults
from pkiconf.policy.starters import overlay
from pkiconf.reconciler.fields import FieldChange, field_changes
from pkiconf.reconciler.kinds.authority_acts import observe_authorities, perform_authority
from pkiconf.reconciler.kinds.authority_changes import FOLLOW_THE_KEY, judge, left_undone
from pkiconf.reconciler.kinds.authority_key import declared_key, fingerprints, fitting, key_algorithm, other_key
from pkiconf.reconciler.kinds.authority_limits import below_limit, generation_back, unfit_signature, warnings
from pkiconf.reconciler.kinds.kind import Act, Declaring, Verdict, View, Wait, problem_of
from pkiconf.reconciler.state import (
    SETTINGS,
    Action,
    Actual,
    Desired,
    Finding,
    Severity,
    Spec,
    authority_address,
    name_of,
)
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.document import Declaration, Document
from pkiconf.store.database import Connection

_NOT_STORED: Final = ("state", "moved")

# Where a file lies says nothing; what was in it is compared by its fingerprint, or was taken over at creation.
_NOT_COMPARED: Final = ("key.file", "certificate", "import")


# Fields of which writing one takes the other back: top-level key → keys it displaces.
_INSTEAD_OF: Final[Mapping[str, tuple[str, ...]]] = {"validity": ("not_after",), "not_after": ("validity",)}


class AuthorityKind:
    name = "authority"

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        for declaration in document.authorities:
            yield _declared(declaration, declaring)

    def imply(self, view: View) -> Iterator[Desired]:
        return iter(())

    def create(self, wish: Desired, view: View) -> Spec:
        name, explicit = name_of(wish.address), wish.explicit
        is_self = explicit.get("issuer", "self") == "self"
        defaults = authority_defaults({"name": name, **explicit}, view.levels_below.get(name, 0), is_self)
        # A null that was written says "none", which for a path length differs from the default.
        nulls = {key: None for key in ("path_length",) if key in explicit and explicit[key] is None}
        return _stored(name, {**defaults, **nulls})

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        explicit, below = wish.explicit, dict(standing.spec)
        for written, displaced in _INSTEAD_OF.items():
            if explicit.get(written) is not None:
                below.update({key: None for key in displaced if key not in explicit})
        if "rdn" in (explicit.get("subject") or {}):
            below["subject"] = None
        after = _reset(name_of(wish.address), overlay(below, explicit))
        after["key"] = fitting(after["key"], explicit.get("key") or {})
        service = after.get("service_certificates") or {}
        if "key" in service:
            own = (explicit.get("service_certificates") or {}).get("key") or {}
            after["service_certificates"] = {**service, "key": fitting(service["key"], own)}
        if key_algorithm(after["key"]) != key_algorithm(standing.spec["key"]):
            after.update({key: None for key in FOLLOW_THE_KEY if key not in explicit})
        return _stored(name_of(wish.address), after)

    def compare(self, wish: Desired, standing: Actual, after: Spec) -> tuple[FieldChange, ...]:
        found = [change for change in field_changes(standing.spec, after) if not change.within(*_NOT_COMPARED)]
        held = standing.facts.get("key")
        if "key" in wish.marks and held is not None and wish.marks["key"] != held:
            found.append(FieldChange("key.fingerprint", held[:16], wish.marks["key"][:16]))
        installed = standing.facts.get("certificates", ())
        if _is_coming(wish, standing):
            found.append(
                FieldChange("certificate", installed[0][:16] if installed else None, wish.marks["certificate"][:16])
            )
        return tuple(found)

    def judge(self, changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Verdict:
        return judge(changes, standing, after)

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        try:
            spec = AuthoritySpec.model_validate(after)
        except ValidationError as error:
            return problem_of(error)
        if KeyUsage.KEY_CERT_SIGN not in spec.key_usage:
            return "key_usage: an authority cannot issue without keyCertSign"
        return (
            other_key(wish, standing, after)
            or unfit_signature(spec)
            or generation_back(standing, after)
            or below_limit(spec, view)
        )

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        issuer = after.get("issuer", "self")
        return (SETTINGS,) if issuer in ("self", "external") else (SETTINGS, authority_address(issuer))

    def waiting(self, wish: Desired, standing: Actual | None, after: Spec, action: Action, view: View) -> Wait:
        name = name_of(wish.address)
        signs = action in (Action.CREATE, Action.RENEW, Action.ROLLOVER, Action.REPLACE)
        if after.get("issuer") == "external":
            waits = signs or (standing is not None and _waits(standing))
            return (
                Wait(f"a certificate for the request of {name}") if waits and not _is_coming(wish, standing) else Wait()
            )
        issuer = authority_address(str(after.get("issuer")))
        stuck = signs or (standing is not None and left_undone(standing))
        if stuck and _has_no_certificate(issuer, view):
            return Wait(f"its issuer {name_of(issuer)}, which has no certificate yet", deferred=True)
        return Wait()

    def files(self, wish: Desired, standing: Actual | None, action: Action) -> tuple[str, ...]:
        wanted = {
            Action.CREATE: ("key.", "certificate.", "import."),
            Action.ROLLOVER: ("key.", "certificate."),
            Action.REPLACE: ("key.", "certificate."),
        }.get(action, ())
        if action is not Action.UNCHANGED and _is_coming(wish, standing):
            wanted = (*wanted, "certificate.")
        return tuple(path for path in wish.files if path.startswith(wanted))

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]:
        for message in warnings(wish, standing, after, view):
            yield Finding(wish.address, Severity.WARNING, message, wish.at)

    def observe(self, c: Connection) -> Iterator[Actual]:
        return observe_authorities(c)

    def perform(self, act: Act) -> None:
        perform_authority(act)


def _declared(declaration: Declaration[AuthoritySpec], declaring: Declaring) -> Desired:
    spec, at = declaration.spec, str(declaration.at)
    explicit = {key: value for key, value in declaration.explicit.items() if key not in _NOT_STORED}
    marks = fingerprints(declaration.files, declaration.secrets, at)
    if "key" in explicit:
        explicit["key"] = declared_key(explicit["key"], declaration.secrets, marks, declaring)
    return Desired(
        authority_address(spec.name),
        explicit,
        declaring.owner,
        at,
        absent=spec.state == "absent",
        moved_from=authority_address(spec.moved) if spec.moved else None,
        marks=marks,
        files=declaration.files,
        secrets=declaration.secrets,
    )


def _waits(standing: Actual) -> bool:
    """For a certificate, now or as soon as it is taken back into service."""
    if standing.lifecycle == "retired":
        return not standing.facts.get("certificates")
    return standing.lifecycle == "waiting_certificate"


def _is_coming(wish: Desired, standing: Actual | None) -> bool:
    """Whether a certificate lies beside the declaration that is not installed yet."""
    installed = standing.facts.get("certificates", ()) if standing else ()
    return "certificate" in wish.marks and wish.marks["certificate"] not in installed


def _has_no_certificate(address: str, view: View) -> bool:
    """Whether an authority will still wait for somebody else's certificate when this plan is done."""
    spec, standing, wish = view.find_spec(address), view.actual.objects.get(address), view.desired.objects.get(address)
    if spec is None or spec.get("issuer") != "external" or (wish is not None and _is_coming(wish, standing)):
        return False
    return standing is None or standing.lifecycle == "waiting_certificate"


def _misplaced_certificate(wish: Desired, standing: Actual | None, spec: AuthoritySpec) -> str:
    if "certificate" not in wish.marks or spec.issuer == "external":
        return ""
    if standing is None:
        return "" if spec.key.source == "import" else "certificate: only for issuer: external, or with an imported key"
    return (
        "certificate: another one can be installed only where issuer is external" if _is_coming(wish, standing) else ""
    )


def _stored(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key not in _NOT_STORED}
    return {**kept, "name": name}


def _reset(name: str, after: dict[str, Any]) -> dict[str, Any]:
    """Fields that always have a value get their default back when they were set to null."""
    is_self = after.get("issuer", "self") == "self"
    if after.get("validity") is None and after.get("not_after") is None:
        after["validity"] = authority_defaults({"name": name}, 0, is_self)["validity"]
    subject = dict(after.get("subject") or {})
    if not subject.get("rdn") and subject.get("common_name") is None:
        subject["common_name"] = name
    after["subject"] = subject
    if after.get("default_templates") is None:
        after["default_templates"] = []
    return after
