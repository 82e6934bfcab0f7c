"""The world as it stands, read in one transaction; and a plan made from it in the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.model.secret import Secret
from pkiconf.reconciler.desired import declare, keyed_mark
from pkiconf.reconciler.diff import diff
from pkiconf.reconciler.kinds import KINDS
from pkiconf.reconciler.plan import Measure, Plan, make_plan, present_addresses
from pkiconf.reconciler.state import (
    NEEDS_CONSENT,
    Action,
    ActualState,
    Affects,
    Change,
    DesiredState,
    authority_address,
    authority_of,
    kind_of,
    name_of,
)
from pkiconf.services import Services
from pkiconf.spec.document import Document
from pkiconf.store import acme_policies, authorities, slugs, standing, templates
from pkiconf.store.audit import AuditLog
from pkiconf.store.database import Connection

DEFAULT_WORKSPACE: Final = "default"
_BLOCKERS: Final = 100


def load_plan(
    services: Services | None,
    document: Document,
    *,
    now: datetime,
    limit: Sequence[str] = (),
    prune: bool = False,
    workspace: str = DEFAULT_WORKSPACE,
) -> Plan:
    """What would have to change for the world to be as the document says. Changes nothing.

    Without services the world is empty: nothing was ever applied. `limit` keeps these addresses and what they need.
    Raises Malformed (a key or certificate file that cannot be read), NotFound (a limit that names nothing),
    Unavailable.
    """
    mark = secret_mark(services.parts.audit) if services else keyed_mark(Secret(b""))
    desired = declare(document, workspace, mark)
    if services is None:
        return _plan(None, desired, now, limit, prune)
    return services.parts.db.read(lambda c: _plan(c, desired, now, limit, prune))


def secret_mark(audit: AuditLog) -> Callable[[Secret], str]:
    """Marks under a key derived for nothing else from one that never leaves the database unsealed."""
    return keyed_mark(Secret(audit.mac(b"pkiconf change detection key 1\n", b"")))


def observe(c: Connection) -> ActualState:
    """Every declared or declarable object as it stands."""
    rows = [row for kind in KINDS for row in kind.observe(c)]
    return ActualState({row.address: row for row in rows}, frozenset(row.address for row in slugs.list_buried(c)))


def _plan(c: Connection | None, desired: DesiredState, now: datetime, limit: Sequence[str], prune: bool) -> Plan:
    actual = observe(c) if c is not None else ActualState({})
    difference = diff(desired, actual, now, prune=prune)
    measures = measure(c, difference.changes, actual, to_epoch(now)) if c is not None else {}
    return make_plan(difference, actual, desired.workspace, measures, limit)


def measure(c: Connection, changes: Sequence[Change], actual: ActualState, now: int) -> Mapping[str, Measure]:
    """How much each change touches. Only changes to what stands are counted: counting reads many rows."""
    touched = [change for change in changes if change.pending and change.before is not None]
    under = Counter(authority_of(row.address) for row in actual.of_kind("template") if not row.retired)
    below = Counter(
        authority_address(str(row.spec.get("issuer"))) for row in actual.of_kind("authority") if not row.retired
    )
    measures: dict[str, Measure] = {}
    present = present_addresses(changes)
    for change in touched:
        address = present[change.address]
        if kind_of(address) == "authority":
            live = _live_of_authority(c, address, now) if _asks(change) else 0
            measures[change.address] = Measure(Affects(live, under[address], below[address]))
        elif kind_of(address) == "template":
            measures[change.address] = _measure_template(c, change, address, now)
        elif kind_of(address) == "acme-policy":
            measures[change.address] = _measure_policy(c, change, address)
        elif kind_of(address) == "settings":
            measures[change.address] = Measure(Affects(0, sum(under.values()), len(actual.of_kind("authority"))))
    return measures


def _asks(change: Change) -> bool:
    """Whether certificates that live on are touched: an update changes only what is issued from now on."""
    return change.action in NEEDS_CONSENT or change.action is Action.RENEW


def _live_of_authority(c: Connection, address: str, now: int) -> int:
    row = authorities.find_authority(c, name_of(address))
    return standing.live_by_authority(c, [row.id], now).get(row.id, 0) if row else 0


def _measure_policy(c: Connection, change: Change, address: str) -> Measure:
    row = acme_policies.find_policy(c, name_of(address)) if _asks(change) else None
    if row is None:
        return Measure(Affects())
    count, names = acme_policies.valid_accounts(c, row.id, _BLOCKERS)
    return Measure(Affects(accounts=count), tuple(names))


def _measure_template(c: Connection, change: Change, address: str, now: int) -> Measure:
    rows = templates.find_by_reference(c, address.removeprefix("template/"))
    if not rows:
        return Measure(Affects())
    live = standing.live_by_template(c, [rows[0].id], now).get(rows[0].id, 0) if _asks(change) else 0
    serials = standing.live_serials(c, rows[0].id, now, _BLOCKERS) if live else []
    return Measure(Affects(live), tuple(serial.hex().upper() for serial in serials))
