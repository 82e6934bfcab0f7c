"""A backup of everything in the database, taken while it is used.

What is not in it: the master key, and whatever happens after its moment. Without the master key a backup signs
nothing and cannot be restored: keep it apart from the backups, and as long as they.
"""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict, Unavailable
from pkiconf.model.actor import Actor
from pkiconf.steps import Step
from pkiconf.store.archive import FORMAT, Manifest, file_digest, write_archive
from pkiconf.store.audit import MAC_NAME, AuditLog
from pkiconf.store.database import Database
from pkiconf.store.portable import dump, look_into

MANIFEST_PURPOSE: Final = b"pkiconf backup manifest 1\n"


@dataclass(frozen=True, slots=True)
class BackupReport:
    """`notes` are sentences the operator must read."""

    path: Path
    manifest: Manifest
    notes: tuple[str, ...]


def backup(db: Database, target: Path, *, audit: AuditLog, actor: Actor, now: datetime) -> BackupReport:
    """Write a new archive (mode 0600), complete or not at all, and record that in the audit log beforehand.

    The database is read as it is at one moment; writers go on. Raises Conflict when `target` exists, Unavailable.
    """
    if target.exists() or target.is_symlink():
        raise Conflict(f"{target} exists already", "Name another file for the backup")
    try:
        with tempfile.TemporaryDirectory(prefix=".pkiconf-backup-", dir=target.absolute().parent) as folder:
            db.write(
                Step.BACKUP, lambda c: audit.record(c, now, actor, "database.backup", "database", {"to": target.name})
            )
            copy = Path(folder) / "database.sqlite"
            dump(db, copy)
            manifest = _manifest(copy, db.dialect, now)
            mac = audit.mac(MANIFEST_PURPOSE, manifest.encode())
            write_archive(target.absolute(), Path(folder) / "archive.tar", manifest, mac, copy)
    except OSError as error:
        raise Unavailable(f"the backup {target} cannot be written: {error.strerror}", "Check the folder") from None
    except sqlite3.Error as error:
        raise Unavailable(f"the backup {target} cannot be made: {error}", "Check the disk and the database") from None
    return BackupReport(target, manifest, _notes(manifest))


def _manifest(copy: Path, dialect: str, now: datetime) -> Manifest:
    contents = look_into(copy)
    sealed, wrapping_key_id = contents.secrets[MAC_NAME]
    return Manifest(
        format=FORMAT, made_at=to_epoch(now), revision=contents.revision, dialect=dialect, tables=contents.tables,
        size=copy.stat().st_size, sha256=file_digest(copy), audit_mac=sealed.hex(), wrapping_key_id=wrapping_key_id,
        wrapping_key_ids=contents.wrapping_key_ids,
    )  # fmt: skip


def _notes(manifest: Manifest) -> tuple[str, ...]:
    ids = ", ".join(manifest.wrapping_key_ids)
    return (
        f"The master key ({ids}) is not in the backup. Keep it elsewhere: without it nothing can be restored.",
        "What is issued or revoked from now on is not in it either.",
    )
