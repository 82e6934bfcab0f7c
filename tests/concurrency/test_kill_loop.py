"""Processes that issue and revoke are killed at random times, round after round: nothing that was told is lost."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from pkiconf.services import Services
from tests.concurrency.children import issue_and_revoke
from tests.crash.child import Place
from tests.processes import Log, running
from tests.wholeness import ask, audit_report, check_whole, issuers, opened, rows, settle, stored_certificates
from tests.world import make_csr

PROCESSES = 2

pytestmark = pytest.mark.timeout(3600)  # with --soak


@pytest.fixture
def rounds(soak: bool) -> int:
    return 50 if soak else 4


def test_nothing_that_was_told_is_lost(place: Place, rounds: int) -> None:
    chance = random.Random(20300101)
    csr = make_csr()
    told = Told()
    for number in range(rounds):
        log = Log(place.folder / f"round-{number}")
        with running(issue_and_revoke, place.state, place.url, csr, log, count=PROCESSES) as children:
            log.wait_for(20)
            for child in children:
                time.sleep(chance.uniform(0, 0.3))
                child.kill()
        with opened(place.state, place.url) as services:
            told.check(services, log)
    with opened(place.state, place.url) as services:
        settle(services)
        check_whole(services)


class Told:
    """What the killed processes said they had been told, compared with what stands."""

    def __init__(self) -> None:
        self._serials: set[int] = set()
        self._number = 0

    def check(self, services: Services, log: Log) -> None:
        lines = log.lines()
        issuer = next(one for one in issuers(services) if one.slug == "issuing")
        self._check_certificates(services, [line for line in lines if line[0] == "issued"])
        revoked = [int(line[2]) for line in lines if line[0] == "revoked"]
        for serial in revoked:
            assert ask(services, issuer, serial).certificate_status is ocsp.OCSPCertStatus.REVOKED
        self._check_crl(services, issuer.id, revoked, [int(line[2]) for line in lines if line[0] == "crl"])
        services.sealer.seal(services.parts.now())
        assert audit_report(services).findings == ()

    def _check_certificates(self, services: Services, lines: list[list[str]]) -> None:
        stored = stored_certificates(services)
        for _, issuer_id, serial, der in lines:
            assert stored[int(issuer_id), int(serial)].hex() == der
            assert int(serial) not in self._serials
            self._serials.add(int(serial))
        origins = Counter(rows(services, "SELECT origin_kind, origin_id FROM certificate"))
        assert set(origins.values()) == {1}

    def _check_crl(self, services: Services, issuer_id: int, revoked: list[int], numbers: list[int]) -> None:
        served = services.crls.current(issuer_id)
        crl = x509.load_der_x509_crl(served.der)
        assert {entry.serial_number for entry in crl}.issuperset(revoked)
        # Each round revoked something, so each makes a CRL of its own.
        assert self._number < served.number
        assert all(self._number < number <= served.number for number in numbers)
        self._number = served.number
