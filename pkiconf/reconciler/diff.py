"""`diff(desired, actual, now)`: what has to change, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from pkiconf.policy.unattended import unattended_ways
from pkiconf.reconciler.kinds import KINDS, get_kind
from pkiconf.reconciler.kinds.acme_policy import BINDINGS
from pkiconf.reconciler.kinds.kind import Kind, View
from pkiconf.reconciler.moves import Moves, find_moves
from pkiconf.reconciler.state import (
    IMPLIED,
    SYSTEM_OWNER,
    Action,
    Actual,
    ActualState,
    Change,
    Desired,
    DesiredState,
    Difference,
    Finding,
    Severity,
    Spec,
    authority_of,
    gravest,
    kind_of,
    name_of,
    policy_of,
)


def diff(desired: DesiredState, actual: ActualState, now: datetime, *, prune: bool = False) -> Difference:
    """Changes in the order of the kinds, unchanged objects among them, and what else should be known.

    An omitted field keeps what stands, a list replaces whole, mappings merge. `prune` retires what this
    workspace once declared and no longer does; what others own is left alone.
    """
    moves = find_moves(desired, actual)
    view = View(desired, moves.renamed(actual), now)
    changes: list[Change] = []
    findings = [*desired.findings, *moves.findings]
    wished: set[str] = set()
    for kind in KINDS:
        declared = [wish for wish in desired.objects.values() if kind_of(wish.address) == kind.name]
        _resolve(kind, declared, view)
        implied = [wish for wish in kind.imply(view) if wish.address not in desired.objects]
        _resolve(kind, implied, view)
        for wish in (*declared, *implied):
            wished.add(wish.address)
            changes.append(_compare(kind, wish, view, moves))
            findings += wish.findings
            if not wish.absent:
                after = view.resolved[wish.address]
                findings += kind.findings(wish, view.actual.objects.get(wish.address), after, view)
    retired = {change.address for change in changes if change.action is Action.RETIRE}
    for row in _left_over(view, wished):
        change, finding = _undeclared(row, view, prune, retired)
        if change is not None:
            retired.add(change.address)
            changes.append(change)
        if finding is not None:
            findings.append(finding)
    return Difference(tuple(changes), tuple(dict.fromkeys(findings)), now, _unattended(view, retired))


def _resolve(kind: Kind, wishes: Iterable[Desired], view: View) -> None:
    for wish in wishes:
        standing = view.actual.objects.get(wish.address)
        if not wish.absent:
            spec = kind.create(wish, view) if standing is None else kind.merge(wish, standing, view)
            view.resolved[wish.address] = spec


def _compare(kind: Kind, wish: Desired, view: View, moves: Moves) -> Change:
    standing = view.actual.objects.get(wish.address)
    if wish.absent:
        return _absent(wish, standing)
    after = view.resolved[wish.address]
    change = _creation(wish, after) if standing is None else _standing(kind, wish, standing, after, moves)
    refused = _forbidden(wish, standing, view, moves) or kind.refusal(wish, standing, after, view)
    waiting = kind.waiting(wish, standing, after, change.action, view)
    return replace(
        change,
        refused=refused,
        at=wish.at if refused else "",
        waiting=waiting.what,
        deferred=waiting.deferred,
        needs=kind.needs(wish.address, after),
        **_reads(kind, wish, standing, change.action),
    )


def _reads(kind: Kind, wish: Desired, standing: Actual | None, action: Action) -> dict[str, Any]:
    files = kind.files(wish, standing, action)
    marks = {name: mark for name, mark in wish.marks.items() if f"{name}.file" in files}
    return {"files": files, "marks": marks} if files else {}


def _creation(wish: Desired, after: Spec) -> Change:
    reason = "implied" if wish.owner == IMPLIED else "declared"
    return Change(wish.address, Action.CREATE, reason, after=after, owner=wish.owner)


def _standing(kind: Kind, wish: Desired, standing: Actual, after: Spec, moves: Moves) -> Change:
    verdict = kind.judge(kind.compare(wish, standing, after), standing, after)
    reasons = [*_around(wish, standing, moves), verdict.reason]
    action = gravest(verdict.action, Action.UPDATE) if len(reasons) > 1 else verdict.action
    owner = standing.owner if wish.owner == IMPLIED else wish.owner
    change = Change(
        wish.address,
        action,
        "; ".join(filter(None, reasons)),
        owner=owner,
        generation=standing.generation,
        moved_from=moves.old_address(wish.address),
    )
    return change if action is Action.UNCHANGED else replace(change, before=standing.spec, after=after)


def _around(wish: Desired, standing: Actual, moves: Moves) -> Iterator[str]:
    """What changes beside the fields: the name, whether it is retired, who declares it."""
    old = moves.old_address(wish.address)
    if old is not None:
        yield f"moved: {old} → {wish.address}"
    if standing.retired:
        yield f"retired → in use, because it is {'implied' if wish.owner == IMPLIED else 'declared'}"
    if standing.owner != wish.owner and wish.owner != IMPLIED:
        yield f"owner: {standing.owner} → {wish.owner}"


def _absent(wish: Desired, standing: Actual | None) -> Change:
    if standing is None or standing.retired:
        return Change(wish.address, Action.UNCHANGED, "absent, as declared", owner=wish.owner)
    taking = f", with its {' and '.join(wish.also)}" if wish.also else ""
    return replace(_retirement(standing, f"state: absent{taking}"), also=wish.also)


def _retirement(standing: Actual, reason: str) -> Change:
    return Change(
        standing.address,
        Action.RETIRE,
        reason,
        before=standing.spec,
        after=None,
        owner=standing.owner,
        generation=standing.generation,
    )


def _forbidden(wish: Desired, standing: Actual | None, view: View, moves: Moves) -> str:
    if wish.address in moves.refused:
        return moves.refused[wish.address]
    if standing is None:
        if wish.address in view.actual.buried:
            return "an object of this name was destroyed; its name and URLs are never used again, so choose another"
        return ""
    if standing.owner == SYSTEM_OWNER:
        return "this name belongs to the system"
    if standing.owner.startswith("yaml:") and wish.owner not in (standing.owner, IMPLIED):
        return f"it belongs to workspace {standing.owner.removeprefix('yaml:')}; remove it there first"
    return ""


def _left_over(view: View, wished: set[str]) -> Iterator[Actual]:
    for kind in KINDS:
        for row in view.actual.of_kind(kind.name):
            if row.address not in wished and not row.retired and row.owner != SYSTEM_OWNER:
                yield row


def _undeclared(row: Actual, view: View, prune: bool, retired: set[str]) -> tuple[Change | None, Finding | None]:
    """What becomes of an object that nobody wishes: a retirement, a remark, or nothing."""
    kind = get_kind(row.address)
    if kind.name == "template":
        # A retired authority issues nothing, so its templates need no retirement of their own.
        above = view.actual.objects.get(authority_of(row.address))
        if authority_of(row.address) in retired or (above is not None and above.retired):
            return None, None
        if row.owner == IMPLIED:
            return _no_longer_implied(row, view), None
    if kind.name == "eab":
        return _no_longer_listed(row, view), None
    if row.owner != view.desired.owner or kind.name == "settings":
        return None, None
    if prune:
        return _retirement(row, "no longer declared (--prune)"), None
    return None, Finding(row.address, Severity.INFO, "no longer declared and left as it is; --prune retires it")


def _no_longer_implied(row: Actual, view: View) -> Change | None:
    authority = authority_of(row.address)
    if authority not in view.desired.objects:
        return None  # its authority is not spoken of here either
    return _retirement(row, f"no longer among default_templates of {authority}")


def _no_longer_listed(row: Actual, view: View) -> Change | None:
    """A list that was written replaces whole, so what it leaves out goes. Bindings that a command made stay; a retired
    policy lets nobody in, so its bindings need no retirement of their own."""
    wish = view.desired.objects.get(policy_of(row.address))
    if wish is None or wish.absent or row.owner != view.desired.owner or BINDINGS not in wish.explicit:
        return None
    return _retirement(row, f"no longer among {BINDINGS} of {policy_of(row.address)}")


def _unattended(view: View, retired: set[str]) -> dict[str, tuple[str, ...]]:
    """What issues without anybody deciding once the plan is carried out."""

    def in_use(kind: str) -> Iterator[tuple[str, Spec]]:
        standing = (row.address for row in view.actual.of_kind(kind) if not row.retired)
        for address in dict.fromkeys((*view.resolved, *standing)):
            spec = view.find_spec(address)
            if kind_of(address) == kind and address not in retired and spec is not None:
                yield address, spec

    policies = {name_of(address): spec["profiles"] for address, spec in in_use("acme-policy")}
    ways = {
        address: unattended_ways(address.removeprefix("template/"), spec, policies)
        for address, spec in in_use("template")
    }
    return {address: found for address, found in ways.items() if found}
