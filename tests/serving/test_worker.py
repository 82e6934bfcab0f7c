"""The worker: what is due is done once, what fails is tried again, what a dead one left is taken over."""

from __future__ import annotations

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pkiconf.clock import to_epoch
from pkiconf.errors import NotSigned, Unavailable
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.crl import CRLs
from pkiconf.revocation.revoke import CRL_JOB
from pkiconf.signing.local import LocalSigner
from pkiconf.steps import Step
from pkiconf.store import crls, jobs
from pkiconf.wake import SOCKET_FILE, Alarm, Call, wake_worker
from pkiconf.worker import LEASE_SECONDS, Worker
from tests.revocation.pki import PKI, prepare
from tests.serving.running import Installation, eventually
from tests.world import OPERATOR, World


@pytest.fixture
def pki(world: World) -> PKI:
    pki = prepare(world)
    Worker(world.services).run_once()
    return pki


@pytest.fixture
def lite(sqlite_world: World) -> PKI:
    pki = prepare(sqlite_world)
    Worker(sqlite_world.services).run_once()
    return pki


def revoke_one(pki: PKI) -> None:
    pki.world.services.revocations.revoke(pki.issue().id, RevocationReason.SUPERSEDED, OPERATOR)


def behind(pki: PKI) -> int:
    """Revocations that are not yet in the published CRL."""
    issuer_id = pki.issuer_id()
    head = pki.world.parts.db.read(lambda c: crls.head(c, issuer_id))
    assert head is not None
    return head.status_epoch - head.covers_epoch


def test_nothing_to_do_is_nothing_done(pki: PKI) -> None:
    Worker(pki.world.services).run_once()
    assert Worker(pki.world.services).run_once() == 0


@pytest.mark.row("F138")
def test_a_revocation_is_in_the_crl_though_nobody_fetches_it(pki: PKI) -> None:
    revoke_one(pki)
    assert behind(pki) == 1
    assert Worker(pki.world.services).run_once() >= 1
    assert behind(pki) == 0
    assert pki.rows("job") == 0


@pytest.mark.row("F137")
def test_crls_are_renewed_at_half_life(pki: PKI) -> None:
    pki.world.pass_time(timedelta(days=4))
    before = pki.rows("crl")
    Worker(pki.world.services).run_once()
    assert pki.rows("crl") == before + 3


def test_what_a_dead_worker_had_claimed_is_taken_over(pki: PKI) -> None:
    revoke_one(pki)
    now = to_epoch(pki.world.clock.now())
    claim = lambda c: jobs.claim(c, "dead", now, now + LEASE_SECONDS)  # noqa: E731
    assert len(pki.world.parts.db.write(Step.JOB_CLAIM, claim)) == 1
    worker = Worker(pki.world.services, "alive")
    worker._run_jobs()
    assert pki.rows("job") == 1
    pki.world.pass_time(timedelta(seconds=LEASE_SECONDS))
    assert worker._run_jobs() == 1
    assert (pki.rows("job"), behind(pki)) == (0, 0)


def test_more_jobs_than_one_round_used_to_take(lite: PKI) -> None:
    def queue(c: Any) -> None:
        for number in range(50):
            jobs.queue(c, CRL_JOB, str(4000 + number), "{}", 0)  # issuers that are gone

    lite.world.parts.db.write(Step.JOB_CLAIM, queue)
    Worker(lite.world.services).run_once()
    assert lite.rows("job") == 0


def test_jobs_that_fail_are_tried_later_and_hold_up_nobody(lite: PKI, caplog: pytest.LogCaptureFixture) -> None:
    def queue(c: Any) -> None:
        jobs.queue(c, "no.such.kind", "x", "{}", 0)
        jobs.queue(c, CRL_JOB, "not a number", "{}", 1)

    lite.world.parts.db.write(Step.JOB_CLAIM, queue)
    revoke_one(lite)
    Worker(lite.world.services).run_once()
    assert behind(lite) == 0
    waiting = lite.world.parts.db.read(jobs.list_jobs)
    assert [(job.kind, job.attempts, job.claimed_by) for job in waiting] == [
        ("no.such.kind", 1, None), (CRL_JOB, 1, None),
    ]  # fmt: skip
    assert all(job.due_at > to_epoch(lite.world.clock.now()) for job in waiting)
    assert waiting[0].last_error == "no handler for jobs of kind 'no.such.kind'"
    assert waiting[1].last_error == "ValueError"


def test_one_issuer_in_trouble_does_not_hold_up_the_others(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    lite.world.pass_time(timedelta(days=4))
    troubled, make = lite.issuer_id("issuing"), CRLs.make

    def sometimes(self: CRLs, issuer_id: int, *part: Any) -> Any:
        if issuer_id == troubled:
            raise RuntimeError("a bug")
        return make(self, issuer_id, *part)

    monkeypatch.setattr(CRLs, "make", sometimes)
    before = lite.rows("crl")
    Worker(lite.world.services).run_once()
    assert lite.rows("crl") == before + 2


def test_trouble_is_logged_and_survived(
    lite: PKI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the database is locked", "Try again")

    with monkeypatch.context() as patch:
        patch.setattr(type(lite.world.parts.db), "write", fail)
        patch.setattr(type(lite.world.parts.db), "read", fail)
        Worker(lite.world.services, chores=[("a chore", lambda: 1 // 0)]).run_once()
    assert "running jobs: the database is locked. Try again" in caplog.text
    assert "a chore failed" in caplog.text
    assert Worker(lite.world.services).run_once() == 0


def test_a_key_that_does_not_sign_now(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    revoke_one(lite)

    def fail(*_: object, **__: object) -> None:
        raise NotSigned("the key is offline")

    with monkeypatch.context() as patch:
        patch.setattr(LocalSigner, "sign", fail)
        Worker(lite.world.services).run_once()
    assert behind(lite) == 1
    lite.world.pass_time(timedelta(minutes=1))
    Worker(lite.world.services).run_once()
    assert behind(lite) == 0


# --- the alarm ------------------------------------------------------------------------------------------------------


def test_the_alarm(tmp_path: Path) -> None:
    wake_worker(tmp_path)  # nobody listens: nothing happens
    alarm = Alarm(tmp_path)
    assert not alarm.wait(0.01)
    for _ in range(3):
        wake_worker(tmp_path)
    assert alarm.wait(5)
    assert not alarm.wait(0.01)  # all of them were heard at once
    alarm.close()
    assert not (tmp_path / SOCKET_FILE).exists()


def test_thousands_of_wake_ups_never_wait(tmp_path: Path) -> None:
    alarm = Alarm(tmp_path)
    begun = time.monotonic()
    for _ in range(3000):
        wake_worker(tmp_path)
        alarm.ring()
    assert time.monotonic() - begun < 20
    assert alarm.wait(1)
    alarm.close()


def test_ringing_wakes_at_once_also_where_paths_are_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    for folder in (tmp_path, deep):
        alarm = Alarm(folder)
        threading.Timer(0.2, alarm.ring).start()
        begun = time.monotonic()
        assert alarm.wait(30)
        assert time.monotonic() - begun < 10
        alarm.close()


def test_the_later_worker_is_woken_and_keeps_its_socket(tmp_path: Path) -> None:
    first, second = Alarm(tmp_path), Alarm(tmp_path)
    wake_worker(tmp_path)
    assert second.wait(5)
    assert not first.wait(0.01)
    first.close()
    wake_worker(tmp_path)
    assert second.wait(5)
    second.close()


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / SOCKET_FILE))
    alarm = Alarm(tmp_path)
    wake_worker(tmp_path)
    assert alarm.wait(5)
    alarm.close()


# --- being told -----------------------------------------------------------------------------------------------------


@pytest.fixture
def alarm(tmp_path: Path) -> Iterator[Alarm]:
    made = Alarm(tmp_path)
    yield made
    made.close()


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Call]:
    made = Call(tmp_path)
    yield made
    made.close()


def test_who_asks_is_told_once(alarm: Alarm, call: Call) -> None:
    call.ask("7")
    assert not alarm.wait(0.01)  # a question wakes nobody
    alarm.tell("8")
    alarm.tell("7")
    alarm.tell("7")
    assert call.wait(30)
    assert not call.wait(0.01)


def test_the_last_who_asks_about_a_thing_is_told(alarm: Alarm, call: Call, tmp_path: Path) -> None:
    other = Call(tmp_path)
    call.ask("7")
    other.ask("7")
    assert not alarm.wait(0.01)
    alarm.tell("7")
    assert other.wait(30)
    assert not call.wait(0.01)
    other.close()


def test_what_was_asked_before_is_not_taken_for_what_is_asked_now(alarm: Alarm, call: Call) -> None:
    call.ask("7")
    call.ask("70")
    assert not alarm.wait(0.01)
    alarm.tell("7")
    assert not call.wait(0.05)
    alarm.tell("70")
    assert call.wait(30)


def test_a_wake_up_behind_a_question_is_heard(alarm: Alarm, call: Call, tmp_path: Path) -> None:
    call.ask("7")
    wake_worker(tmp_path)
    assert alarm.wait(30)
    alarm.tell("7")
    assert call.wait(30)


def test_a_wake_up_for_which_questions_left_no_room_is_heard(alarm: Alarm, call: Call, tmp_path: Path) -> None:
    for number in range(600):  # some systems have longer queues
        call.ask(str(number))
        call.close()
    wake_worker(tmp_path)
    assert alarm.wait(0.01)
    assert not alarm.wait(0.01)


def test_whoever_went_away_is_told_nothing(alarm: Alarm, tmp_path: Path) -> None:
    gone = Call(tmp_path)
    gone.ask("7")
    gone.close()
    assert not alarm.wait(0.01)
    alarm.tell("7")


def test_without_a_worker_it_is_waited_for_as_long_as_said(tmp_path: Path, call: Call) -> None:
    call.ask("7")
    begun = time.monotonic()
    assert not call.wait(0.2)
    assert time.monotonic() - begun >= 0.2
    alarm = Alarm(tmp_path)
    call.ask("8")
    assert not alarm.wait(0.01)
    alarm.tell("8")
    assert call.wait(30)
    alarm.close()


def test_where_the_kernel_gives_no_names_nobody_is_told(
    alarm: Alarm, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError("no such thing here")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    call.ask("7")
    assert not alarm.wait(0.01)
    begun = time.monotonic()
    assert not call.wait(0.1)
    assert time.monotonic() - begun >= 0.1


def test_questions_of_many_are_not_kept_for_ever(alarm: Alarm, call: Call) -> None:
    for number in range(5000):
        call.ask(str(number))
        alarm.wait(0)
    assert len(alarm._asked) <= 1024
    alarm.tell("4999")
    assert call.wait(30)


# --- the command ----------------------------------------------------------------------------------------------------


def test_once_and_for_long(installation: Installation) -> None:
    leaf = installation.issue()
    installation.run("worker", "--once")
    installation.run("cert", "revoke", f"{leaf.serial_number:x}", "--reason", "superseded")
    assert "things done" in installation.run("worker", "--once").stdout
    assert installation.run("worker", "--once").stdout == "0 things done.\n"
    with installation.running("worker") as tree:
        eventually((installation.state / SOCKET_FILE).exists)
        time.sleep(1)
        leaf = installation.issue("more.corp.example")
        installation.run("cert", "revoke", f"{leaf.serial_number:x}", "--reason", "superseded")
        # Woken, not by the next poll.
        eventually(lambda: "revoked: 2" in _shown(installation), 10)
        begun = time.monotonic()
        assert tree.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 10
        assert tree.text == ""


def _shown(installation: Installation) -> str:
    """The published CRL, without having a new one made."""
    with closing(sqlite3.connect(installation.state / "pkiconf.db")) as c:
        rows = c.execute("SELECT der FROM crl ORDER BY issuer_id DESC, number DESC LIMIT 1").fetchall()
    return f"revoked: {len(x509.load_der_x509_crl(rows[0][0])) if rows else 0}"


def test_no_state_no_worker(tmp_path: Path) -> None:
    done = Installation(tmp_path).run("worker", "--once", check=False)
    assert (done.returncode, "pkiconf up" in done.stderr) == (1, True)
    assert not (tmp_path / "state").exists()
