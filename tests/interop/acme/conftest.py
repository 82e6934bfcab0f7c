"""One running PKI on each database for all the clients of a process of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.acme.pki import PKI, running_pki


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def pki(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PKI]:
    url = None if request.param == "sqlite" else request.getfixturevalue("lasting_postgres_url")
    with running_pki(tmp_path_factory.mktemp(f"acme-{request.param}"), url) as running:
        yield running
