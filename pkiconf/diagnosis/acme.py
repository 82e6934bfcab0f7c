"""What keeps ACME clients out, or lets more of them in than was meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pkiconf.diagnosis.finding import Finding, ok, warning
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec
from pkiconf.store import acme_policies, authorities, templates
from pkiconf.store.acme_policies import BindingRow, PolicyRow
from pkiconf.store.database import Connection

ACME: Final = "ACME"


def check_acme(c: Connection, now: datetime) -> Iterator[Finding]:
    policies = [row for row in acme_policies.list_policies(c) if row.lifecycle == "active"]
    bindings = [row for row in acme_policies.list_bindings(c) if row.lifecycle == "active"]
    found = [
        finding
        for row in policies
        for finding in (
            *_templates(c, row),
            *_doors(row, [binding for binding in bindings if binding.policy_id == row.id], now),
        )
    ]
    yield from found or [ok(ACME, ", ".join(row.name for row in policies) or "no policies")]


def _templates(c: Connection, policy: PolicyRow) -> Iterator[Finding]:
    for profile, reference in (ACMEPolicySpec.model_validate_json(policy.spec).offered).items():
        why = _unusable(c, reference)
        if why:
            yield warning(
                ACME,
                f"profile {profile} of policy {policy.name} issues nothing: {reference} {why}",
                "Declare it again, or let the policy offer another template",
            )


def _unusable(c: Connection, reference: str) -> str:
    rows = templates.find_by_reference(c, reference)
    if not rows:
        return "does not exist"
    if rows[0].lifecycle != "active":
        return "is retired"
    authority = authorities.get_authority(c, rows[0].authority_id)
    return f"belongs to {authority.name}, which is retired" if authority.lifecycle == "retired" else ""


def _doors(policy: PolicyRow, bindings: list[BindingRow], now: datetime) -> Iterator[Finding]:
    """Who can register."""
    if not ACMEPolicySpec.model_validate_json(policy.spec).external_account_required:
        yield warning(
            ACME, f"whoever reaches the directory of policy {policy.name} can register",
            "Write external_account_required: true, unless that is meant",
        )  # fmt: skip
        return
    shut = {binding.name: why for binding in bindings if (why := _shut(binding, now))}
    for name, why in shut.items():
        yield warning(
            ACME, f"binding {name} of policy {policy.name} {why}: nobody registers with it any more",
            "Delete it, or raise what it allows; accounts that it let in go on either way",
        )  # fmt: skip
    if not bindings:
        yield warning(
            ACME, f"policy {policy.name} has no external account binding, so nobody can register with it",
            f"Declare one, or make one with `pkiconf acme eab create {policy.name}/NAME`",
        )  # fmt: skip


def _shut(binding: BindingRow, now: datetime) -> str:
    spec = BindingSpec.model_validate_json(binding.spec)
    return f"expired at {spec.expires.isoformat()}" if spec.expires is not None and spec.expires <= now else ""
