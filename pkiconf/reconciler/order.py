"""Which changes a plan lists, and in which order they work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pkiconf.errors import NotFound
from pkiconf.reconciler.kinds import KINDS
from pkiconf.reconciler.state import Action, Change, kind_of
from pkiconf.spec.errors import did_you_mean

RANK: Final = {kind.name: rank for rank, kind in enumerate(KINDS)}


def limited(changes: Sequence[Change], limit: Sequence[str]) -> list[Change]:
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
            raise NotFound(f"--limit names {address}, which is not declared", hint)
    while waiting:
        address = waiting.pop()
        if address in by_address and address not in wanted:
            wanted[address] = None
            waiting += by_address[address].needs
    return [change for change in changes if change.address in wanted]


def with_deferred(changes: Sequence[Change]) -> list[Change]:
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


def ordered(changes: Sequence[Change]) -> list[Change]:
    """What others need comes first; retirements last, dependents before what they hang on."""
    by_address = {change.address: change for change in changes}
    placed: dict[str, Change] = {}

    def place(change: Change, above: frozenset[str]) -> None:
        if change.address in placed or change.address in above:
            return
        for needed in change.needs:
            if needed in by_address:
                place(by_address[needed], above | {change.address})
        placed[change.address] = change

    retiring = [change for change in changes if change.action is Action.RETIRE]
    for change in changes:
        if change.action is not Action.RETIRE:
            place(change, frozenset(c.address for c in retiring))
    by_kind = sorted(retiring, key=lambda change: -RANK[kind_of(change.address)])
    return [*placed.values(), *_issued_first(by_kind)]


def _issued_first(retiring: Sequence[Change]) -> list[Change]:
    """Authorities further from the root retire first."""
    names = {change.address: (change.before or {}).get("issuer") for change in retiring}

    def depth(address: str, seen: int = 0) -> int:
        issuer = f"authority/{names.get(address)}"
        return 1 + depth(issuer, seen + 1) if issuer in names and seen < len(names) else 0

    return sorted(retiring, key=lambda change: (-RANK[kind_of(change.address)], -depth(change.address)))
