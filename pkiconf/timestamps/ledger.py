"""The record of tokens, durable before a token is signed, as certificates' is: no token leaves without it.

`record: all` writes a row for each; concurrent requests become durable in one commit (`pkiconf.store.group`).
`record: count` takes numbers ahead, a block at a time, and uses them up in memory: a process that is killed has counted
too many, at most one block, and never one too few. What a process has left at its end it gives back.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from typing import Final

from pkiconf.entropy import Entropy
from pkiconf.errors import PkiconfError
from pkiconf.steps import Step
from pkiconf.store.database import Connection, Database
from pkiconf.store.timestamps import TokenRow, add_token, count_more, day_of, next_moment, serial_at
from pkiconf.timestamps.clock_watch import ClockUnsure, Vouched
from pkiconf.timestamps.forms import Form

BLOCK: Final = 256
"""Numbers that a process takes ahead."""

_RANDOM_OCTETS: Final = 12

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stamped:
    """What is to be countersigned, as it is recorded."""

    protocol: str
    digest: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A token that is recorded: its serial number's octets, its time in microseconds since 1970."""

    serial: bytes
    moment: int


@dataclass(slots=True)
class _Block:
    day: int
    left: int


class Ledger:
    def __init__(self, db: Database, entropy: Entropy) -> None:
        self._db = db
        self._entropy = entropy
        self._blocks: dict[int, _Block] = {}
        self._taking = threading.Lock()
        self._ahead: set[int] = set()

    def enter(self, form: Form, stamped: Stamped, now: Vouched) -> Entry:
        """Record a token of this moment, or of the first one behind all others where tokens are ordered. Raises
        Unavailable, or ClockUnsure when that one has not come yet; there is no record then."""
        try:
            entry = self._entered(form, stamped, now)
        except ClockUnsure as ex:
            if form.authority_id not in self._ahead:  # said once: clients ask thousands of times a second
                self._ahead.add(form.authority_id)
                log.error("no timestamps: %s", ex)
            raise
        self._ahead.discard(form.authority_id)
        return entry

    def _entered(self, form: Form, stamped: Stamped, now: Vouched) -> Entry:
        random = self._entropy.token(_RANDOM_OCTETS)
        if form.spec.record == "all":
            record = partial(_record, form.authority_id, stamped, form.spec.ordering, now, random)
            return self._db.write(Step.TIMESTAMP_RECORD, record)
        moment = now.moment
        if form.spec.ordering:
            moment = self._db.write(Step.TIMESTAMP_RECORD, partial(_following, form.authority_id, now))
        self._count(form.authority_id, moment)
        return Entry(serial_at(moment, random), moment)

    def _count(self, authority_id: int, moment: int) -> None:
        day = day_of(moment)
        with self._taking:
            block = self._blocks.get(authority_id)
            if block is None or block.day != day or not block.left:
                self._take(authority_id, block, day, moment)
                block = self._blocks[authority_id] = _Block(day, BLOCK)
            block.left -= 1

    def _take(self, authority_id: int, before: _Block | None, day: int, moment: int) -> None:
        def take(c: Connection) -> None:
            if before is not None and before.left:
                count_more(c, authority_id, before.day, -before.left, moment)
            count_more(c, authority_id, day, BLOCK, moment)

        self._db.write(Step.TIMESTAMP_COUNT, take)

    def close(self) -> None:
        """Give back what was taken and not used. What cannot be given back stays counted."""
        with self._taking:
            left = {authority_id: block for authority_id, block in self._blocks.items() if block.left}
            self._blocks.clear()

        def give_back(c: Connection) -> None:
            for authority_id, block in sorted(left.items()):
                count_more(c, authority_id, block.day, -block.left, 0)

        if left:
            try:
                self._db.write(Step.TIMESTAMP_COUNT, give_back)
            except PkiconfError:
                return


def _following(authority_id: int, now: Vouched, c: Connection) -> int:
    """Once a clock was ahead, the times that follow are too, until it is as late as they say: none is given before."""
    moment = next_moment(c, authority_id, now.moment)
    now.check(moment)
    return moment


def _record(authority_id: int, stamped: Stamped, ordering: bool, now: Vouched, random: bytes, c: Connection) -> Entry:
    moment = _following(authority_id, now, c) if ordering else now.moment
    serial = serial_at(moment, random)
    add_token(c, TokenRow(authority_id, serial, moment, stamped.protocol, stamped.digest, stamped.hash))
    return Entry(serial, moment)
