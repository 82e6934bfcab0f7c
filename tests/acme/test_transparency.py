"""ACME orders whose certificates logs see first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from pkiconf.model.acme import OrderStatus, ProblemType
from tests.acme.place import PKI, Place, der_csr
from tests.acme.test_finalize import ready
from tests.ct_log import Log, check_timestamps, serving, trusting


@pytest.fixture
def log(sqlite_place: Place) -> Iterator[Log]:
    world = sqlite_place.world
    world.https.trust = trusting
    with serving(Log(clock=lambda: world.clock.now().timestamp())) as (made,):
        yield made
    world.https.close()


def declare(place: Place, log: Log, more: str) -> None:
    ct = f"ct: {{ logs: [{log.declared}], required_scts: 1, {more} }}"
    declared = f"{PKI}\ntemplates: [{{ name: web-server, authority: issuing, {ct} }}]"
    assert place.world.apply(declared).exit_code == 0


@pytest.mark.row("F85")
def test_an_order_waits_for_logs_and_becomes_valid(sqlite_place: Place, log: Log) -> None:
    place = sqlite_place
    declare(place, log, "on_failure: pending")
    account, order = ready(place)
    log.fault = "503"
    found = place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert found.status is OrderStatus.PROCESSING
    assert found.retry_after == 60
    log.fault = ""
    place.world.pass_time(timedelta(minutes=2))
    assert place.world.services.intents.sweep_precertificates() == 1
    assert place.acme.orders.get(account, order.name).status is OrderStatus.VALID
    chain = place.acme.orders.certificate(account, order.name).certificates
    assert check_timestamps(chain[0], chain[1], [log]) == [log]


def test_an_order_that_no_log_promises_for_is_invalid(sqlite_place: Place, log: Log) -> None:
    place = sqlite_place
    declare(place, log, "on_failure: refuse")
    account, order = ready(place)
    log.fault = "403"
    ended = place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert ended.status is OrderStatus.INVALID
    assert ended.error is not None
    assert ended.error.type is ProblemType.SERVER_INTERNAL
    assert "certificate transparency logs" in ended.error.detail
    log.fault = ""
    again = place.order(account, "web.corp.example")
    assert place.acme.orders.finalize(account, again.name, der_csr("web.corp.example")).status is OrderStatus.VALID
