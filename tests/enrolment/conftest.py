from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.enrolment.office import Office, mailing
from tests.world import World


@pytest.fixture
def office(sqlite_world: World) -> Office:
    """Without a mail server."""
    made = Office(sqlite_world)
    made.declare()
    return made


@pytest.fixture
def both(world: World) -> Office:
    """On both databases."""
    made = Office(world)
    made.declare()
    return made


@pytest.fixture
def post_office(sqlite_world: World) -> Iterator[Office]:
    with mailing(sqlite_world) as made:
        yield made
