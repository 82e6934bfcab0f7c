from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acme.place import Place, make_place
from tests.world import World


@pytest.fixture
def place(world: World) -> Iterator[Place]:
    """A PKI that issues from issuing/web-server, on both databases one after the other."""
    yield from make_place(world)


@pytest.fixture
def sqlite_place(sqlite_world: World) -> Iterator[Place]:
    yield from make_place(sqlite_world)
