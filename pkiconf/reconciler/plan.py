"""A plan: changes in an order that works, stamped with a digest of the rows it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from pkiconf.errors import Malformed
from pkiconf.reconciler.order import RANK, limited, ordered, with_deferred
from pkiconf.reconciler.state import (
    NEEDS_CONSENT,
    Action,
    ActualState,
    Affects,
    Change,
    Difference,
    Finding,
    Severity,
    authority_of,
    binding_address,
    canonical,
    digest_of,
    kind_of,
    name_of,
    policy_of,
    template_address,
)

FORMAT_VERSION: Final = 1
_SHOWN_BLOCKERS: Final = 5


@dataclass(frozen=True, slots=True)
class Measure:
    """What a change touches, counted when the plan was made; `blockers` are the serials of live certificates, or the
    names of valid accounts."""

    affects: Affects
    blockers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`digest` covers the rows read for the listed addresses, so issuing and renewing do not void the plan.

    `unattended` names the templates that will issue without anybody deciding, also those that do already.
    """

    generated_at: datetime
    digest: str
    workspace: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()
    unattended: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def pending(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.pending)

    @property
    def refused(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.refused)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(change.address for change in self.changes)

    def without_consent(self, allow: Iterable[Action]) -> tuple[Change, ...]:
        """Changes that nobody has agreed to."""
        allowed = frozenset(allow)
        return tuple(c for c in self.pending if c.action in NEEDS_CONSENT and c.action not in allowed)

    @property
    def exit_code(self) -> int:
        """0 nothing to do, 2 changes pending, 3 all that is left waits, 4 something cannot be done."""
        if self.refused:
            return 4
        if any(not change.deferred for change in self.pending):
            return 2
        return 3 if any(change.waiting for change in self.changes) else 0

    def to_document(self) -> dict[str, Any]:
        """JSON-able: format_version, generated_at, digest, changes, findings, and what a saved plan needs besides."""
        return {
            "format_version": self.format_version,
            "generated_at": self.generated_at.isoformat(),
            "digest": self.digest,
            "workspace": self.workspace,
            "changes": [_saved(change) for change in self.changes],
            "findings": [_saved(finding) for finding in self.findings],
            "unattended": list(self.unattended),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_document(), indent=2, ensure_ascii=False, default=dict) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Raises Malformed for anything that is not a saved plan of this format."""
        try:
            saved = json.loads(text)
            if saved["format_version"] != FORMAT_VERSION:
                raise Malformed(
                    f"the plan has format {saved['format_version']!r}", f"This version reads {FORMAT_VERSION}"
                )
            return cls(
                datetime.fromisoformat(saved["generated_at"]),
                str(saved["digest"]),
                str(saved["workspace"]),
                tuple(_saved_change(change) for change in saved["changes"]),
                tuple(Finding(**{**found, "severity": Severity(found["severity"])}) for found in saved["findings"]),
                tuple(str(address) for address in saved["unattended"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Malformed("this is not a saved plan", "Make one with `pkiconf plan --out FILE`") from None


def _saved(row: Change | Finding) -> dict[str, Any]:
    """Fields by name; specs are not copied, because they are only about to be written."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: asdict(value) if isinstance(value, Affects) else value for name, value in values.items()}


def _saved_change(saved: Mapping[str, Any]) -> Change:
    """Raises ValueError, KeyError or TypeError for what no plan of ours has written."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    values |= {"action": Action(saved["action"]), "affects": Affects(**saved["affects"])}
    change = Change(**values)
    for field in fields(Change):
        if not _fits(getattr(change, field.name), field.type):
            raise ValueError(f"{field.name} of {saved['address']}")
    if kind_of(change.address) not in RANK:
        raise ValueError(change.address)
    return change


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int | None": lambda value: value is None or type(value) is int,
    "str | None": lambda value: value is None or isinstance(value, str),
    "Spec | None": lambda value: value is None or isinstance(value, dict),
    "Mapping[str, str]": lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
    "tuple[str, ...]": lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
    "Action": lambda value: isinstance(value, Action),
    "Affects": lambda value: isinstance(value, Affects) and all(type(count) is int for count in asdict(value).values()),
}


def _fits(value: object, type_name: object) -> bool:
    return _TYPES[str(type_name)](value)


def make_plan(
    difference: Difference,
    actual: ActualState,
    workspace: str,
    measures: Mapping[str, Measure],
    limit: Sequence[str] = (),
) -> Plan:
    """Choose, order and stamp. `limit` keeps these addresses and what they need.

    Raises NotFound for a limit that names nothing.
    """
    chosen = limited(with_deferred(difference.changes), limit)
    rows = tuple(
        replace(
            _measured(change, measures.get(change.address)), unattended=difference.unattended.get(change.address, ())
        )
        for change in ordered(chosen)
    )
    addresses = {change.address for change in rows}
    findings = tuple(
        found for found in difference.findings if not limit or not found.address or found.address in addresses
    )
    unattended = tuple(sorted(difference.unattended))
    return Plan(difference.at, stamp(rows, actual), workspace, rows, findings, unattended)


def stamp(changes: Sequence[Change], actual: ActualState) -> str:
    """The digest of the rows that stand behind these changes, under their present addresses."""
    rows = []
    for address in present_addresses(changes).values():
        row = actual.objects.get(address)
        state = (
            [row.generation, row.lifecycle, row.owner, digest_of(row.spec), canonical(dict(row.facts))] if row else None
        )
        rows.append([address, state])
    return digest_of(sorted(rows, key=lambda row: str(row[0])))


def present_addresses(changes: Sequence[Change]) -> dict[str, str]:
    """Address of each change → where its object stands until the changes are made."""
    renamed = {change.address: change.moved_from for change in changes if change.moved_from}
    present = {}
    for change in changes:
        address = change.moved_from or change.address
        if kind_of(address) == "template" and not change.moved_from:
            authority = renamed.get(authority_of(address), authority_of(address))
            address = template_address(name_of(authority), name_of(address))
        elif kind_of(address) == "eab":
            policy = renamed.get(policy_of(address), policy_of(address))
            address = binding_address(name_of(policy), name_of(address))
        present[change.address] = address
    return present


def _measured(change: Change, measure: Measure | None) -> Change:
    if measure is None:
        return change
    change = replace(change, affects=measure.affects, blockers=measure.blockers)
    if change.action is not Action.RETIRE or change.refused or not measure.blockers:
        return change
    if kind_of(change.address) == "template":
        return replace(change, refused=_blocked(measure))
    if kind_of(change.address) == "acme-policy" and "accounts" not in change.also:
        return replace(change, refused=_hung_upon(measure))
    return change


def _hung_upon(measure: Measure) -> str:
    count = measure.affects.accounts
    shown = ", ".join(measure.blockers[:_SHOWN_BLOCKERS])
    more = f" and {count - _SHOWN_BLOCKERS} more" if count > _SHOWN_BLOCKERS else ""
    noun = "account hangs" if count == 1 else "accounts hang"
    return (
        f"{count} valid {noun} on it ({shown}{more}); deactivate them, or declare it with state: absent and "
        "deactivate_accounts: true"
    )


def _blocked(measure: Measure) -> str:
    count = measure.affects.live_certificates
    shown = ", ".join(measure.blockers[:_SHOWN_BLOCKERS])
    more = f" and {count - _SHOWN_BLOCKERS} more" if count > _SHOWN_BLOCKERS else ""
    noun = "certificate is" if count == 1 else "certificates are"
    return f"{count} {noun} active ({shown}{more}); revoke them (a hold is not enough) or let them end"
