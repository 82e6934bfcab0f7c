"""Stamps of issuers: read seldom, never believed longer than whoever changes a status waits."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from pkiconf.clock import steady_seconds
from pkiconf.errors import Unavailable
from pkiconf.steps import Step
from pkiconf.store import certificates
from pkiconf.store.database import Connection, Database
from pkiconf.store.epochs import INTERVAL, WINDOW, Stamp, StatusEpochs, settle
from tests.store.conftest import Rows

T = TypeVar("T")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Server(Database):
    """Any database, asked as one is that is far away. `takes` seconds of its clock go by before it answers."""

    def __init__(self, db: Database, clock: Clock) -> None:
        super().__init__()
        self.db, self.clock = db, clock
        self.dialect = "postgresql"
        self.looks = 0
        self.takes = 0.0

    def read(self, fn: Callable[[Connection], T]) -> T:
        return self.db.read(fn)

    def write(self, step: Step, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        return self.db.write(step, fn, durable=durable)

    def close(self) -> None:
        self.db.close()

    def look(self, fn: Callable[[Connection], T]) -> T:
        found = self.db.look(fn)
        self.looks += 1
        self.clock.at += self.takes
        return found


@pytest.fixture
def server(rows: Rows) -> Server:
    return Server(rows.db, Clock())


def test_what_an_issuer_has_seen(rows: Rows) -> None:
    epochs = StatusEpochs(rows.db, Clock())
    before = epochs.current(rows.issuer_id)
    assert before is not None
    assert epochs.current(4711) is None
    serial = rows.issued()
    rows.write(lambda c: certificates.revoke(c, rows.issuer_id, serial, "revoked", 1, 100))
    later = Clock()
    later.at += WINDOW
    assert StatusEpochs(rows.db, later).current(rows.issuer_id) == Stamp(before.status_epoch + 1, before.generation)


def revoke_one(rows: Rows) -> None:
    serial = rows.issued()
    rows.write(lambda c: certificates.revoke(c, rows.issuer_id, serial, "revoked", 1, 100))


def test_no_stamp_is_believed_for_longer_than_a_revoker_waits(rows: Rows, server: Server) -> None:
    epochs = StatusEpochs(server, server.clock)
    before = epochs.current(rows.issuer_id)
    revoke_one(rows)
    slept: list[float] = []
    settle(server, slept.append)
    assert slept == [WINDOW]
    server.clock.at += sum(slept)
    after = epochs.current(rows.issuer_id)
    assert after is not None
    assert before is not None
    assert after.status_epoch == before.status_epoch + 1


def test_nobody_waits_for_a_file(rows: Rows) -> None:
    slept: list[float] = []
    settle(rows.db, slept.append)
    assert slept == ([] if rows.db.dialect == "sqlite" else [WINDOW])


def test_reads_are_shared(rows: Rows, server: Server) -> None:
    epochs = StatusEpochs(server, server.clock)
    for round in (1, 2, 3):
        for _ in range(50):
            epochs.current(rows.issuer_id)
        assert server.looks == round
        server.clock.at += INTERVAL


def test_a_stamp_is_as_old_as_its_question(rows: Rows, server: Server) -> None:
    """A revocation may have been acknowledged while the answer was on its way."""
    epochs = StatusEpochs(server, server.clock)
    server.takes = WINDOW
    before = epochs.current(rows.issuer_id)
    server.takes = 0
    revoke_one(rows)
    assert epochs.current(rows.issuer_id) != before


def test_a_host_that_slept_knows_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Monotonic time stands still meanwhile."""
    assert inspect.signature(StatusEpochs).parameters["steady"].default is steady_seconds
    asked: list[int] = []

    def read(clock: int) -> float:
        asked.append(clock)
        return 4.5

    monkeypatch.setattr(time, "clock_gettime", read)
    assert steady_seconds() == 4.5
    assert asked == [getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)]


def asking(epochs: StatusEpochs, rows: Rows) -> tuple[threading.Thread, threading.Event]:
    answered = threading.Event()

    def ask() -> None:
        epochs.current(rows.issuer_id)
        answered.set()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answered


def test_while_one_reads_others_believe_what_is_young_enough(rows: Rows, server: Server) -> None:
    epochs = StatusEpochs(server, server.clock)
    known = epochs.current(rows.issuer_id)
    server.clock.at += INTERVAL
    with epochs._reading:
        assert epochs.current(rows.issuer_id) == known
        server.clock.at += WINDOW
        thread, answered = asking(epochs, rows)
        assert not answered.wait(0.2)  # too old to be believed: it waits for whoever reads
        assert server.looks == 1
    thread.join(30)
    assert answered.is_set()
    assert server.looks == 2


def test_who_waited_believes_what_was_read_meanwhile(rows: Rows, server: Server) -> None:
    epochs = StatusEpochs(server, server.clock)
    with epochs._reading:
        thread, answered = asking(epochs, rows)
        assert not answered.wait(0.2)
        epochs._read()
    thread.join(30)
    assert answered.is_set()
    assert server.looks == 1


def test_a_database_in_trouble_is_not_answered_from_memory(
    rows: Rows, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = StatusEpochs(server, server.clock)
    epochs.current(rows.issuer_id)
    server.clock.at += WINDOW

    def fail(*_: object) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(type(rows.db), "look", fail)
    with pytest.raises(Unavailable):
        epochs.current(rows.issuer_id)
    with pytest.raises(Unavailable):
        StatusEpochs(rows.db).current(rows.issuer_id)


def test_without_waiting_only_what_is_still_young_is_known(rows: Rows, server: Server) -> None:
    epochs = StatusEpochs(server, server.clock)
    assert epochs.at_hand(rows.issuer_id) is None  # nothing was read yet
    stamp = epochs.current(rows.issuer_id)
    server.clock.at += INTERVAL * 0.9
    assert epochs.at_hand(rows.issuer_id) == stamp is not None
    server.clock.at += INTERVAL * 0.2
    assert epochs.at_hand(rows.issuer_id) is None
    assert server.looks == 1


def test_a_file_is_always_at_hand(rows: Rows) -> None:
    epochs = StatusEpochs(rows.db, Clock())
    found = epochs.at_hand(rows.issuer_id)
    assert found == (epochs.current(rows.issuer_id) if rows.db.dialect == "sqlite" else None)
