"""PKIs that are made once a run and judged by many."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiconf.store.database import DATABASE_FILE, open_database
from tests.interop.made import KINDS, Kind, Made, make_pki


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def pki(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_sqlite_file: Path
) -> Iterator[Made]:
    """One for each key algorithm. Nothing in it is changed by a test."""
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(f"pki-{kind.name}")
    shutil.copy(migrated_sqlite_file, folder / DATABASE_FILE)
    database = open_database(f"sqlite:///{folder / DATABASE_FILE}", Path())
    yield make_pki(kind, database, folder / "made")
    database.close()
