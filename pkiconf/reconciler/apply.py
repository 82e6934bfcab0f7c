"""Carry out a plan: under a lease, each change with its precondition, and never more than was agreed to."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Final

from pydantic import ValidationError

from pkiconf.authority.telling import Telling, nowhere_to_tell
from pkiconf.clock import to_epoch
from pkiconf.errors import PkiconfError, Refused
from pkiconf.model.actor import Actor
from pkiconf.policy.authorization import Action as Permission
from pkiconf.policy.authorization import check_may
from pkiconf.reconciler.desired import declare
from pkiconf.reconciler.kinds import get_kind
from pkiconf.reconciler.kinds.kind import Act, problem_of
from pkiconf.reconciler.lease import ApplyLease, hold
from pkiconf.reconciler.observe import observe, secret_mark
from pkiconf.reconciler.plan import Plan, stamp
from pkiconf.reconciler.recap import Recap, Result, Status
from pkiconf.reconciler.state import Action, Change, Desired, authority_address, authority_of, kind_of
from pkiconf.reconciler.tellings import check_tellings, choose_tellings
from pkiconf.services import Services
from pkiconf.spec.document import Document
from pkiconf.steps import Step
from pkiconf.store import applied
from pkiconf.store.database import Connection

__all__ = ["PATIENCE", "Recap", "Result", "Status", "apply_plan"]

PATIENCE: Final = 40.0
"""Seconds to wait for another apply: longer than the lease of one that died on another host."""


def _unheard(result: Result) -> None:
    """For callers that read the recap only."""


def apply_plan(
    services: Services,
    plan: Plan,
    document: Document | None,
    allow: Collection[Action],
    actor: Actor,
    *,
    leave_grave: bool = False,
    patience: float = PATIENCE,
    report: Callable[[Result], None] = _unheard,
    telling: Telling | None = None,
) -> Recap:
    """Make the plan's changes, in its order. A failed change stops only what needs it.

    `document` gives the files and secrets that some changes need; None for a saved plan alone. `allow` holds the
    actions that were agreed to; with `leave_grave` (for processes that act on their own) the others are left out
    and counted as refused, else the whole plan is refused. `report` hears each result as it comes. `telling` is where
    credentials are told that no file is declared for; without it, such a change is treated as one without consent.

    Raises Refused: consent missing, nowhere to tell credentials, the plan out of date, another apply at work for longer
    than `patience` seconds.
    """
    check_may(actor, Permission.APPLY, "declaration")
    missing = plan.without_consent(allow)
    if missing and not leave_grave:
        raise _without_consent(missing)
    wishes = _wishes(services, plan, document)
    left_out = {
        change.address: f"nobody agreed to it; use pkiconf apply --allow {change.action.value}" for change in missing
    }
    tellings = choose_tellings(plan.changes, wishes, telling)
    if not leave_grave:
        check_tellings(tellings)
    left_out |= {address: str(nowhere_to_tell(address)) for address, chosen in tellings.items() if chosen is None}
    run = _Run(services, plan, wishes, actor, left_out, tellings, report)
    if not any(run.can_be_done(change) for change in plan.changes):
        return Recap(tuple(run.step(change, None) for change in plan.changes))
    with hold(services.parts, patience) as lease:
        _check_current(services, plan)
        recap = Recap(tuple(run.step(change, lease) for change in plan.changes))
        _record(services, plan, recap, actor, lease)
    return recap


def _without_consent(missing: Collection[Change]) -> Refused:
    words = ",".join(sorted({change.action.value for change in missing}))
    listed = ", ".join(f"{change.action.value} {change.address}" for change in missing)
    return Refused(f"nobody agreed to: {listed}; nothing was changed", f"Agree with --allow {words}")


def _wishes(services: Services, plan: Plan, document: Document | None) -> Mapping[str, Desired]:
    if document is None:
        return {}
    return declare(document, plan.workspace, secret_mark(services.parts.audit)).objects


def _check_current(services: Services, plan: Plan) -> None:
    if services.parts.db.read(lambda c: stamp(plan.changes, observe(c))) != plan.digest:
        raise Refused("the plan is out of date: what it was made from has changed; nothing was done", "Plan again")


def refers_to(change: Change) -> frozenset[str]:
    """Addresses by whose names a row's stored spec speaks of others."""
    before = change.before or {}
    if kind_of(change.address) == "authority":
        return frozenset({authority_address(str(before.get("issuer")))})
    if kind_of(change.address) == "acme-policy":
        offered = {f"template/{reference}" for reference in (before.get("profiles") or {}).values()}
        return frozenset(offered | {authority_of(address) for address in offered})
    return frozenset()


def _standing(change: Change) -> Result:
    status = Status.REFUSED if change.refused else Status.OK
    return Result(change.address, change.action, status, change.refused, change.waiting)


def _unread(change: Change, wish: Desired | None) -> str:
    """Why the files that a change reads are not the ones it was planned with; empty if they are."""
    missing = [path for path in change.files if wish is None or path not in wish.files]
    if missing:
        return f"it reads {', '.join(missing)}; give the YAML files beside the plan"
    moved = [name for name, mark in change.marks.items() if wish is None or wish.marks.get(name) != mark]
    return f"the file of {', '.join(moved)} is another one than was planned with; plan again" if moved else ""


class _Run:
    """One apply under way: what it has done so far decides what may still be done."""

    def __init__(
        self,
        services: Services,
        plan: Plan,
        wishes: Mapping[str, Desired],
        actor: Actor,
        left_out: Mapping[str, str],
        tellings: Mapping[str, Telling | None],
        report: Callable[[Result], None],
    ) -> None:
        self._services = services
        self._plan = plan
        self._wishes = wishes
        self._actor = actor
        self._left_out = left_out
        self._tellings = tellings
        self._report = report
        self._stopped: dict[str, Status] = {}
        self._renamed: list[str] = []

    def can_be_done(self, change: Change) -> bool:
        return change.pending and not (change.refused or change.deferred or change.address in self._left_out)

    def step(self, change: Change, lease: ApplyLease | None) -> Result:
        """Carry one change out; without a lease, only say why it is not."""
        result = self._outcome(change, lease)
        is_missing = change.generation is None and change.action is Action.CREATE
        if result.status in (Status.FAILED, Status.SKIPPED) or (
            is_missing and result.status in (Status.REFUSED, Status.WAITING)
        ):
            self._stopped[change.address] = result.status
        self._report(result)
        return result

    def _outcome(self, change: Change, lease: ApplyLease | None) -> Result:
        if not change.pending or change.refused:
            return _standing(change)
        if change.address in self._left_out:
            return Result(change.address, change.action, Status.REFUSED, self._left_out[change.address])
        for needed in change.needs:
            if needed in self._stopped:
                return self._held_up(change, needed)
        if change.deferred or lease is None:
            return Result(change.address, change.action, Status.WAITING, waits_for=change.waiting)
        unread = _unread(change, self._wishes.get(change.address))
        if unread:
            return Result(change.address, change.action, Status.REFUSED, unread)
        return self._perform(change, lease)

    def _held_up(self, change: Change, needed: str) -> Result:
        if self._stopped[needed] is Status.WAITING:
            return Result(change.address, change.action, Status.WAITING, waits_for=needed)
        return Result(change.address, change.action, Status.SKIPPED, f"it needs {needed}, which could not be done")

    def _perform(self, change: Change, lease: ApplyLease) -> Result:
        act = Act(
            self._services,
            change,
            self._wishes.get(change.address),
            self._generation(change),
            self._actor,
            lease.guard,
            self._tellings.get(change.address),
        )
        try:
            lease.renew()
            get_kind(change.address).perform(act)
        except ValidationError as error:
            return Result(change.address, change.action, Status.FAILED, problem_of(error))
        except PkiconfError as error:
            if not lease.is_held():
                raise Refused("another apply has taken over; what was done so far stands", "Apply again") from error
            status = Status.REFUSED if isinstance(error, Refused) else Status.FAILED
            return Result(change.address, change.action, status, str(error))
        if change.moved_from:
            self._renamed.append(change.address)
        return Result(change.address, change.action, Status.CHANGED, change.reason, change.waiting)

    def _generation(self, change: Change) -> int | None:
        """The row's precondition. A rename in this run also wrote the rows of those that refer to what was renamed: the
        authorities right below, the policies that offer a template."""
        if change.generation is None:
            return None
        return change.generation + sum(renamed in refers_to(change) for renamed in self._renamed)


def _record(services: Services, plan: Plan, recap: Recap, actor: Actor, lease: ApplyLease) -> None:
    parts = services.parts
    now = to_epoch(parts.now())

    def write(c: Connection) -> None:
        lease.guard(c)
        applied.add_applied(
            c,
            at=now,
            workspace=plan.workspace,
            actor=str(actor),
            plan_digest=plan.digest,
            recap=json.dumps(recap.counts, sort_keys=True),
        )
        details: dict[str, object] = {"plan": plan.digest, "workspace": plan.workspace, **recap.counts}
        parts.record(c, actor, "declaration.apply", "declaration", details)

    parts.db.write(Step.APPLY_RECORD, write)
