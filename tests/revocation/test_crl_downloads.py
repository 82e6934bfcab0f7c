"""Downloads of CRLs: what one may cost is bounded, and others are served meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkiconf.endpoints.app import create_app
from pkiconf.errors import NotFound, Unavailable
from pkiconf.revocation import crl_downloads
from pkiconf.revocation.crl import CRLs, PublishedCRL
from pkiconf.revocation.crl_downloads import CRLDownloads
from pkiconf.settings import ProcessSettings
from pkiconf.steps import Step
from pkiconf.store import crls, jobs
from pkiconf.store.crls import Part
from pkiconf.worker import Worker
from tests.endpoints.client import Client
from tests.revocation.pki import DECLARATION, PKI, question, serial_of
from tests.revocation.test_crl import revoke, serials
from tests.world import World

DELTAS = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {delta: 6h},")


@pytest.fixture
def long_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_downloads, "LARGEST", 0)


def download(pki: PKI, part: Part = crls.FULL_LIST) -> PublishedCRL:
    return pki.world.services.crl_downloads.current(pki.issuer_id(), part)


def waiting_jobs(pki: PKI) -> list[str]:
    return [job.dedupe for job in pki.world.parts.db.read(lambda c: jobs.list_jobs_of_kind(c, "crl.make"))]


def without_jobs(pki: PKI) -> None:
    """As after a revocation in a part: nobody makes the full list by himself."""
    issuer_id = str(pki.issuer_id())
    pki.world.parts.db.write(Step.JOB_CLAIM, lambda c: jobs.cancel(c, "crl.make", issuer_id))


def test_a_short_list_is_made_by_who_asks(pki: PKI) -> None:
    first = download(pki)
    issued = pki.issue()
    revoke(pki, issued)
    second = download(pki)
    assert second.number > first.number
    assert serials(x509.load_der_x509_crl(second.der)) == {serial_of(issued)}


@pytest.mark.usefixtures("long_lists")
def test_a_long_list_is_made_by_the_worker(pki: PKI) -> None:
    first = download(pki)  # there is none that could be given instead
    issued = pki.issue()
    revoke(pki, issued)
    without_jobs(pki)
    pki.world.pass_time(timedelta(minutes=2))
    assert download(pki) == first
    assert waiting_jobs(pki) == [str(pki.issuer_id())]
    Worker(pki.world.services).run_once()
    assert serials(x509.load_der_x509_crl(download(pki).der)) == {serial_of(issued)}


@pytest.mark.usefixtures("long_lists")
def test_nobody_has_a_long_list_made_all_the_time(lite: PKI) -> None:
    first = download(lite)
    revoke(lite, lite.issue())
    without_jobs(lite)
    assert download(lite) == first
    assert waiting_jobs(lite) == []  # it was made a moment ago
    lite.world.pass_time(timedelta(minutes=2))
    download(lite)
    assert len(waiting_jobs(lite)) == 1
    without_jobs(lite)
    download(lite)
    assert waiting_jobs(lite) == []  # it was asked for a moment ago
    lite.world.pass_time(timedelta(minutes=2))
    download(lite)
    assert len(waiting_jobs(lite)) == 1


@pytest.mark.usefixtures("long_lists")
def test_a_clock_that_is_set_back_does_not_keep_it_from_being_made(lite: PKI) -> None:
    download(lite)
    lite.world.pass_time(timedelta(days=6))
    download(lite)
    assert len(waiting_jobs(lite)) == 1
    without_jobs(lite)
    lite.world.pass_time(timedelta(days=-1))
    download(lite)
    assert len(waiting_jobs(lite)) == 1


@pytest.mark.usefixtures("long_lists")
def test_a_long_list_that_has_ended_is_made_by_who_asks(lite: PKI) -> None:
    first = download(lite)
    lite.world.pass_time(timedelta(days=8))
    assert download(lite).number > first.number


@pytest.mark.usefixtures("long_lists")
def test_a_delta_that_goes_with_a_long_list_is_the_worker_s_too(sqlite_world: World) -> None:
    assert sqlite_world.apply(DELTAS).exit_code == 0
    pki = PKI(sqlite_world)
    first = download(pki, Part(delta=True))
    revoke(pki, pki.issue())
    assert download(pki, Part(delta=True)) == first
    Worker(sqlite_world.services).run_once()
    assert download(pki, Part(delta=True)).number > first.number


@pytest.mark.usefixtures("long_lists")
def test_what_is_valid_is_given_though_no_job_can_be_left(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    first = download(lite)
    lite.world.pass_time(timedelta(days=4))

    def full(*_: Any, **__: Any) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(lite.world.parts.db, "write", full)
    assert download(lite) == first


def test_a_part_that_nobody_names_takes_no_place(lite: PKI) -> None:
    downloads = CRLDownloads(lite.world.parts, lite.world.services.crls, 1)
    for _ in range(3):
        with pytest.raises(NotFound):
            downloads.current(lite.issuer_id(), Part(7))


class Slow:
    """CRLs are being made, until they may go on."""

    def __init__(self, pki: PKI, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
        self.started, self.go_on = threading.Semaphore(0), threading.Event()
        current = CRLs.current

        def slow(made: CRLs, *place: Any) -> PublishedCRL:
            self.started.release()
            assert self.go_on.wait(60)
            return current(made, *place)

        monkeypatch.setattr(CRLs, "current", slow)
        self._threads = [threading.Thread(target=download, args=(pki,)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()
            assert self.started.acquire(timeout=60)

    def end(self) -> None:
        self.go_on.set()
        for thread in self._threads:
            thread.join(60)


def test_only_some_threads_are_at_crls(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none yet, and no place gets free to make it or to wait for it: everything else is served."""
    monkeypatch.setattr(crl_downloads, "WAIT", 0.1)
    client = Client(create_app(lite.world.services, ProcessSettings(state=lite.world.parts.state)), lite)
    slow = Slow(lite, monkeypatch, crl_downloads.PLACES)
    refused = client.get("/crl/issuing/1.crl")
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    asked = question(lite.issuer(), serial_of(lite.issue()))
    assert client.post("/ocsp/issuing", asked, content_type="application/ocsp-request").status == 200
    slow.end()
    assert client.get("/crl/issuing/1.crl").status == 200


def test_who_comes_while_the_first_is_made_waits_for_it(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(lite, monkeypatch, crl_downloads.PLACES)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(download, lite)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        slow.end()
        assert waiting.result(60).number == 1


def test_the_last_valid_one_is_given_meanwhile(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    first = download(lite)
    revoke(lite, lite.issue())
    slow = Slow(lite, monkeypatch, crl_downloads.PLACES)
    assert download(lite) == first
    slow.end()
    assert download(lite).number > first.number


def test_a_place_is_free_again_when_none_could_be_made(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> PublishedCRL:
        raise Unavailable("the key is not to be had")

    with monkeypatch.context() as patched:
        patched.setattr(CRLs, "current", fail)
        for _ in range(crl_downloads.PLACES + 1):
            with pytest.raises(Unavailable, match="the key"):
                download(lite)
    assert download(lite).number == 1
