"""Prepared installations, copied for each scenario."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pkiconf.egress.https import SharedHTTPS
from pkiconf.egress.network import SystemNetwork
from tests.crash import intune_client
from tests.crash.acme_client import find_everything
from tests.crash.child import Place
from tests.crash.prepared import make_empty, make_running, make_saved
from tests.ct_log import trusted_file


@pytest.fixture(autouse=True)
def every_proof_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is validated in this process, by a worker that goes on after a kill."""
    monkeypatch.setattr(SystemNetwork, "find", find_everything)


@pytest.fixture(autouse=True)
def logs_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By this process and by those that it starts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted_file()))


@pytest.fixture(autouse=True)
def intune_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedHTTPS, "request", SharedHTTPS.request)  # what is put there goes with the test
    intune_client.put_in_place()


NAMES = ("empty", "running", "saved")
Copy = Callable[[str], Place]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("prepared")
    for name in NAMES:
        make_empty(Place(folder / name))
    make_running(Place(folder / "running"))
    make_saved(Place(folder / "saved"), Place(folder / "running"))
    return {name: folder / name for name in NAMES}


@pytest.fixture
def copy(made: dict[str, Path], tmp_path: Path) -> Copy:
    """An installation of the test's own, on SQLite."""

    def copied(name: str) -> Place:
        folder = tmp_path / f"pki-{uuid.uuid4().hex[:8]}"
        shutil.copytree(made[name], folder)
        return Place(folder)

    return copied


@pytest.fixture(scope="session")
def made_on_postgresql(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Path, str]]]:
    """For each name, the folder and the database to copy."""
    databases = {name: f"crash_{name}_{uuid.uuid4().hex[:8]}" for name in NAMES}
    folder = tmp_path_factory.mktemp("prepared-shared")
    for name, database in databases.items():
        _create(postgres_server, database, "template1")
        make_empty(Place(folder / name))
    running = Place(folder / "running", _beside(postgres_server, databases["running"]))
    make_running(running)
    make_saved(Place(folder / "saved"), running)
    yield {name: (folder / name, database) for name, database in databases.items()}
    for database in databases.values():
        _drop(postgres_server, database)


@pytest.fixture
def copy_on_postgresql(
    made_on_postgresql: dict[str, tuple[Path, str]], postgres_server: str, tmp_path: Path
) -> Iterator[Copy]:
    created: list[str] = []

    def copied(name: str) -> Place:
        source, template = made_on_postgresql[name]
        created.append(f"crash_{uuid.uuid4().hex}")
        _create(postgres_server, created[-1], template)
        folder = tmp_path / f"pki-{uuid.uuid4().hex[:8]}"
        shutil.copytree(source, folder)
        return Place(folder, _beside(postgres_server, created[-1]))

    yield copied
    for database in created:
        _drop(postgres_server, database)


def _beside(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?", 1)


def _create(server: str, name: str, template: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def _drop(server: str, name: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
