"""A tenant's Intune on loopback, and one who asks it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiconf.clock import SetClock
from pkiconf.egress.https import SharedHTTPS
from pkiconf.store.database import Database
from tests.intune_client import Asker, make_csr
from tests.intune_server import StandIn, running
from tests.intune_tenant import Tenant
from tests.intune_world import IntuneWorld
from tests.world import NOW, make_world


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def stand_in(clock: SetClock, tmp_path: Path) -> Iterator[StandIn]:
    with running(StandIn(Tenant(clock.now)), tmp_path) as found:
        yield found


@pytest.fixture
def https(stand_in: StandIn) -> Iterator[SharedHTTPS]:
    client = SharedHTTPS(lambda: ssl.create_default_context(cafile=f"{stand_in.trust}"))
    yield client
    client.close()


@pytest.fixture
def asker(stand_in: StandIn, https: SharedHTTPS, clock: SetClock) -> Asker:
    return Asker(stand_in, https, clock)


@pytest.fixture
def csr(stand_in: StandIn) -> bytes:
    """One that the tenant sent a device for."""
    return make_csr(stand_in.tenant.challenge())


@pytest.fixture
def world(database: Database, stand_in: StandIn, https: SharedHTTPS, clock: SetClock, tmp_path: Path) -> IntuneWorld:
    """On both databases; its clock is the tenant's too."""
    made = IntuneWorld(make_world(database, tmp_path / "world", https), stand_in)
    stand_in.tenant.now = made.pki.clock.now
    made.apply()
    return made
