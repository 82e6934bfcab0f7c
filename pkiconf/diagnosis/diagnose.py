"""All checks in a row. What a check needs and does not have is told by the check before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from pkiconf.bootstrap import master_key_source, missing_database, open_keyring, open_state_database
from pkiconf.diagnosis import keystore, machine, standing
from pkiconf.diagnosis.base_url import BASE_URL, check_base_url
from pkiconf.diagnosis.finding import Finding, Severity, error, findings_of, ok
from pkiconf.errors import PkiconfError
from pkiconf.settings import ProcessSettings
from pkiconf.store import health, migrate
from pkiconf.store.database import Connection, Database

DATABASE: Final = "database"
APART: Final = 10.0
"""Seconds between the clocks of this host and of a database server; what may be held at all is held for 30 and more."""


def diagnose(settings: ProcessSettings, now: datetime) -> list[Finding]:
    """Everything that was found, in the order of the checks. Never raises for what is wrong with an installation."""
    found = findings_of(machine.STATE, lambda: machine.check_state_folder(settings.state_folder))
    if not _has_errors(found):
        found += _database_and_below(settings, now)
    return found + findings_of(machine.ENGINES, machine.check_engines)


def _database_and_below(settings: ProcessSettings, now: datetime) -> list[Finding]:
    try:
        if missing := missing_database(settings):
            remedy = "Run `pkiconf apply` or `pkiconf up` first"
            return [Finding(Severity.ERROR, DATABASE, f"there is none at {missing}", remedy)]
        db = open_state_database(settings)
    except PkiconfError as ex:
        return [Finding(Severity.ERROR, DATABASE, ex.detail, ex.hint)]
    try:
        found = findings_of(DATABASE, lambda: _check_schema(db))
        if not _has_errors(found):
            found += findings_of("clock", lambda: check_server_clock(db, now))
            found += findings_of(BASE_URL, _reading(db, lambda c, _: check_base_url(c, settings), now))
            found += _keystore(settings, db)
            for name, check in standing.CHECKS:
                found += findings_of(name, _reading(db, check, now))
        return found
    finally:
        db.close()


def _check_schema(db: Database) -> Iterator[Finding]:
    migrate.check_schema(db)
    yield ok(DATABASE, f"{db.place}, schema {migrate.REVISIONS[-1]}")


def check_server_clock(db: Database, now: datetime) -> Iterator[Finding]:
    """Hosts agree by their clocks on whose turn it is: one that is ahead takes over what another still works on. That
    is not harmful, but done twice."""
    if db.dialect == "postgresql":
        ahead = now.timestamp() - db.look(health.server_clock)
        if abs(ahead) > APART:
            where = "ahead of" if ahead > 0 else "behind"
            yield error(
                "clock", f"this host's is {abs(ahead):.0f} s {where} the database server's",
                "Set both (NTP): hosts whose clocks differ do work twice, or wait for one another",
            )  # fmt: skip


def _keystore(settings: ProcessSettings, db: Database) -> list[Finding]:
    try:
        keyring = open_keyring(settings, db, create=False)
    except PkiconfError as ex:
        remedy = ex.hint or f"Look at {master_key_source(settings)}"
        return [Finding(Severity.ERROR, keystore.MASTER_KEY, ex.detail, remedy)]
    return [
        *findings_of(keystore.MASTER_KEY, lambda: keystore.check_master_keys(keyring.master, db)),
        *findings_of(keystore.KEYS, lambda: keystore.check_keys(keyring, db)),
    ]


def _reading(
    db: Database, check: Callable[[Connection, datetime], Iterator[Finding]], now: datetime
) -> Callable[[], Iterator[Finding]]:
    return lambda: iter(db.read(lambda c: list(check(c, now))))


def _has_errors(found: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in found)
