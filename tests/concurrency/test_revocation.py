"""Many who revoke at once; answers and lists from other processes, which are never behind an acknowledgement."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest

from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from tests.concurrency.children import ask_for_ever, issue, make_crls, revoke_all, revoke_and_list
from tests.crash.child import Place
from tests.processes import Log, ended, running, start
from tests.wholeness import check_whole, issuers, opened, revoked_now, rows, settle
from tests.world import OPERATOR, make_csr

REVOKERS = 8

pytestmark = pytest.mark.timeout(3600)  # with --soak


@pytest.fixture
def certificates(place: Place, soak: bool) -> list[CertificateID]:
    csr = make_csr()
    with opened(place.state, place.url) as services:
        return [issue(services, csr).id for _ in range(400 if soak else 48)]


def test_many_revoke_different_certificates(place: Place, certificates: list[CertificateID]) -> None:
    log = Log(place.folder / "log")
    shares = [certificates[number::REVOKERS] for number in range(REVOKERS)]
    before = _epoch(place)
    children = [start(revoke_all, place.state, place.url, shares, log, number) for number in range(REVOKERS)]
    assert set(ended(children)) == {0}
    said = Counter((line[0], line[1]) for line in log.lines() if line[0] != "ready")
    assert said == Counter(("revoked", str(one.serial_number)) for one in certificates)
    _check_revoked(place, certificates, before)


def test_many_revoke_the_same_certificates(place: Place, certificates: list[CertificateID]) -> None:
    """Each is revoked by one of them, and the others are told that they come late."""
    log = Log(place.folder / "log")
    before = _epoch(place)
    children = [start(revoke_all, place.state, place.url, [certificates], log, number) for number in range(REVOKERS)]
    assert set(ended(children)) == {0}
    said = Counter((line[0], line[1]) for line in log.lines() if line[0] != "ready")
    for one in certificates:
        assert said["revoked", str(one.serial_number)] == 1
        assert said["late", str(one.serial_number)] == REVOKERS - 1
    _check_revoked(place, certificates, before)


def _epoch(place: Place) -> int:
    with opened(place.state, place.url) as services:
        return next(issuer.status_epoch for issuer in issuers(services) if issuer.slug == "issuing")


def _check_revoked(place: Place, certificates: list[CertificateID], before: int) -> None:
    with opened(place.state, place.url) as services:
        issuer = next(issuer for issuer in issuers(services) if issuer.slug == "issuing")
        assert issuer.status_epoch == before + len(certificates)
        assert revoked_now(services, issuer).issuperset(one.serial_number for one in certificates)
        settle(services)
        check_whole(services)


def test_no_process_says_good_after_the_acknowledgement(place: Place, certificates: list[CertificateID]) -> None:
    """Two processes answer without a pause while this one revokes."""
    log = Log(place.folder / "answers")
    acknowledged: dict[int, int] = {}
    serials = [one.serial_number for one in certificates[:24]]
    with (
        opened(place.state, place.url) as services,
        running(ask_for_ever, place.state, place.url, serials, log, count=2),
    ):
        log.wait_for(2 * len(serials))
        for one in certificates[:24]:
            services.revocations.revoke(one, RevocationReason.KEY_COMPROMISE, OPERATOR)
            acknowledged[one.serial_number] = time.monotonic_ns()
            time.sleep(0.01)
        log.wait_for(len(log.lines()) + 2 * len(serials))
    after = Counter(
        (int(serial), status) for asked, serial, status in log.lines() if int(asked) > acknowledged[int(serial)]
    )
    assert {status for _, status in after} == {"REVOKED"}
    assert {serial for serial, _ in after} == set(serials)


def test_a_revocation_is_in_the_list_that_is_served_next(place: Place, certificates: list[CertificateID]) -> None:
    """Four processes revoke and fetch, while others make lists of their own."""
    log = Log(place.folder / "log")
    children = [start(revoke_and_list, place.state, place.url, certificates, log, number) for number in range(4)]
    assert set(ended(children)) == {0}
    lines = [line for line in log.lines() if line[0] == "crl"]
    assert Counter(line[2] for line in lines) == {"listed": len(certificates)}
    _check_numbers(place)


def test_makers_of_lists_never_reuse_a_number_or_go_back(
    place: Place, certificates: list[CertificateID], soak: bool
) -> None:
    log = Log(place.folder / "log")
    issuer_id = certificates[0].issuer_id
    rounds = 50 if soak else 8
    children = [start(make_crls, place.state, place.url, issuer_id, rounds, log, number) for number in range(3)]
    with opened(place.state, place.url) as services:
        for one in certificates[:16]:
            services.revocations.revoke(one, RevocationReason.SUPERSEDED, OPERATOR)
    assert set(ended(children)) == {0}
    made = [(int(number), int(epoch)) for _, number, epoch in log.lines()]
    for number, epochs in _grouped(made).items():
        assert len(epochs) == 1, f"CRL {number} exists in several forms"
    for (_, earlier), (_, later) in pairwise(sorted(set(made))):
        assert earlier <= later
    _check_numbers(place)


def _grouped(made: list[tuple[int, int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for number, epoch in made:
        found.setdefault(number, set()).add(epoch)
    return found


def _check_numbers(place: Place) -> None:
    with opened(place.state, place.url) as services:
        settle(services)
        check_whole(services)
        top = rows(services, "SELECT i.crl_number, max(c.number) FROM issuer i JOIN crl c ON c.issuer_id = i.id"
                   " GROUP BY i.id, i.crl_number")  # fmt: skip
        assert all(taken >= published for taken, published in top)
