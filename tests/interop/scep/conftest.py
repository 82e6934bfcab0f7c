"""One running PKI for all the clients of a process of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.scep.pki import PKI, running_pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PKI]:
    with running_pki(tmp_path_factory.mktemp("scep")) as running:
        yield running
