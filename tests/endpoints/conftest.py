from __future__ import annotations

import pytest

from tests.endpoints.client import Client, client_of
from tests.revocation.pki import prepare
from tests.world import World


@pytest.fixture
def client(world: World) -> Client:
    """Over a small PKI, on both databases one after the other."""
    return client_of(prepare(world))


@pytest.fixture
def lite(sqlite_world: World) -> Client:
    """For what the database makes no difference to."""
    return client_of(prepare(sqlite_world))
