from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acme.place import Place, make_place
from tests.endpoints.acme.wire import Wire, make_wire
from tests.world import World

PREAPPROVED = "*.corp.example"


def _prepared(place: Place) -> Wire:
    place.policy("internal", preapproved_domains=[PREAPPROVED])
    wire = make_wire(place)
    assert wire.register().status == 201
    return wire


@pytest.fixture
def wire(world: World) -> Iterator[Wire]:
    """A client with an account, on both databases one after the other. Its policy lets anybody in, and approves of
    `*.corp.example` beforehand."""
    for place in make_place(world):
        yield _prepared(place)


@pytest.fixture
def lite(sqlite_world: World) -> Iterator[Wire]:
    """For what the database makes no difference to."""
    for place in make_place(sqlite_world):
        yield _prepared(place)
