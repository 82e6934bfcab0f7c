"""A whole database as one SQLite file, from either dialect and into either."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Table, func, insert, select

from pkiconf.errors import Conflict, Unavailable
from pkiconf.steps import Step
from pkiconf.store import migrate
from pkiconf.store.database import Connection, Database, open_database
from pkiconf.store.tables import metadata
from pkiconf.store.whole import lift_time_limits, stream

TABLES: Final[tuple[Table, ...]] = tuple(metadata.sorted_tables)  # what is referred to comes first
_COUNTED: Final[tuple[Table, ...]] = tuple(table for table in TABLES if "id" in table.c)
_CHUNK: Final = 1000
_SEALED: Final = {  # an older schema has not all of them
    "key": 'SELECT DISTINCT wrapping_key_id FROM "key" WHERE wrapping_key_id IS NOT NULL',
    "sealed_secret": "SELECT DISTINCT wrapping_key_id FROM sealed_secret",
    "acme_binding": "SELECT DISTINCT wrapping_key_id FROM acme_binding WHERE wrapping_key_id IS NOT NULL",
}


def dump(db: Database, target: Path) -> None:
    """Write all of `db`, as it is at one moment, into a new SQLite file, while others go on writing to it."""
    if db.path is not None:
        _copy_file(db.path, target)
    else:
        db.read(lambda c: _copy_rows(c, target))
    _finish(target)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a portable file says of itself. `tables` counts rows; `secrets` are name → (sealed, wrapping key id)."""

    revision: str
    tables: Mapping[str, int]
    secrets: Mapping[str, tuple[bytes, str]]
    wrapping_key_ids: tuple[str, ...]


def look_into(path: Path) -> Contents:
    """Without changing an octet of the file, and whatever schema of ours it has."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as c:
        names = [row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        tables = {name: c.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608
        revision = c.execute("SELECT version_num FROM alembic_version").fetchone()
        secrets = {
            row[0]: (row[1], row[2]) for row in c.execute("SELECT name, sealed, wrapping_key_id FROM sealed_secret")
        }
        ids = {row[0] for name in _SEALED if name in tables for row in c.execute(_SEALED[name])}
    return Contents(str(revision[0]), tables, secrets, tuple(sorted(ids)))


def count_rows(c: Connection) -> dict[str, int]:
    return {table.name: int(c.execute(select(func.count()).select_from(table)).scalar_one()) for table in TABLES}


def check_empty(c: Connection) -> None:
    """Raises Conflict naming a table that holds something."""
    for table in TABLES:
        if c.execute(select(1).select_from(table).limit(1)).first() is not None:
            raise Conflict(
                f"the database is not empty: it holds rows of {table.name}", "Restore into an empty database only"
            )


def copy_tables(source: Connection, target: Connection) -> None:
    """Every row of every table, in the order that references need. `target` has the schema and no rows."""
    lift_time_limits(source)
    lift_time_limits(target)
    for table in TABLES:
        rows = iter(stream(source, select(table)))
        while chunk := [dict(row._mapping) for row in islice(rows, _CHUNK)]:
            target.execute(insert(table), chunk)


def read_counters(c: Connection) -> dict[str, int]:
    """The highest id that each table ever gave, deleted rows included."""
    if c.dialect.name == "postgresql":
        return {table.name: _last_value(c, table) for table in _COUNTED}
    rows = c.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
    known = {str(name): int(seq) for name, seq in rows}
    return {table.name: known.get(table.name, 0) for table in _COUNTED}


def set_counters(c: Connection, counters: Mapping[str, int], past: Callable[[str, int], int]) -> None:
    """Let each table go on above `past(its name, what it had given)`."""
    for table in _COUNTED:
        last = past(table.name, counters.get(table.name, 0))
        if c.dialect.name == "postgresql":
            if last > 0:
                c.exec_driver_sql(f"SELECT setval({_sequence(table)}, {last})")
        else:
            c.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
            c.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, last))


def open_portable(path: Path) -> Database:
    """The database in a portable file, brought to this program's schema. Raises Conflict for a newer one."""
    db = open_database(f"sqlite:///{path}", path.parent)
    try:
        migrate.upgrade(db)
    except BaseException:
        db.close()
        raise
    return db


def _copy_file(source: Path, target: Path) -> None:
    # In one step: the copy is of one moment, and in WAL mode a reader holds nobody up.
    with closing(_connect(source)) as reader, closing(_connect(target)) as writer:
        try:
            reader.backup(writer, pages=-1)
        except sqlite3.Error as error:
            raise Unavailable(f"the database {source} cannot be copied: {error}") from None


def _copy_rows(source: Connection, target: Path) -> None:
    for leftover in target.parent.glob(target.name + "*"):  # this may be run again, after a lost connection
        leftover.unlink()
    scratch = open_portable(target)
    try:
        counters = read_counters(source)

        def write(c: Connection) -> None:
            copy_tables(source, c)
            set_counters(c, counters, lambda _, last: last)

        scratch.write(Step.BACKUP, write)
    finally:
        scratch.close()


def _finish(path: Path) -> None:
    """One file without a log beside it, found sound by SQLite."""
    with closing(_connect(path)) as c:
        c.execute("PRAGMA journal_mode = DELETE")
        verdict = c.execute("PRAGMA quick_check").fetchone()
        if verdict != ("ok",):
            raise Unavailable(f"the database is damaged: {verdict[0]}", "Restore it from an earlier backup")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _last_value(c: Connection, table: Table) -> int:
    name = c.exec_driver_sql(f"SELECT {_sequence(table)}").scalar_one()
    last, called = c.exec_driver_sql(f"SELECT last_value, is_called FROM {name}").one()  # noqa: S608
    return int(last) if called else 0


def _sequence(table: Table) -> str:
    return f"pg_get_serial_sequence('\"{table.name}\"', 'id')"
