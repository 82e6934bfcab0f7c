"""The schema: made, recognised, and the one that `tables` says."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, text

from pkiconf.errors import Conflict, Unavailable
from pkiconf.steps import Step
from pkiconf.store import migrate
from pkiconf.store.database import Connection, Database, open_database
from pkiconf.store.migrate import Schema, check_schema, current_revision, is_current, schema_of, upgrade
from pkiconf.store.tables import metadata, unlogged


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pkiconf.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def _set_revision(db: Database, revision: str) -> None:
    def write(c: Connection) -> None:
        c.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})

    db.write(Step.MIGRATE, write)


def test_empty_database_becomes_current_once(empty_url: str, tmp_path: Path) -> None:
    db = open_database(empty_url, tmp_path)
    assert schema_of(db) is Schema.EMPTY
    assert current_revision(db) is None
    assert upgrade(db)
    assert is_current(db)
    assert not upgrade(db)
    check_schema(db)
    db.close()


def test_revision_gives_the_tables_of_the_program(database: Database) -> None:
    wanted = MetaData()
    for table in (*metadata.sorted_tables, *(unlogged.sorted_tables if database.dialect == "postgresql" else ())):
        table.to_metadata(wanted)
    assert database.read(lambda c: compare_metadata(MigrationContext.configure(c), wanted)) == []


def test_revision_gives_the_very_tables_on_sqlite(sqlite_database: Database, tmp_path: Path) -> None:
    """Alembic compares neither WITHOUT ROWID, AUTOINCREMENT and CHECK nor the condition of an index."""
    other = open_database(None, tmp_path / "other")
    other.write(Step.MIGRATE, metadata.create_all)

    def ddl(db: Database) -> dict[str, list[str]]:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        rows = db.read(lambda c: c.exec_driver_sql(query).all())
        # A column that was added later stands in the line of the one before it.
        return {str(name): sorted(filter(None, map(str.strip, re.split("[\n,]", sql)))) for name, sql in rows}

    assert ddl(sqlite_database) == ddl(other)
    other.close()


def test_known_revisions_are_the_ones_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    folder = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(folder.walk_revisions()))) == migrate.REVISIONS


def test_newer_schema_is_refused_with_a_remedy(database: Database) -> None:
    _set_revision(database, "9999")
    assert schema_of(database) is Schema.NEWER
    for act in (check_schema, upgrade):
        with pytest.raises(Conflict, match=r"schema 9999.*Install the version of pkiconf that last ran"):
            act(database)
    assert current_revision(database) == "9999"


def test_missing_schema_is_reported_with_the_command(empty_url: str, tmp_path: Path) -> None:
    db = open_database(empty_url, tmp_path)
    with pytest.raises(Unavailable, match=r"has no tables yet.*pkiconf db upgrade"):
        check_schema(db)
    db.close()


def test_older_schema_is_reported_with_the_command(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "REVISIONS", (*migrate.REVISIONS, "9000"))
    assert schema_of(database) is Schema.OLDER
    with pytest.raises(Unavailable, match=r"older schema 0005.*pkiconf db upgrade"):
        check_schema(database)


def test_statement_on_missing_table_names_the_command(empty_url: str, tmp_path: Path) -> None:
    db = open_database(empty_url, tmp_path)
    with pytest.raises(Unavailable, match="pkiconf db upgrade"):
        db.read(lambda c: c.execute(text("SELECT * FROM authority")).all())
    db.close()


def test_failed_upgrade_leaves_nothing(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database(empty_url, tmp_path)
    run = migrate._run_alembic

    def fail(c: Connection) -> None:
        run(c)
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate, "_run_alembic", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        upgrade(db)
    assert schema_of(db) is Schema.EMPTY
    monkeypatch.undo()
    assert upgrade(db)
    db.close()


def test_upgrades_at_once_happen_once(empty_url: str, tmp_path: Path) -> None:
    databases = [open_database(empty_url, tmp_path) for _ in range(4)]
    done: list[bool] = []
    threads = [threading.Thread(target=lambda db=db: done.append(upgrade(db))) for db in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    for db in databases:
        db.close()


def test_indexes_serve_their_queries(sqlite_url: str) -> None:
    from pkiconf.store import certificates, crls, inventory
    from pkiconf.store.prepared import Prepared, _compile

    db = open_database(sqlite_url, Path())

    def plan(statement: Prepared[Any]) -> str:
        def read(c: Connection) -> str:
            sql, _ = _compile(statement._statements["sqlite"], c)
            rows = c.connection.cursor()
            rows.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?"))
            return " ".join(str(row) for row in rows.fetchall())

        return db.read(read)

    for of_shard in (False, True):
        assert "USING COVERING INDEX ix_certificate_revoked" in plan(inventory._REVOKED[of_shard])
        assert "USING COVERING INDEX ix_certificate_revoked" in plan(inventory._COUNT[of_shard])
        assert "ix_certificate_changed" in plan(inventory._CHANGED[of_shard])
    assert "ix_certificate_changed (issuer_id=? AND crl_shard=?" in plan(crls._HEADS[True, False])
    assert "ix_certificate_reserved" in plan(certificates._RESERVED)
    assert "SEARCH certificate USING PRIMARY KEY (issuer_id=? AND serial=?)" in plan(certificates._BY_SERIAL)
    assert "SCAN" not in plan(certificates._STATUS)
    db.close()


def test_migrations_are_part_of_the_wheel(tmp_path: Path) -> None:
    """The package is built, unpacked elsewhere, and migrates a database from there."""
    hatchling = pytest.importorskip("hatchling.build")
    root = Path(__file__).parents[2]
    source = "import os, sys; os.chdir(sys.argv[1]); import hatchling.build as b; print(b.build_wheel(sys.argv[2]))"
    assert hatchling
    built = subprocess.run(
        [sys.executable, "-c", source, str(root), str(tmp_path)], capture_output=True, text=True, check=True
    )
    wheel = tmp_path / built.stdout.strip().splitlines()[-1]
    home = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(home)], check=True)
    program = (
        "import pathlib, pkiconf.store.migrate as m; from pkiconf.store.database import open_database;"
        f"assert m.__file__.startswith({str(home)!r}); db = open_database(None, pathlib.Path({str(tmp_path)!r}));"
        "m.upgrade(db); m.check_schema(db)"
    )
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(home)}, cwd=tmp_path, check=True)
    with sqlite3.connect(tmp_path / "pkiconf.db") as c:
        assert c.execute("SELECT count(*) FROM certificate").fetchone() == (0,)
    c.close()
