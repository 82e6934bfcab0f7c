"""`acme-policy/<name>`: who may get what over ACME. Its bindings are objects of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from pkiconf.policy.starters import overlay
from pkiconf.reconciler.kinds.kind import Act, Declaring, View
from pkiconf.reconciler.kinds.plain import PlainKind, misfit
from pkiconf.reconciler.state import (
    SETTINGS,
    Action,
    Actual,
    Desired,
    Finding,
    Severity,
    Spec,
    kind_of,
    name_of,
    policy_address,
    template_address,
)
from pkiconf.spec.acme import DEFAULT_PROFILE, ACMEPolicySpec
from pkiconf.spec.document import Document
from pkiconf.store.acme_policies import list_policies
from pkiconf.store.database import Connection

BINDINGS: Final = "external_account_bindings"
_NOT_STORED: Final = ("name", "state", "moved", "template", "deactivate_accounts", BINDINGS)


class ACMEPolicyKind(PlainKind):
    name = "acme-policy"

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        for declaration in document.acme_policies:
            spec = declaration.spec
            yield Desired(
                policy_address(spec.name),
                _explicit(declaration.explicit),
                declaring.owner,
                str(declaration.at),
                absent=spec.state == "absent",
                moved_from=policy_address(spec.moved) if spec.moved else None,
                also=("accounts",) if spec.deactivate_accounts else (),
            )

    def create(self, wish: Desired, view: View) -> Spec:
        return _resolved(wish, _defaults(), view)

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        return _resolved(wish, standing.spec, view)

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        if problem := misfit(ACMEPolicySpec, after):
            return problem
        if not after["profiles"]:
            return "it names no template"
        return next(filter(None, (_unfit(reference, view) for reference in after["profiles"].values())), "")

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        return (SETTINGS, *dict.fromkeys(f"template/{reference}" for reference in after["profiles"].values()))

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]:
        for message in _warnings(wish.address, after, view):
            yield Finding(wish.address, Severity.WARNING, message, wish.at)

    def observe(self, c: Connection) -> Iterator[Actual]:
        for row in list_policies(c):
            yield Actual(policy_address(row.name), json.loads(row.spec), row.owner, row.lifecycle, row.generation)

    def perform(self, act: Act) -> None:
        policies, change, name = act.services.acme.policies, act.change, name_of(act.change.address)
        if change.action is Action.RETIRE:
            policies.retire(name, act.precondition, act.actor, act.guard, deactivate_accounts="accounts" in change.also)
        elif change.action is Action.CREATE:
            policies.create(name, act.after, change.owner, act.actor, act.guard)
        else:
            former = name_of(change.moved_from) if change.moved_from else None
            policies.update(name, act.after, change.owner, act.precondition, act.actor, act.guard, former_name=former)


def _explicit(written: Mapping[str, Any]) -> dict[str, Any]:
    """What was written, `template` as the one profile that it is short for, and bindings by their names alone."""
    explicit = {key: value for key, value in written.items() if key not in _NOT_STORED}
    if written.get("template") is not None:
        explicit["profiles"] = {DEFAULT_PROFILE: written["template"]}
    if written.get(BINDINGS) is not None:
        explicit[BINDINGS] = [binding["name"] for binding in written[BINDINGS]]
    return explicit


@cache
def _defaults() -> dict[str, Any]:
    """Every field of a policy. Never changed after it is made."""
    fields = ACMEPolicySpec.model_validate({"name": "x", "template": "x"}).model_dump(mode="json", by_alias=True)
    return {**fields, "profiles": {}, "default_profile": None}


def _resolved(wish: Desired, below: Spec, view: View) -> dict[str, Any]:
    after = overlay(below, wish.explicit)
    if wish.explicit.get("profiles") is not None:
        # Not merged with what stands: a profile that is no longer written is no longer offered.
        written: Mapping[str, str] = wish.explicit["profiles"]
        after["profiles"] = {name: _full(reference, view) for name, reference in written.items()}
    else:
        after["profiles"] = below["profiles"]
    if "default_profile" not in wish.explicit and after["default_profile"] not in after["profiles"]:
        after["default_profile"] = None
    kept = {key: value for key, value in after.items() if key not in _NOT_STORED}
    return {"name": name_of(wish.address), **kept}


def _full(reference: str, view: View) -> str:
    """`authority/template` for a bare name too, where it means one template only: of those declared or implied here,
    else of those that stand."""
    if "/" in reference:
        return reference
    standing = (row.address for row in view.actual.of_kind("template") if not row.retired)
    for addresses in (view.resolved, standing):
        meant = [a for a in addresses if kind_of(a) == "template" and name_of(a) == reference]
        if len(meant) == 1:
            return meant[0].removeprefix("template/")
    return reference


def _unfit(reference: str, view: View) -> str:
    """Why a policy cannot offer this template; empty if it can."""
    if "/" not in reference:
        return f"template {reference!r} does not exist, or more than one is called so; write authority/name"
    address = template_address(*reference.split("/"))
    wish, standing, spec = view.desired.objects.get(address), view.actual.objects.get(address), view.find_spec(address)
    if spec is None:
        return f"template {reference} does not exist; declare it, or name another"
    if (wish is not None and wish.absent) or (
        standing is not None and standing.retired and address not in view.resolved
    ):
        return f"template {reference} is retired; declare it again, or name another"
    if (spec.get("basic_constraints") or {}).get("ca"):
        return f"template {reference} makes authorities; name one for servers or clients"
    return ""


def _warnings(address: str, after: Spec, view: View) -> Iterator[str]:
    for profile, reference in after["profiles"].items():
        if (view.find_spec(f"template/{reference}") or {}).get("enabled") is False:
            yield f"template {reference} of profile {profile} is disabled, so every order of it is refused"
    if after["external_account_required"]:
        if not _has_binding(address, view):
            yield "it has no external account binding, so nobody can register with it"
        return
    yield "external_account_required is false: whoever reaches its directory can register"
    if after["preapproved_domains"]:
        yield (
            "preapproved_domains without bindings: whoever reaches its directory gets certificates for "
            f"{', '.join(after['preapproved_domains'])} without proof"
        )


def _has_binding(policy: str, view: View) -> bool:
    below = f"eab/{name_of(policy)}/"
    wish = view.desired.objects.get(policy)
    if any(address.startswith(below) for address in view.desired.objects):
        return True
    # A list that was written replaces whole, except for what others own.
    written = wish is not None and BINDINGS in wish.explicit
    rows = (row for row in view.actual.of_kind("eab") if row.address.startswith(below))
    return any(not written or row.owner != view.desired.owner for row in rows)
