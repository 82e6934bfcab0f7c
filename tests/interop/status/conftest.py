"""PKIs of several keys, behind either server, for all the web servers of a process of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.status.pki import PKI, running_pki

_VARIANTS = (("rsa", "gunicorn"), ("ec", "gunicorn"), ("ed25519", "gunicorn"), ("ec", "granian"))


@pytest.fixture(scope="session", params=_VARIANTS, ids="-".join)
def pki(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PKI]:
    with running_pki(tmp_path_factory.mktemp("status"), *request.param) as running:
        yield running
