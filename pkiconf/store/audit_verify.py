"""Does the audit log, as it stands in this database, tell what happened?

Every record is checked against its MAC, the order against the tree, the tree against every signed checkpoint, those
of the state folder's file included, and the certificates against the records in both directions. So a copy of the
database in which a record was edited, moved, taken out or cut off the end is told from the real one. What nobody
can see here: records that were cut off before they were sealed and that concern no certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import select

from pkiconf.errors import Unverified
from pkiconf.store import checkpoints
from pkiconf.store.audit import AuditEventRow, AuditLog, leaf_content
from pkiconf.store.audit_certificates import CertificateHistory
from pkiconf.store.checkpoints import Checkpoint
from pkiconf.store.database import Connection, Database
from pkiconf.store.merkle import Frontier, leaf_hash
from pkiconf.store.sealer import first_index_after_restore
from pkiconf.store.tables import audit_event, audit_leaf
from pkiconf.store.whole import lift_time_limits, stream


class Finding(StrEnum):
    EDITED = "edited"
    REORDERED = "reordered"
    MISSING = "missing"
    CUT_OFF = "cut-off"
    UNSIGNED = "unsigned"  # a checkpoint whose signature does not hold, or records that none covers
    CERTIFICATE = "certificate"  # a certificate's row and the records about it differ


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """`event_id` is the record's, where it is about one."""

    kind: Finding
    text: str
    event_id: int | None = None

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """No findings: the log holds. `records` were looked at, `sealed` of them in the tree."""

    records: int
    sealed: int
    findings: tuple[AuditFinding, ...]


def verify(
    db: Database, audit: AuditLog, check_signature: Callable[[bytes, bytes], None], state: Path | None
) -> AuditReport:
    """Look at everything, in one unchanging view of the database; costs some 30 µs a record.

    `check_signature(message, signature)` raises Unverified. Raises Unavailable, and Malformed when the state folder's
    file of checkpoints cannot be read.
    """
    # Read first: the file may grow while the database's view stands still.
    witnesses = checkpoints.read_file(state) if state is not None else []
    return db.read(lambda c: _Verification(c, audit, check_signature, witnesses).run())


class _Verification:
    """One run, in one transaction."""

    def __init__(
        self,
        c: Connection,
        audit: AuditLog,
        check_signature: Callable[[bytes, bytes], None],
        witnesses: Sequence[Checkpoint],
    ) -> None:
        self.c = c
        self.audit = audit
        self.check_signature = check_signature
        self.witnesses = witnesses
        self.findings: list[AuditFinding] = []
        self.records = 0
        self.sealed = 0
        self.restored_last = False  # the last leaf is a restore's, which the next checkpoint will cover

    def run(self) -> AuditReport:
        lift_time_limits(self.c)
        signed = [(point, "the checkpoint") for point in checkpoints.list_checkpoints(self.c)]
        signed += [(point, f"the state folder's file {checkpoints.FILE_NAME}") for point in self.witnesses]
        self._check_tree(self._check_signatures(signed))
        self._check_records()
        return AuditReport(self.records, self.sealed, tuple(self.findings))

    def _report(self, kind: Finding, text: str, event_id: int | None = None) -> None:
        self.findings.append(AuditFinding(kind, text, event_id))

    def _check_signatures(self, signed: list[tuple[Checkpoint, str]]) -> list[tuple[Checkpoint, str]]:
        """Those whose signature holds, by size."""
        good = []
        for point, where in signed:
            try:
                self.check_signature(point.message, point.signature)
            except Unverified:
                self._report(Finding.UNSIGNED, f"{where} of {point.size} records has a signature that does not hold")
            else:
                good.append((point, where))
        return sorted(good, key=lambda pair: pair[0].size)

    def _check_tree(self, signed: list[tuple[Checkpoint, str]]) -> None:
        frontier, due = Frontier(), iter(signed)
        point = next(due, None)
        whole = True  # False after a hole: roots above it cannot come out, and that has been said
        for index, hash, event in self._leaves():
            if index != frontier.size:
                whole = self._check_hole(frontier, index, event) and whole
            self._check_leaf(index, hash, event)
            frontier.append(hash)
            self.sealed += 1
            while point is not None and point[0].size <= frontier.size:
                if whole and not self._check_root(*point, frontier):
                    whole = False
                point = next(due, None)
        self._check_end(frontier.size, signed)

    def _check_hole(self, frontier: Frontier, index: int, event: AuditEventRow | None) -> bool:
        first, count = frontier.size, index - frontier.size
        frontier.skip(count)
        if event is not None and first_index_after_restore(event, self.audit) == index:
            return True
        self._report(Finding.MISSING, f"{count} sealed record(s) are missing at index {first}")
        return False

    def _check_leaf(self, index: int, hash: bytes, event: AuditEventRow | None) -> None:
        self.restored_last = False
        if event is None:
            self._report(Finding.MISSING, f"the record that was sealed at index {index} is missing")
            return
        self.restored_last = first_index_after_restore(event, self.audit) == index
        # An edited body is found with all the others; here a genuine record stands in another's place.
        if leaf_hash(leaf_content(event)) != hash and self.audit.is_genuine(event):
            text = f"record {event.id} is not the one that was sealed at index {index}"
            self._report(Finding.REORDERED, text, event.id)

    def _check_root(self, point: Checkpoint, where: str, frontier: Frontier) -> bool:
        if point.size == frontier.size and point.root_hash == frontier.root():
            return True
        text = f"the first {point.size} sealed records are not those that {where} signed, in that order"
        self._report(Finding.REORDERED, text)
        return False

    def _check_end(self, size: int, signed: list[tuple[Checkpoint, str]]) -> None:
        if signed and signed[-1][0].size > size:
            point, where = signed[-1]
            self._report(Finding.CUT_OFF, f"{where} covers {point.size} sealed records, but the log ends after {size}")
        covered = max((point.size for point, _ in signed), default=0)
        if covered < size and not self.restored_last:
            self._report(Finding.UNSIGNED, f"the sealed records from index {covered} on are in no checkpoint")

    def _check_records(self) -> None:
        history = CertificateHistory()
        for event in self._events():
            self.records += 1
            if self.audit.is_genuine(event):
                history.add(event.fields)
            else:
                self._report(Finding.EDITED, f"record {event.id} is not as it was written", event.id)
        for text in history.compare(self.c):
            self._report(Finding.CERTIFICATE, text)

    def _leaves(self) -> Iterator[tuple[int, bytes, AuditEventRow | None]]:
        leaf, event = audit_leaf.c, audit_event.c
        query = (
            select(leaf.index, leaf.leaf_hash, event.id, event.at, event.body, event.mac)
            .select_from(audit_leaf.outerjoin(audit_event, event.id == leaf.event_id))
            .order_by(leaf.index)
        )
        for index, hash, id, at, body, mac in stream(self.c, query):
            yield index, hash, None if id is None else AuditEventRow(id, at, body, mac, index)

    def _events(self) -> Iterator[AuditEventRow]:
        event = audit_event.c
        for id, at, body, mac in stream(self.c, select(event.id, event.at, event.body, event.mac).order_by(event.id)):
            yield AuditEventRow(id, at, body, mac, None)
