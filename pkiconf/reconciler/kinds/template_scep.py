"""The `scep` block of a template: its secrets become marks, and what is unwise about it is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from pkiconf.errors import Malformed, Refused
from pkiconf.model.secret import Secret
from pkiconf.reconciler.kinds.kind import Act, View
from pkiconf.reconciler.state import SETTINGS, Action, Change, Spec, kind_of
from pkiconf.scep import secrets as scep_secrets
from pkiconf.scep.secrets import CLIENT_SECRET, PASSPHRASE, PASSWORD, changed_secrets
from pkiconf.spec.scep import SCEPSpec, unmixed
from pkiconf.spec.settings import Settings

_SHORT: Final = "scep.static_passphrase"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

Fields = dict[str, Any]


def declared_scep(
    written: Mapping[str, Any], secrets: MutableMapping[str, Secret], mark: Callable[[Secret], str]
) -> tuple[Fields, str | None]:
    """A written block with marks in the places of its secrets, and the file that gets a random passphrase.

    `secrets` are by path; one that was written in short gets the path that it is short for.
    """
    if _SHORT in secrets:
        secrets[PASSPHRASE] = secrets.pop(_SHORT)
    block = _copied(written)
    for path in (PASSPHRASE, PASSWORD, CLIENT_SECRET):
        if path in secrets:
            *above, last = path.split(".")[1:]
            inner = block
            for step in above:
                inner = inner[step]
            inner[last] = mark(secrets[path])
    passphrase = block.get("static_passphrase")
    write_to = passphrase.pop("write_to", None) if isinstance(passphrase, dict) else None
    return unmixed(block), write_to


def whole_scep(after: Fields) -> Fields:
    """With every value of the block, defaults included; one that is wrong stays as it was written, to be refused."""
    if after.get("scep") is None:
        return after
    try:
        spec = SCEPSpec.model_validate(after["scep"])
    except ValidationError:
        return after
    block = spec.model_dump(mode="json", by_alias=True)
    if block["static_passphrase"] is not None:
        del block["static_passphrase"]["write_to"]
    return {**after, "scep": block}


def declared_secrets(act: Act) -> dict[str, Secret]:
    """Those that are to be stored: at creation, and when they are others than before.

    Raises Malformed for a saved plan alone, Refused when one was changed since the plan was made.
    """
    found = {}
    for path in changed_secrets(act.change.before, act.after):
        if act.wish is None or path not in act.wish.secrets:
            raise Malformed(f"{act.change.address} reads {path}", "Give the YAML files instead of the plan")
        if _at(act.wish.explicit, path) != _at(act.after, path):
            raise Refused(f"the {path} of {act.change.address} is another than was planned with", "Plan again")
        found[path] = act.wish.secrets[path]
    return found


def makes_passphrase(change: Change) -> bool:
    """Whether carrying the change out makes a random passphrase, which has to be told to somebody."""
    return (
        kind_of(change.address) == "template"
        and change.action in (Action.CREATE, Action.UPDATE)
        and scep_secrets.makes_passphrase(change.before, change.after)
    )


def scep_findings(after: Spec, view: View) -> Iterator[str]:
    """What is unwise about the block; it stops nothing."""
    try:
        spec = SCEPSpec.model_validate(after["scep"]) if after.get("scep") else None
    except ValidationError:
        return
    if spec is None or not spec.enabled:
        return
    if spec.static_passphrase is not None:
        yield "scep.static_passphrase lets in whoever learns it, from any device; prefer ndes, intune or challenges"
    if spec.unproved == "issue":
        listed = spec.ip_acl.allow is not None and spec.ip_acl.applies_to != "ndes"
        where = " from a network of its ip_acl" if listed else ""
        yield f"scep.unproved is issue: whoever reaches its URL{where} gets a certificate without proof"
    if spec.ndes.enabled and _is_in_the_clear(view):
        yield "scep.ndes: the base of enrolment URLs is plain http, over which its page is not given; use https"


def _is_in_the_clear(view: View) -> bool:
    settings = Settings.model_validate(view.find_spec(SETTINGS) or {})
    parts = urlsplit(settings.enrolment_url)
    return parts.scheme != "https" and parts.hostname not in _LOOPBACK


def _copied(written: Mapping[str, Any]) -> Fields:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in written.items()}


def _at(spec: Spec, path: str) -> object:
    found: object = spec
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
