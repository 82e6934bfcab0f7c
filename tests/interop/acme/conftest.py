"""One running PKI on each database for all the clients of a process of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import fresh_database
from tests.interop.acme.pki import PKI, running_pki


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def pki(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PKI]:
    """pytest may end it for the other database's tests and set it up again: its database is made with it."""
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_server")))
        folder = tmp_path_factory.mktemp(f"acme-{request.param}")
        yield stack.enter_context(running_pki(folder, url))
