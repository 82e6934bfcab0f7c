"""Who alone may do something now, across processes and hosts.

A holder that was only thought dead may wake up late. So every new holder gets a larger fencing number, and
whatever is done under a lease checks the number in its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict
from pkiconf.steps import Step
from pkiconf.store.database import Connection, Database
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import lease


@dataclass(frozen=True, slots=True)
class LeaseRow:
    name: str
    holder: str
    fencing: int
    until_at: int


_ACQUIRE = Prepared(
    text(
        "INSERT INTO lease (name, holder, fencing, until_at) VALUES (:name, :holder, 1, :until)"
        " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fencing = lease.fencing + 1,"
        " until_at = excluded.until_at WHERE lease.until_at <= :now RETURNING fencing"
    )
)
_RENEW = Prepared(text("UPDATE lease SET until_at = :until WHERE name = :name AND fencing = :fencing"))
_RELEASE = Prepared(text("UPDATE lease SET until_at = 0 WHERE name = :name AND fencing = :fencing"))
_FIND = Prepared(select(lease).where(lease.c.name == bindparam("wanted")), LeaseRow)
# FOR SHARE: a new holder waits until the transaction that checked has ended (SQLite writes one by one anyway).
_CHECK = Prepared(select(lease).where(lease.c.name == bindparam("wanted")).with_for_update(read=True), LeaseRow)


def acquire(c: Connection, name: str, holder: str, now: int, until: int) -> int | None:
    """A fencing number that no earlier holder had, or None while another's time runs (the same holder's too)."""
    number = _ACQUIRE.scalar(c, {"name": name, "holder": holder, "now": now, "until": until})
    return None if number is None else int(number)


def renew(c: Connection, name: str, fencing: int, until: int) -> None:
    """Raises Conflict when somebody else has taken the lease since."""
    if _RENEW.count(c, {"name": name, "fencing": fencing, "until": until}) == 0:
        raise _lost(c, name)


def release(c: Connection, name: str, fencing: int) -> None:
    """Let others take it at once. Does nothing when somebody else has it already."""
    _RELEASE.count(c, {"name": name, "fencing": fencing})


@contextmanager
def held(db: Database, name: str, holder: str, now: int, seconds: int) -> Iterator[bool]:
    """Whether the lease was free, and is `holder`'s for as long as the block lasts, at most `seconds`: whoever is
    killed in it is followed then. Raises Unavailable."""
    number = db.write(Step.LEASE, lambda c: acquire(c, name, holder, now, now + seconds), durable=False)
    try:
        yield number is not None
    finally:
        if number is not None:
            db.write(Step.LEASE, lambda c: release(c, name, number), durable=False)


def check_fencing(c: Connection, name: str, fencing: int) -> None:
    """Raises Conflict unless nobody has taken the lease since it was acquired with `fencing`.

    An expired lease that nobody took is still good. In a write closure, it stays so until the commit.
    """
    found = _CHECK.find(c, {"wanted": name})
    if found is None or found.fencing != fencing:
        raise _lost(c, name)


def find_lease(c: Connection, name: str) -> LeaseRow | None:
    return _FIND.find(c, {"wanted": name})


def _lost(c: Connection, name: str) -> Conflict:
    found = find_lease(c, name)
    holder = f"{found.holder} has it now" if found else "it was never taken"
    return Conflict(f"the lease {name!r} was lost: {holder}", "Start again")
