"""What a database's errors mean, in words for the operator, with a remedy.

Only failures of the surroundings are translated: a full disk, a lost server, a missing table. A statement that
is wrong in itself is a bug of this program and passes through unchanged.
"""

from __future__ import annotations

import sqlite3
from traceback import clear_frames
from typing import Final

from sqlalchemy import exc

from pkiconf.errors import Conflict, PkiconfError, Unavailable

_MIGRATE: Final = "Run `pkiconf db upgrade`"

# By primary result code (https://www.sqlite.org/rescode.html); extended codes carry it in their low octet.
_SQLITE: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_PERM: ("the database may not be opened", "Check the owner and mode of the state folder"),
    sqlite3.SQLITE_BUSY: ("the database is locked by another program", "Close that program, or try again"),
    sqlite3.SQLITE_LOCKED: ("the database is locked", "Try again"),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written: it or its folder is read-only",
        "Give the program a state folder it may write to (--state, PKICONF_STATE)",
    ),
    sqlite3.SQLITE_IOERR: ("the disk failed under the database", "Look at the system's log and the disk's space"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "Restore it with `pkiconf restore` from the last backup"),
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space: nothing of this write was recorded"),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "Check that its folder exists and may be written"),
    sqlite3.SQLITE_NOTADB: (
        "the file is no SQLite database",
        "Name the right state folder, or restore with `pkiconf restore` from the last backup",
    ),
    sqlite3.SQLITE_TOOBIG: ("a value is larger than the database allows", "Make the input smaller"),
}

# By SQLSTATE (PostgreSQL, Appendix A), the longest matching prefix first.
_POSTGRESQL: Final[dict[str, tuple[str, str]]] = {
    "08": ("the database server gives no connection", "Check PKICONF_DATABASE_URL and that the server runs"),
    "25006": ("the database server takes no writes", "Point PKICONF_DATABASE_URL at the primary server"),
    "25P03": ("a transaction stood still for too long", "Try again"),
    "28": ("the database server refused the login", "Check user, password and pg_hba.conf"),
    "3D000": ("the database does not exist on the server", "Create it with createdb"),
    "40": ("the write was in conflict with others too many times", "Try again"),
    "42501": ("the database user lacks a right", "Grant it the rights on all tables of the schema"),
    "42P01": ("the database lacks a table", _MIGRATE),
    "42703": ("the database lacks a column", _MIGRATE),
    "53100": ("the database server's disk is full", "Free some space: nothing of this write was recorded"),
    "53": ("the database server is short of something it needs", "Look at the server's log"),
    "55P03": ("a row stayed locked by another write", "Try again"),
    "57014": ("the database took too long", "Try again, and look at the server's load"),
    "57P": ("the database server is shutting down or starting", "Try again in a moment"),
    "58": ("the database server's disk failed", "Look at the server's log"),
    "XX": ("the database is damaged", "Look at the server's log; restore with `pkiconf restore` from the last backup"),
}

_SQLITE_UNIQUE: Final = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)


def translate(error: BaseException, place: str) -> BaseException:
    """The error to raise instead of `error`: Unavailable or Conflict with a remedy, or `error` itself.

    `place` names the database and holds no password.
    """
    if isinstance(error, exc.DBAPIError):
        clear_frames(error.__traceback__)  # one of SQLAlchemy's holds the error itself, and with it a whole request
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    found = _meaning(cause)
    if found is None and isinstance(error, exc.TimeoutError):
        found = Unavailable("all connections to the database are in use", "Try again; see the pool's size")
    if found is None:
        return error
    found.detail = f"{found.detail} ({place})"
    found.__cause__ = error
    return found


def _meaning(cause: BaseException) -> PkiconfError | None:
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    state = sqlstate(cause)
    if state is None:
        return _unreachable(cause) if is_lost(cause) else None
    if state == "23505":
        return Conflict("another record already has this name or number", "Look at what stands there now")
    for length in (5, 3, 2):
        if words := _POSTGRESQL.get(state[:length]):
            return Unavailable(*words)
    return None


def _unreachable(cause: BaseException) -> Unavailable:
    detail, hint = _POSTGRESQL["08"]
    # libpq says which address it tried and what is wrong with it; passwords are not among what it says.
    said = str(cause).partition("\n")[0].removeprefix("connection failed: ").removeprefix("connection is bad: ")
    return Unavailable(f"{detail}: {said}" if said else detail, hint)


def _of_sqlite(cause: sqlite3.Error) -> PkiconfError | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    if code in _SQLITE_UNIQUE:
        return Conflict("another record already has this name or number", "Look at what stands there now")
    if code == sqlite3.SQLITE_ERROR and str(cause).startswith(("no such table", "no such column", "table ")):
        return Unavailable(f"the database's schema is not this program's: {cause}", _MIGRATE)
    words = _SQLITE.get(code & 0xFF)
    return Unavailable(*words) if words else None


def sqlstate(error: BaseException) -> str | None:
    """The five letters of a PostgreSQL error, or None."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_lost(error: BaseException) -> bool:
    """Whether the connection to a PostgreSQL server broke, or was never made."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    state = sqlstate(error)
    if state is not None:
        return state.startswith(("08", "57P"))
    # psycopg raises OperationalError without a SQLSTATE when no server answered.
    return type(cause).__module__.startswith("psycopg") and type(cause).__name__ == "OperationalError"


def is_repeatable(error: BaseException) -> bool:
    """Serialization failures and deadlocks: the server asks for the transaction again."""
    return sqlstate(error) in ("40001", "40P01")
