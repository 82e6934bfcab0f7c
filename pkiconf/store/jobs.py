"""Work that is due: queued in the transaction that makes it necessary, done by whoever claims it first.

There is at most one job of a kind for one thing (`dedupe`). Queueing it again while somebody works on it does not
get lost: `revision` has moved on when the work is finished, so the job stays and is due again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, or_, select, text, update
from sqlalchemy.sql.dml import ReturningUpdate

from pkiconf.errors import Conflict
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import job

_FIRST_PAUSE: Final = 5
_LONGEST_PAUSE: Final = 3600


class JobRow(NamedTuple):
    """`payload` is JSON; `attempts` counts claims, so that one whose worker died counts too."""

    id: int
    kind: str
    dedupe: str
    payload: str
    due_at: int
    claimed_by: str | None
    claimed_until: int | None
    attempts: int
    last_error: str | None
    revision: int


_QUEUE = Prepared(
    text(
        "INSERT INTO job (kind, dedupe, payload, due_at) VALUES (:kind, :dedupe, :payload, :due_at)"
        " ON CONFLICT (kind, dedupe) DO UPDATE SET payload = excluded.payload, revision = job.revision + 1,"
        " due_at = CASE WHEN job.due_at < excluded.due_at THEN job.due_at ELSE excluded.due_at END"
        " RETURNING id"
    )
)
_QUEUE_ONCE = Prepared(
    text(
        "INSERT INTO job (kind, dedupe, payload, due_at) VALUES (:kind, :dedupe, :payload, :due_at)"
        " ON CONFLICT (kind, dedupe) DO NOTHING"
    )
)
_CLAIM = Prepared(
    update(job)
    .where(job.c.id == bindparam("this"))
    .values(claimed_by=bindparam("holder"), claimed_until=bindparam("until"), attempts=job.c.attempts + 1)
    .returning(*job.c),
    JobRow,
)
_MINE: Final = (
    job.c.id == bindparam("this"),
    job.c.claimed_by == bindparam("holder"),
    job.c.attempts == bindparam("attempt"),
)
_UNCLAIMED: Final = {"claimed_by": None, "claimed_until": None}
_FINISH = Prepared(delete(job).where(*_MINE, job.c.revision == bindparam("done")))
_AGAIN = Prepared(update(job).where(*_MINE).values(**_UNCLAIMED, attempts=0, last_error=None))
_FAIL = Prepared(
    update(job).where(*_MINE).values(**_UNCLAIMED, due_at=bindparam("again_at"), last_error=bindparam("error"))
)
_GIVE_BACK = Prepared(update(job).where(*_MINE).values(**_UNCLAIMED, attempts=job.c.attempts - 1))
_RENEW = Prepared(update(job).where(*_MINE).values(claimed_until=bindparam("until")))
_NEXT = Prepared(
    text(
        "SELECT min(CASE WHEN claimed_until IS NULL OR due_at > claimed_until THEN due_at ELSE claimed_until END)"
        " FROM job"
    )
)
_NEXT_OF_KIND = Prepared(
    text(
        "SELECT min(CASE WHEN claimed_until IS NULL OR due_at > claimed_until THEN due_at ELSE claimed_until END)"
        " FROM job WHERE kind = :kind"
    )
)
_NEXT_BUT: Final = text(
    "SELECT min(CASE WHEN claimed_until IS NULL OR due_at > claimed_until THEN due_at ELSE claimed_until END)"
    " FROM job WHERE kind = :kind AND payload NOT IN :leaving"
).bindparams(bindparam("leaving", expanding=True))


def _claiming(*more: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """Row locks keep PostgreSQL from running the inner statement more than once; SQLite leaves them out."""
    due = (
        select(job.c.id)
        .where(
            job.c.kind == bindparam("of"),
            job.c.due_at <= bindparam("now"),
            or_(job.c.claimed_until.is_(None), job.c.claimed_until <= bindparam("now")),
            *more,
        )
        .order_by(job.c.due_at, job.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(job)
        .where(job.c.id.in_(select(due.c.id)))
        .values(claimed_by=bindparam("holder"), claimed_until=bindparam("until"), attempts=job.c.attempts + 1)
        .returning(*job.c)
    )


_CLAIM_OF_KIND = Prepared(_claiming(), JobRow)
_LIST = Prepared(select(job).order_by(job.c.due_at, job.c.id).limit(bindparam("most")), JobRow)
_FIND = Prepared(select(job).where(job.c.kind == bindparam("of"), job.c.dedupe == bindparam("thing")), JobRow)
_CANCEL = Prepared(text("DELETE FROM job WHERE kind = :kind AND dedupe = :dedupe"))


def queue(c: Connection, kind: str, dedupe: str, payload: str, due_at: int) -> int:
    """Have a job done at `due_at` or soon after; one that waits for the same thing takes the new payload and the
    earlier time. The row's id."""
    return int(_QUEUE.scalar(c, {"kind": kind, "dedupe": dedupe, "payload": payload, "due_at": due_at}))


def queue_once(c: Connection, kind: str, dedupe: str, payload: str, due_at: int) -> None:
    """As `queue`, but one that waits for the same thing, or is being done, stays as it is: nobody waits for its row."""
    _QUEUE_ONCE.count(c, {"kind": kind, "dedupe": dedupe, "payload": payload, "due_at": due_at})


def claim(
    c: Connection,
    holder: str,
    now: int,
    until: int,
    *,
    kinds: Collection[str] = (),
    other_than: Collection[str] = (),
    limit: int = 1,
) -> list[JobRow]:
    """At most `limit` due jobs, for `holder` alone until `until`; also those whose holder let its time run out. Of
    `kinds` where some are given, of none of `other_than`."""
    due = (
        select(job.c.id)
        .where(job.c.due_at <= now, or_(job.c.claimed_until.is_(None), job.c.claimed_until <= now))
        .order_by(job.c.due_at, job.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite writes one by one and leaves this out
    )
    if kinds:
        due = due.where(job.c.kind.in_(list(kinds)))
    if other_than:
        due = due.where(job.c.kind.not_in(list(other_than)))
    claimed = [_CLAIM.find(c, {"this": number, "holder": holder, "until": until}) for (number,) in c.execute(due).all()]
    return [row for row in claimed if row is not None]


def finish(c: Connection, row: JobRow) -> None:
    """The job is done; it stays when it was queued again meanwhile. Raises Conflict when the claim was lost."""
    if _FINISH.count(c, {**_key(row), "done": row.revision}) == 0 and _AGAIN.count(c, _key(row)) == 0:
        raise _lost(row)


def claim_of_kind(
    c: Connection, kind: str, holder: str, now: int, until: int, limit: int, *, leaving: Collection[str] = ()
) -> list[JobRow]:
    """As `claim`, in one statement: for work that many ask for at once. `leaving` are payloads of jobs that stay where
    they are."""
    values = {"of": kind, "holder": holder, "now": now, "until": until, "most": limit}
    if not leaving:
        return _CLAIM_OF_KIND.all(c, values)
    return [JobRow(*row) for row in c.execute(_claiming(job.c.payload.not_in(list(leaving))), values)]


def give_back(c: Connection, row: JobRow) -> None:
    """Nothing was attempted: whoever comes next may claim it at once. Raises Conflict when the claim was lost."""
    if _GIVE_BACK.count(c, _key(row)) == 0:
        raise _lost(row)


def fail(c: Connection, row: JobRow, error: str, now: int, seconds: int | None = None) -> int:
    """The job could not be done; when it will be tried again, in `seconds` or after the usual pause. Raises Conflict
    when the claim was lost."""
    again_at = now + (pause(row.attempts) if seconds is None else seconds)
    if _FAIL.count(c, {**_key(row), "again_at": again_at, "error": error}) == 0:
        raise _lost(row)
    return again_at


def renew(c: Connection, row: JobRow, until: int) -> None:
    """Keep a claim for longer. Raises Conflict when it was lost."""
    if _RENEW.count(c, {**_key(row), "until": until}) == 0:
        raise _lost(row)


def _key(row: JobRow) -> dict[str, object]:
    """A claim: another one of the same job, even by the same holder, has another count of attempts."""
    return {"this": row.id, "holder": row.claimed_by, "attempt": row.attempts}


def pause(attempts: int) -> int:
    """Seconds to wait after the `attempts`-th failure: 5, 10, 20 … at most an hour."""
    return min(_FIRST_PAUSE << min(max(attempts, 1) - 1, 20), _LONGEST_PAUSE)


def next_due(c: Connection, kind: str | None = None, *, leaving: Collection[str] = ()) -> int | None:
    """When there will be something to claim, of one kind or of any; None when there is no job. `leaving` as in
    `claim_of_kind`."""
    if kind is None:
        found = _NEXT.scalar(c)
    elif not leaving:
        found = _NEXT_OF_KIND.scalar(c, {"kind": kind})
    else:
        found = c.scalar(_NEXT_BUT, {"kind": kind, "leaving": list(leaving)})
    return None if found is None else int(found)


def find_job(c: Connection, kind: str, dedupe: str) -> JobRow | None:
    return _FIND.find(c, {"of": kind, "thing": dedupe})


def list_jobs(c: Connection, limit: int = 100) -> list[JobRow]:
    """By the time they are due."""
    return _LIST.all(c, {"most": limit})


def list_jobs_of_kind(c: Connection, kind: str) -> list[JobRow]:
    return [JobRow(*row) for row in c.execute(select(job).where(job.c.kind == kind).order_by(job.c.id))]


def cancel(c: Connection, kind: str, dedupe: str) -> bool:
    return _CANCEL.count(c, {"kind": kind, "dedupe": dedupe}) == 1


def expedite(c: Connection, kind: str, now: int) -> int:
    """Make every job of a kind due now; how many."""
    return int(c.execute(update(job).where(job.c.kind == kind, job.c.due_at > now).values(due_at=now)).rowcount)


def _lost(row: JobRow) -> Conflict:
    return Conflict(f"job {row.id} ({row.kind} {row.dedupe}) is no longer claimed by {row.claimed_by}")
