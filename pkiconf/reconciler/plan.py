"""A plan: changes in an order that works, stamped with a digest of the rows it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from pkiconf.errors import Malformed, NotFound
from pkiconf.reconciler.kinds import KINDS
from pkiconf.reconciler.kinds.template import issues_unattended
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
    canonical,
    digest_of,
    kind_of,
    name_of,
    template_address,
)
from pkiconf.spec.errors import did_you_mean

FORMAT_VERSION: Final = 1
_RANK: Final = {kind.name: rank for rank, kind in enumerate(KINDS)}
_SHOWN_BLOCKERS: Final = 5


@dataclass(frozen=True, slots=True)
class Measure:
    """What a change touches, counted when the plan was made; `blockers` are live certificates, `authority serial`."""

    affects: Affects
    blockers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`digest` covers the rows read for the listed addresses, so issuing and renewing do not void the plan.

    `unattended` names the templates that would issue without anybody deciding.
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
    if kind_of(saved["address"]) not in _RANK:
        raise ValueError(saved["address"])
    change = Change(
        **{
            **saved,
            "action": Action(saved["action"]),
            "affects": Affects(**saved["affects"]),
            "needs": tuple(saved["needs"]),
            "blockers": tuple(saved["blockers"]),
            "files": tuple(saved["files"]),
        }
    )
    for value in (change.before, change.after, change.marks):
        if value is not None and not isinstance(value, dict):
            raise ValueError(change.address)
    return change


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
    chosen = _limited(_with_deferred(difference.changes), limit)
    ordered = tuple(_measured(change, measures.get(change.address)) for change in _ordered(chosen))
    addresses = {change.address for change in ordered}
    findings = tuple(
        found for found in difference.findings if not limit or not found.address or found.address in addresses
    )
    unattended = tuple(
        c.address for c in ordered if kind_of(c.address) == "template" and c.after and issues_unattended(c.after)
    )
    return Plan(difference.at, stamp(ordered, actual), workspace, ordered, findings, unattended)


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
        present[change.address] = address
    return present


def _limited(changes: Sequence[Change], limit: Sequence[str]) -> list[Change]:
    if not limit:
        return list(changes)
    by_address = {change.address: change for change in changes}
    wanted: dict[str, None] = {}
    waiting = list(limit)
    for address in limit:
        if address not in by_address:
            hint = did_you_mean(
                address, list(by_address), "Addresses look like authority/corp-root, template/corp-issuing/web"
            )
            raise NotFound(f"--limit names {address}, which is neither declared nor there", hint)
    while waiting:
        address = waiting.pop()
        if address in by_address and address not in wanted:
            wanted[address] = None
            waiting += by_address[address].needs
    return [change for change in changes if change.address in wanted]


def _with_deferred(changes: Sequence[Change]) -> list[Change]:
    """What hangs on an object that cannot be made yet cannot be made either."""
    by_address = {change.address: change for change in changes}

    def waits_for(change: Change, above: frozenset[str] = frozenset()) -> str:
        if change.address in above:
            return ""
        for needed in (by_address[address] for address in change.needs if address in by_address):
            if (
                needed.generation is None
                and needed.pending
                and (needed.deferred or waits_for(needed, above | {change.address}))
            ):
                return needed.address
        return ""

    found = []
    for change in changes:
        blocking = waits_for(change) if change.pending and not change.deferred else ""
        found.append(replace(change, waiting=blocking, deferred=True) if blocking else change)
    return found


def _ordered(changes: Sequence[Change]) -> list[Change]:
    """What others need comes first; retirements last, dependents before what they hang on."""
    by_address = {change.address: change for change in changes}
    ordered: dict[str, Change] = {}

    def place(change: Change, above: frozenset[str]) -> None:
        if change.address in ordered or change.address in above:
            return
        for needed in change.needs:
            if needed in by_address:
                place(by_address[needed], above | {change.address})
        ordered[change.address] = change

    retiring = [change for change in changes if change.action is Action.RETIRE]
    for change in changes:
        if change.action is not Action.RETIRE:
            place(change, frozenset(c.address for c in retiring))
    by_kind = sorted(retiring, key=lambda change: -_RANK[kind_of(change.address)])
    return [*ordered.values(), *_issued_first(by_kind)]


def _issued_first(retiring: Sequence[Change]) -> list[Change]:
    """Authorities further from the root retire first."""
    names = {change.address: (change.before or {}).get("issuer") for change in retiring}

    def depth(address: str, seen: int = 0) -> int:
        issuer = f"authority/{names.get(address)}"
        return 1 + depth(issuer, seen + 1) if issuer in names and seen < len(names) else 0

    return sorted(retiring, key=lambda change: (-_RANK[kind_of(change.address)], -depth(change.address)))


def _measured(change: Change, measure: Measure | None) -> Change:
    if measure is None:
        return change
    change = replace(change, affects=measure.affects, blockers=measure.blockers)
    if (
        change.action is Action.RETIRE
        and kind_of(change.address) == "template"
        and measure.blockers
        and not change.refused
    ):
        return replace(change, refused=_blocked(measure))
    return change


def _blocked(measure: Measure) -> str:
    count = measure.affects.live_certificates
    shown = ", ".join(measure.blockers[:_SHOWN_BLOCKERS])
    more = f" and {count - _SHOWN_BLOCKERS} more" if count > _SHOWN_BLOCKERS else ""
    noun = "certificate is" if count == 1 else "certificates are"
    return f"{count} {noun} active ({shown}{more}); revoke them (a hold is not enough) or let them end"
