"""Which schema the database has, and how it gets this program's."""

from __future__ import annotations

import threading
from enum import Enum
from pathlib import Path
from typing import Final

from sqlalchemy import inspect

from pkiconf.errors import Conflict, Unavailable
from pkiconf.steps import Step
from pkiconf.store.database import Connection, Database

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
"""Every revision this program knows, the oldest first; the last one is what it works with."""

_FOLDER: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x706B69  # "pki": any number that nothing else in the same database uses
_alembic: Final = threading.Lock()  # Alembic keeps its context in module globals


class Schema(Enum):
    EMPTY = "empty"  # no tables yet
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"  # made by a later version of this program, or by another program


def current_revision(db: Database) -> str | None:
    """None when there is no schema yet. Raises Unavailable."""
    return db.read(_revision)


def schema_of(db: Database) -> Schema:
    return _judge(current_revision(db))


def is_current(db: Database) -> bool:
    return schema_of(db) is Schema.CURRENT


def check_schema(db: Database) -> None:
    """Raises Unavailable for a missing or old schema, Conflict for one from a later version of this program."""
    revision = current_revision(db)
    found = _judge(revision)
    if found is Schema.NEWER:
        raise _newer(db, revision)
    if found is not Schema.CURRENT:
        what = "has no tables yet" if found is Schema.EMPTY else f"has the older schema {revision}"
        raise Unavailable(f"the database {what} ({db.place})", "Run `pkiconf db upgrade`")


def upgrade(db: Database) -> bool:
    """Bring the schema to this program's, all or nothing; whether anything had to be done.

    Several processes may try at once: one does it, the others wait and find it done. Raises Conflict when the
    schema is newer than this program; Unavailable.
    """
    if is_current(db):
        return False
    return db.write(Step.MIGRATE, lambda c: _upgrade(db, c))


def _upgrade(db: Database, c: Connection) -> bool:
    if db.dialect == "postgresql":
        c.exec_driver_sql("SET LOCAL statement_timeout = 0")
        c.exec_driver_sql("SET LOCAL lock_timeout = '10min'")
        c.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    revision = _revision(c)
    found = _judge(revision)
    if found is Schema.NEWER:
        raise _newer(db, revision)
    if found is Schema.CURRENT:
        return False
    _run_alembic(c)
    return True


def _run_alembic(c: Connection) -> None:
    # Imported here: it costs 60 ms, and a process that finds the schema current never needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = c
    with _alembic:
        command.upgrade(config, "head")


def _revision(c: Connection) -> str | None:
    if not inspect(c).has_table("alembic_version"):
        return None
    found = c.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _judge(revision: str | None) -> Schema:
    if revision is None:
        return Schema.EMPTY
    if revision not in REVISIONS:
        return Schema.NEWER
    return Schema.CURRENT if revision == REVISIONS[-1] else Schema.OLDER


def _newer(db: Database, revision: str | None) -> Conflict:
    return Conflict(
        f"the database has schema {revision}, which this version of pkiconf does not know ({db.place})",
        "Install the version of pkiconf that last ran `pkiconf db upgrade` here, or a later one",
    )
