"""Which changed field of an authority means what: an update, a renewal, a rollover or a replacement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pkiconf.reconciler.fields import FieldChange, describe
from pkiconf.reconciler.kinds.authority_key import key_algorithm
from pkiconf.reconciler.kinds.kind import Verdict
from pkiconf.reconciler.state import Action, Actual, Spec, gravest

_MEANINGS: Final[tuple[tuple[Action, tuple[str, ...]], ...]] = (
    (Action.REPLACE, ("subject", "issuer")),
    (
        Action.ROLLOVER,
        ("key.type", "key.size", "key.curve", "key.parameter_set", "key.generation", "key.fingerprint"),
    ),
    (
        Action.RENEW,
        (
            "validity",
            "not_before",
            "not_after",
            "path_length",
            "name_constraints",
            "key_usage",
            "extended_key_usage",
            "signature_hash",
            "signature_padding",
            "cps.policy",
            "certificate",
        ),
    ),
)

FOLLOW_THE_KEY: Final = ("signature_hash", "signature_padding")


def judge(changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Verdict:
    """The gravest of what the fields mean; what was left undone earlier is finished with what is declared now."""
    action = gravest(*(_meaning(change, standing, after) for change in changes))
    left = left_undone(standing)
    if left and action not in (Action.ROLLOVER, Action.REPLACE):
        action = Action.CREATE if standing.lifecycle == "creating" else Action.UPDATE
    return Verdict(action, "; ".join(filter(None, (left, describe(_told(changes, standing, after))))))


def _meaning(change: FieldChange, standing: Actual, after: Spec) -> Action:
    for action, paths in _MEANINGS:
        if not change.within(*paths):
            continue
        if action is Action.RENEW and after.get("issuer") == "external" and change.path != "certificate":
            return Action.UPDATE  # what such a certificate says is for whoever signs it to decide
        if change.path == "certificate" and standing.lifecycle == "waiting_certificate":
            return Action.UPDATE
        return action
    return Action.UPDATE


def _told(changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Iterator[FieldChange]:
    """The changes as they are told: a key's parameters as one word, and not what merely follows from it."""
    untold = []
    for path, before, now in (
        ("key", standing.spec["key"], after["key"]),
        ("service_certificates.key", _service_key(standing.spec), _service_key(after)),
    ):
        old, new = key_algorithm(before).name, key_algorithm(now).name
        if old != new:
            yield FieldChange(path, old, new)
            untold += [f"{path}.{parameter}" for parameter in ("type", "size", "curve", "parameter_set")]
    for change in changes:
        follows = "key.type" in untold and change.path in FOLLOW_THE_KEY and change.after is None
        if not follows and not change.within(*untold):
            yield change


def _service_key(spec: Spec) -> Mapping[str, Any]:
    key: Mapping[str, Any] = (spec.get("service_certificates") or {}).get("key") or {}
    return key


def left_undone(standing: Actual) -> str:
    if standing.lifecycle == "creating":
        return "creation was interrupted and will be finished"
    left = standing.facts.get("interrupted")
    return f"{left} was interrupted and will be finished" if left else ""
