"""What a check-up reads besides the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, literal_column, select

from pkiconf.store.database import Connection
from pkiconf.store.tables import audit_event, audit_leaf, certificate


@dataclass(frozen=True, slots=True)
class Backlog:
    """`oldest` is epoch seconds, None when `count` is 0."""

    count: int
    oldest: int | None


def last_act(c: Connection) -> int | None:
    """When the latest audit record was written, in epoch seconds."""
    return c.execute(select(audit_event.c.at).order_by(audit_event.c.id.desc()).limit(1)).scalar()


def server_clock(c: Connection) -> float:
    """Seconds since 1970 by PostgreSQL's own clock."""
    return float(c.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())


def unsealed(c: Connection) -> Backlog:
    """Audit records that the sealer has not put into the tree yet."""
    query = (
        select(func.count(), func.min(audit_event.c.at))
        .select_from(audit_event.outerjoin(audit_leaf, audit_leaf.c.event_id == audit_event.c.id))
        .where(audit_leaf.c.event_id.is_(None))
    )
    return Backlog(*c.execute(query).one())


def interrupted(c: Connection, before: int) -> Backlog:
    """Certificates that were reserved, not signed, and that nobody has taken up again since `before`."""
    query = select(func.count(), func.min(certificate.c.reserved_at)).where(
        # No parameter: only then may a database use the index of the rows that are.
        certificate.c.status == literal_column("'reserved'"),
        certificate.c.lease_until < before,
    )
    return Backlog(*c.execute(query).one())
