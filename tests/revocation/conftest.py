from __future__ import annotations

import pytest

from tests.revocation.pki import PKI, prepare
from tests.world import World


@pytest.fixture
def pki(world: World) -> PKI:
    """On both databases."""
    return prepare(world)


@pytest.fixture
def lite(sqlite_world: World) -> PKI:
    """For what the database makes no difference to."""
    return prepare(sqlite_world)
