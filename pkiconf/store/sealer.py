"""The sealer: puts committed audit records into the Merkle tree and signs what the tree has become.

One sealer works at a time, under a lease; two that believed to hold it could still not both add a leaf at one
index. Nothing is signed inside a transaction: the new leaves and their root are computed from what was read, and
written only if the tree is still as it was read.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict
from pkiconf.steps import Step
from pkiconf.store import checkpoints, leases
from pkiconf.store.audit import AuditEventRow, AuditLog, leaf_content
from pkiconf.store.checkpoints import Checkpoint
from pkiconf.store.database import Connection, Database
from pkiconf.store.merkle import Frontier, leaf_hash
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import audit_event, audit_leaf

LEASE: Final = "audit-seal"
RESTORED: Final = "database.restore"
_LEASE_SECONDS: Final = 60
_BATCH: Final = 2000
# On PostgreSQL a record may be committed after others with higher ids. This long after its act its transaction has
# ended (the limits on statements and pauses see to that), and ids so old need not be looked at again.
_SETTLED_SECONDS: Final = 300
_EVER: Final = 1 << 62

_EVENT: Final = (audit_event.c.id, audit_event.c.at, audit_event.c.body, audit_event.c.mac, audit_leaf.c.index)
_JOINED: Final = audit_event.outerjoin(audit_leaf, audit_leaf.c.event_id == audit_event.c.id)
_PENDING: Final = Prepared(
    select(*_EVENT)
    .select_from(_JOINED)
    .where(audit_event.c.id > bindparam("settled"), audit_leaf.c.event_id.is_(None))
    .order_by(audit_event.c.id)
    .limit(_BATCH),
    AuditEventRow,
)
_SETTLED: Final[Prepared[Any]] = Prepared(
    select(audit_event.c.id).where(audit_event.c.at < bindparam("before")).order_by(audit_event.c.id.desc()).limit(1)
)
_LEAVES: Final = Prepared(
    select(audit_leaf.c.index, audit_leaf.c.leaf_hash, audit_leaf.c.event_id)
    .where(audit_leaf.c.index >= bindparam("first"))
    .order_by(audit_leaf.c.index)
    .limit(_BATCH * 10)
)
_FIND: Final = Prepared(select(*_EVENT).select_from(_JOINED).where(audit_event.c.id == bindparam("id")), AuditEventRow)
_HEAD: Final[Prepared[Any]] = Prepared(select(func.max(audit_leaf.c.index)))
_ADD_LEAF: Final[Prepared[Any]] = Prepared(inserting(audit_leaf))


@dataclass(frozen=True, slots=True)
class _Work:
    frontier: Frontier  # of the leaves that stand
    pending: list[AuditEventRow]
    unsigned: bool  # leaves stand that no checkpoint covers
    last: Checkpoint | None
    settled: int  # with nothing pending, records up to this id need not be looked at again


class Sealer:
    """Seals one database, for one process; keeps the tree's edge in memory between runs.

    `sign` gives the Ed25519 signature over the bytes of a checkpoint. `state` is the folder whose file repeats the
    checkpoints; None for a process without one.
    """

    def __init__(
        self,
        db: Database,
        audit: AuditLog,
        sign: Callable[[bytes], bytes],
        state: Path | None,
        holder: str = "",
    ) -> None:
        self._db = db
        self._audit = audit
        self._sign = sign
        self._state = state
        self._holder = holder or f"{platform.node()}:{os.getpid()}"
        self._frontier = Frontier()
        self._signed = 0  # the size of the last checkpoint that was seen
        self._settled = 0

    def seal(self, now: datetime) -> int:
        """Seal every record committed so far, and return how many; 0 also when another sealer is at work.

        Raises Conflict when the tree is not what its last checkpoint says (nothing is signed then: run `verify`),
        Unavailable, and what `sign` raises.
        """
        sealed = 0
        while True:
            work = self._db.read(lambda c: self._look(c, now))
            self._frontier, self._signed = work.frontier, work.last.size if work.last else 0
            if not work.pending and not work.unsigned:
                self._repeat(work.last)
                self._settled = work.settled
                return sealed
            added = self._add(work, now)
            if added is None:
                return sealed
            sealed += added

    def _look(self, c: Connection, now: datetime) -> _Work:
        # A copy: this may be run again, on another view of the database.
        frontier = self._frontier.copy()
        last = checkpoints.find_last_checkpoint(c)
        signed = last.size if last else 0
        if signed < self._signed:
            raise _broken(f"its last checkpoint covers {signed} records, fewer than were sealed before")
        _catch_up(c, frontier, last, self._audit)
        pending = _PENDING.all(c, {"settled": self._settled})
        # SQLite has one writer at a time: what has a lower id than a committed record is committed, or never will be.
        before = to_epoch(now) - _SETTLED_SECONDS if c.dialect.name == "postgresql" else _EVER
        settled = _SETTLED.scalar(c, {"before": before}) or self._settled
        return _Work(frontier, pending, frontier.size > signed, last, settled)

    def _add(self, work: _Work, now: datetime) -> int | None:
        """How many records were sealed, 0 when another was quicker and one must look again; None under its lease."""
        epoch = to_epoch(now)
        fencing = self._db.write(
            Step.AUDIT_SEAL, lambda c: leases.acquire(c, LEASE, self._holder, epoch, epoch + _LEASE_SECONDS)
        )
        if fencing is None:
            return None
        first, frontier = work.frontier.size, work.frontier.copy()
        hashes = [leaf_hash(leaf_content(event)) for event in work.pending]
        for hash in hashes:
            frontier.append(hash)
        root = frontier.root()
        message = checkpoints.checkpoint_message(frontier.size, root, epoch)
        checkpoint = Checkpoint(frontier.size, root, epoch, self._sign(message))
        leaves = [
            {"index": index, "event_id": event.id, "leaf_hash": hash}
            for index, (event, hash) in enumerate(zip(work.pending, hashes, strict=True), start=first)
        ]
        if not self._db.write(Step.AUDIT_SEAL, lambda c: _store(c, fencing, first, leaves, checkpoint)):
            return 0
        self._frontier, self._signed = frontier, frontier.size
        self._repeat(checkpoint)
        return len(leaves)

    def _repeat(self, checkpoint: Checkpoint | None) -> None:
        if self._state is not None and checkpoint is not None:
            checkpoints.append_to_file(self._state, checkpoint)


def seal(db: Database, audit: AuditLog, sign: Callable[[bytes], bytes], state: Path | None, now: datetime) -> int:
    """One run of a `Sealer` that remembers nothing."""
    return Sealer(db, audit, sign, state).seal(now)


def first_index_after_restore(event: AuditEventRow, audit: AuditLog) -> int | None:
    """The index that a genuine record of a restore was put at, after the ones it left unused; None for any other."""
    fields = event.fields
    details = fields.get("details")
    if fields.get("action") != RESTORED or not isinstance(details, dict) or not audit.is_genuine(event):
        return None
    index = details.get("first_index")
    return index if isinstance(index, int) else None


def _catch_up(c: Connection, frontier: Frontier, last: Checkpoint | None, audit: AuditLog) -> None:
    """Grow `frontier` to the leaves that stand; where the last checkpoint was signed, its root must come out."""
    while rows := _LEAVES.all(c, {"first": frontier.size}):
        for index, hash, event_id in rows:
            if index != frontier.size:
                event = _FIND.find(c, {"id": event_id})
                if event is None or first_index_after_restore(event, audit) != index:
                    raise _broken(f"records {frontier.size} to {index - 1} are missing")
                frontier.skip(index - frontier.size)
            frontier.append(hash)
            if last is not None and frontier.size == last.size and frontier.root() != last.root_hash:
                raise _broken(f"its first {last.size} records are not those that were signed")
    if last is not None and frontier.size < last.size:
        raise _broken(f"its last checkpoint covers {last.size} records, of which {frontier.size} are there")


def _store(c: Connection, fencing: int, first: int, leaves: list[dict[str, Any]], checkpoint: Checkpoint) -> bool:
    """False when the tree has grown since it was read, before the lease was taken."""
    leases.check_fencing(c, LEASE, fencing)
    leases.release(c, LEASE, fencing)
    head = _HEAD.scalar(c)
    if (0 if head is None else head + 1) != first:
        return False
    _ADD_LEAF.many(c, leaves)
    checkpoints.add_checkpoint(c, checkpoint)
    return True


def _broken(what: str) -> Conflict:
    return Conflict(f"the audit log was changed: {what}", "Run `pkiconf audit verify`, and compare with a backup")
