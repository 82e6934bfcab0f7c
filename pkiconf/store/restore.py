"""A backup brought back, on an empty host, into either kind of database.

The PKI that the backup was taken of may have run on for a while. So nothing that it could have used since is used
again: ids, CRL numbers, status epochs and audit indexes all go on after a wide gap, each from a round number, by
which the gap is recognised. Serial numbers are random and need none.
"""

from __future__ import annotations

import hmac
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update

from pkiconf.clock import from_epoch
from pkiconf.errors import Conflict, Malformed, Unavailable, Unverified
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.steps import Step
from pkiconf.store import checkpoints, migrate, wrapping
from pkiconf.store.archive import Archive, Manifest, open_archive
from pkiconf.store.audit import MAC_NAME, AuditEventRow, AuditLog, leaf_content
from pkiconf.store.backup import MANIFEST_PURPOSE
from pkiconf.store.database import Connection, Database
from pkiconf.store.merkle import leaf_hash
from pkiconf.store.portable import check_empty, copy_tables, count_rows, open_portable, read_counters, set_counters
from pkiconf.store.sealer import RESTORED
from pkiconf.store.tables import audit_event, audit_leaf, crl_partition, issuer, job, lease
from pkiconf.store.wrapping import SealedRow

_MARGIN: Final = 1_000_000
_AUDIT_MARGIN: Final = 10_000_000_000  # records are the most frequent rows: two and more for each certificate


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """`notes` are sentences the operator must read; `first_audit_index` is where the log goes on."""

    manifest: Manifest
    first_audit_index: int
    notes: tuple[str, ...]


def restore(
    archive: Path,
    db: Database,
    state: Path,
    *,
    unseal: Callable[[SealedRow], Secret],
    actor: Actor,
    now: datetime,
) -> RestoreReport:
    """Fill the empty database `db` from an archive, all or nothing; the schema is made if it is missing.

    `unseal` opens what the master key at hand opens, and raises Unavailable otherwise. Raises that, Conflict when
    the database or the state folder is not empty, Malformed and Unverified for a damaged or altered archive: all of
    them before anything is changed.
    """
    if (state / checkpoints.FILE_NAME).exists():
        raise Conflict(
            f"{state} holds the checkpoints of another audit log ({checkpoints.FILE_NAME})",
            "Restore into a fresh state folder, and keep that file: it shows what the backup does not hold",
        )
    _check_target(db)
    with open_archive(archive) as opened:
        audit = AuditLog(_verified(opened, unseal))
        try:
            with tempfile.TemporaryDirectory(prefix=".restore-", dir=state) as folder:
                return _restore_from(opened, Path(folder), db, state, audit, unseal, actor, now)
        except OSError as error:
            raise Unavailable(f"the restore needs to write to {state}: {error.strerror}") from None


def past(last: int, margin: int = _MARGIN) -> int:
    """A round number more than `margin` above `last`."""
    return (last // margin + 2) * margin


def _check_target(db: Database) -> None:
    """Before anything is changed, so an older schema is not upgraded just to look whether it is empty."""
    schema = migrate.schema_of(db)
    if schema is migrate.Schema.CURRENT:
        db.read(check_empty)
    elif schema is not migrate.Schema.EMPTY:
        raise Conflict(f"the database has a schema of another version ({db.place})", "Restore into an empty database")


def _verified(archive: Archive, unseal: Callable[[SealedRow], Secret]) -> Secret:
    """The audit MAC key, with which the manifest was found genuine."""
    manifest = archive.manifest
    sealed = bytes.fromhex(manifest.audit_mac)
    key = unseal(SealedRow(None, MAC_NAME, None, sealed, manifest.wrapping_key_id))
    expected = AuditLog(key).mac(MANIFEST_PURPOSE, archive.manifest_bytes)
    if not hmac.compare_digest(expected, archive.mac):
        raise Unverified(f"{archive.path} was altered since it was made", "Take another copy of it")
    return key


def _restore_from(
    archive: Archive, folder: Path, db: Database, state: Path, audit: AuditLog,
    unseal: Callable[[SealedRow], Secret], actor: Actor, now: datetime,
) -> RestoreReport:  # fmt: skip
    copy = folder / "database.sqlite"
    archive.extract_database(copy)
    scratch = open_portable(copy)
    try:
        for row in scratch.read(_one_of_each_wrapping):
            unseal(row)
        _check_counts(scratch, archive)
        migrate.upgrade(db)
        first = scratch.read(
            lambda source: db.write(
                Step.RESTORE, lambda target: _fill(source, target, archive.manifest, audit, actor, now)
            )
        )
    finally:
        scratch.close()
    last = db.read(checkpoints.find_last_checkpoint)
    if last is not None:
        checkpoints.append_to_file(state, last)
    return RestoreReport(archive.manifest, first, _notes(archive.manifest))


def _one_of_each_wrapping(c: Connection) -> list[SealedRow]:
    rows = wrapping.find_sealed_secrets(c)
    after = 0
    while batch := wrapping.find_sealed(c, after=after):
        rows += batch
        after = batch[-1].id or 0
    return list({row.wrapping_key_id: row for row in rows}.values())


def _check_counts(scratch: Database, archive: Archive) -> None:
    found, said = scratch.read(count_rows), archive.manifest.tables
    wrong = [name for name, count in found.items() if name in said and said[name] != count]
    if wrong and archive.manifest.revision == migrate.REVISIONS[-1]:
        raise Malformed(f"{archive.path}: {wrong[0]} has another number of rows than the manifest says")


def _fill(
    source: Connection, target: Connection, manifest: Manifest, audit: AuditLog, actor: Actor, now: datetime
) -> int:
    check_empty(target)  # again: others may have been here since
    copy_tables(source, target)
    set_counters(target, read_counters(source), _past_counter)
    _advance_issuers(target)
    target.execute(update(lease).values(until_at=0))  # their holders are elsewhere, if anywhere
    target.execute(update(job).values(claimed_by=None, claimed_until=None))
    return _record(target, manifest, audit, actor, now)


def _past_counter(table: str, last: int) -> int:
    return past(last, _AUDIT_MARGIN if table == audit_event.name else _MARGIN)


def _advance_issuers(c: Connection) -> None:
    """CRL numbers only ever grow (RFC 5280 §5.2.3), and a CRL or an answer made under an epoch is never served
    for another state of things."""
    change = (
        update(issuer)
        .where(issuer.c.id == bindparam("which"))
        .values(crl_number=bindparam("number"), status_epoch=bindparam("epoch"))
    )
    for number, crl_number, epoch in c.execute(select(issuer.c.id, issuer.c.crl_number, issuer.c.status_epoch)).all():
        c.execute(change, {"which": number, "number": past(crl_number), "epoch": past(epoch)})
        c.execute(update(crl_partition).where(crl_partition.c.issuer_id == number).values(added_epoch=past(epoch)))


def _record(c: Connection, manifest: Manifest, audit: AuditLog, actor: Actor, now: datetime) -> int:
    """The record of the restore is at once put into the tree, behind the gap of indexes that it tells of."""
    last = c.execute(select(func.max(audit_leaf.c.index))).scalar_one()
    first_index = past(-1 if last is None else int(last), _AUDIT_MARGIN)
    details: dict[str, Any] = {
        "backup_made_at": manifest.made_at,
        "backup_sha256": manifest.sha256,
        "first_index": first_index,
    }
    event_id = audit.record(c, now, actor, RESTORED, "database", details)
    row = c.execute(
        select(audit_event.c.id, audit_event.c.at, audit_event.c.body, audit_event.c.mac).where(
            audit_event.c.id == event_id
        )
    ).one()
    event = AuditEventRow(row.id, row.at, row.body, row.mac, first_index)
    c.execute(
        audit_leaf.insert().values(index=first_index, event_id=event_id, leaf_hash=leaf_hash(leaf_content(event)))
    )
    return first_index


def _notes(manifest: Manifest) -> tuple[str, ...]:
    moment = from_epoch(manifest.made_at).isoformat()
    return (
        f"Certificates issued after {moment} are not known here: OCSP answers 'unknown' for them.",
        f"Revocations made after {moment} are not known here: repeat them.",
        "See to it that the PKI this backup was taken of never runs again.",
    )
