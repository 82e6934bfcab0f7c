"""Stamps of issuers: read seldom, never believed longer than whoever changes a status waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pkiconf.errors import Unavailable
from pkiconf.store import certificates
from pkiconf.store.database import Database
from pkiconf.store.epochs import INTERVAL, WINDOW, Stamp, StatusEpochs, settle
from tests.store.conftest import Rows


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, database: Database) -> list[int]:
    """Grows with every look at the database."""
    counted: list[int] = []
    look = type(database).look

    def counting(self: Database, fn: Any) -> Any:
        counted.append(1)
        return look(self, fn)

    monkeypatch.setattr(type(database), "look", counting)
    return counted


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


def test_no_stamp_is_believed_for_longer_than_a_revoker_waits(rows: Rows, reads: list[int]) -> None:
    clock = Clock()
    epochs = StatusEpochs(rows.db, clock)
    before = epochs.current(rows.issuer_id)
    serial = rows.issued()
    rows.write(lambda c: certificates.revoke(c, rows.issuer_id, serial, "revoked", 1, 100))
    slept: list[float] = []
    settle(rows.db, slept.append)
    clock.at += sum(slept)
    after = epochs.current(rows.issuer_id)
    assert after is not None
    assert before is not None
    assert after.status_epoch == before.status_epoch + 1
    assert slept == ([] if rows.db.dialect == "sqlite" else [WINDOW])


def test_reads_are_shared(rows: Rows, reads: list[int]) -> None:
    if rows.db.dialect == "sqlite":
        return
    clock = Clock()
    epochs = StatusEpochs(rows.db, clock)
    for _ in range(50):
        epochs.current(rows.issuer_id)
    assert len(reads) == 1
    clock.at += INTERVAL
    for _ in range(50):
        epochs.current(rows.issuer_id)
    assert len(reads) == 2


def test_while_one_reads_others_believe_what_is_young_enough(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    if rows.db.dialect == "sqlite":
        return
    clock = Clock()
    epochs = StatusEpochs(rows.db, clock)
    known = epochs.current(rows.issuer_id)
    clock.at += INTERVAL
    with epochs._reading:
        assert epochs.current(rows.issuer_id) == known
    clock.at += WINDOW
    answered = threading.Event()

    def ask() -> None:
        epochs.current(rows.issuer_id)
        answered.set()

    epochs._reading.acquire()
    thread = threading.Thread(target=ask)
    thread.start()
    assert not answered.wait(0.2)  # too old to be believed: it waits for whoever reads
    epochs._reading.release()
    thread.join(30)
    assert answered.is_set()


def test_a_database_in_trouble_is_not_answered_from_memory(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    epochs = StatusEpochs(rows.db, clock)
    epochs.current(rows.issuer_id)
    clock.at += WINDOW

    def fail(*_: object) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(type(rows.db), "look", fail)
    with pytest.raises(Unavailable):
        epochs.current(rows.issuer_id)


def test_without_waiting_only_what_is_still_young_is_known(rows: Rows, reads: list[int]) -> None:
    clock = Clock()
    epochs = StatusEpochs(rows.db, clock)
    if rows.db.dialect == "sqlite":
        assert epochs.at_hand(rows.issuer_id) == epochs.current(rows.issuer_id) is not None
        return
    assert epochs.at_hand(rows.issuer_id) is None  # nothing was read yet
    stamp = epochs.current(rows.issuer_id)
    asked = len(reads)
    clock.at += INTERVAL * 0.9
    assert epochs.at_hand(rows.issuer_id) == stamp is not None
    clock.at += INTERVAL * 0.2
    assert epochs.at_hand(rows.issuer_id) is None
    assert len(reads) == asked
