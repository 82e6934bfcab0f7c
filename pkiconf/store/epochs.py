"""How many status changes the certificates of each issuer have seen, read often enough that no answer is stale.

SQLite is asked each time: that takes microseconds. PostgreSQL is asked at most every few milliseconds, by whichever
request comes next, and what was read is believed only for a moment longer: by the clock of this process, counted from
before the question was asked. Whoever changes a status says so only when that moment has passed everywhere
(`settle`), so an answer that is given after a revocation was acknowledged is true in every process, on every host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import text

from pkiconf.clock import steady_seconds
from pkiconf.errors import NotFound
from pkiconf.store.database import Connection, Database
from pkiconf.store.prepared import Prepared

INTERVAL: Final = 0.01
"""Seconds after which the epochs are read again, while there are requests."""

WINDOW: Final = 0.025
"""Seconds for which they are believed, counted from before they were read."""


class Stamp(NamedTuple):
    """Another one when the status of one of the issuer's certificates has changed, or its authority's declaration."""

    status_epoch: int
    generation: int


_ONE: Final = Prepared(
    text(
        "SELECT i.status_epoch, a.generation FROM issuer i JOIN authority a ON a.id = i.authority_id"
        " WHERE i.id = :wanted"
    ),
    Stamp,
)
_ALL: Final = Prepared(
    text("SELECT i.id, i.status_epoch, a.generation FROM issuer i JOIN authority a ON a.id = i.authority_id"),
    lambda issuer_id, *stamp: (issuer_id, Stamp(*stamp)),
)


def get_stamp(c: Connection, issuer_id: int) -> Stamp:
    found = _ONE.find(c, {"wanted": issuer_id})
    if found is None:
        raise NotFound(f"there is no issuer {issuer_id}")
    return found


class StatusEpochs:
    """For all threads of one process. `steady` gives seconds on a clock that is never set, and that counts on while the
    machine sleeps: whoever revoked meanwhile, on another host, did not wait for it to wake."""

    def __init__(self, db: Database, steady: Callable[[], float] = steady_seconds) -> None:
        self._db = db
        self._steady = steady
        self._reading = threading.Lock()
        self._began = float("-inf")
        self._stamps: dict[int, Stamp] = {}

    def current(self, issuer_id: int) -> Stamp | None:
        """How an issuer stands; None for one that there is not. Raises Unavailable."""
        if self._db.dialect == "sqlite":
            return self._db.look(lambda c: _ONE.find(c, {"wanted": issuer_id}))
        return self._polled().get(issuer_id)

    def at_hand(self, issuer_id: int) -> Stamp | None:
        """`current`, where no server has to be asked for it; else None."""
        if self._db.dialect == "sqlite":
            return self.current(issuer_id)
        began, stamps = self._began, self._stamps
        return stamps.get(issuer_id) if self._steady() - began < INTERVAL else None

    def _polled(self) -> dict[int, Stamp]:
        began, stamps = self._began, self._stamps  # in this order: see _read
        age = self._steady() - began
        if age < INTERVAL:
            return stamps
        if age < WINDOW:
            if self._reading.acquire(blocking=False):  # one request reads for all
                try:
                    return self._read()
                finally:
                    self._reading.release()
            return stamps
        with self._reading:
            if self._steady() - self._began < INTERVAL:
                return self._stamps
            return self._read()

    def _read(self) -> dict[int, Stamp]:
        began = self._steady()
        stamps = dict(self._db.look(_ALL.all))
        # Before their time: who sees the new time sees the new stamps.
        self._stamps = stamps
        self._began = began
        return stamps


def settle(db: Database, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, after a status change was committed, until no process believes the epochs from before it."""
    if db.dialect != "sqlite":
        sleep(WINDOW)
