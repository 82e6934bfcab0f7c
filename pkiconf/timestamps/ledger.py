"""The record of tokens, durable before a token is signed, as certificates' is: no token leaves without it.

`record: all` writes a row for each; those of concurrent requests become durable together (`recording`).
`record: count` takes numbers ahead, a block at a time, and uses them up in memory: a process that is killed has counted
too many, at most one block, and never one too few. What a process has left at its end it gives back. With each block
the moment is recorded up to which was stamped, by which a clock that is set back is noticed after a restart: so a block
is good for a minute only.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

from pkiconf.entropy import Entropy
from pkiconf.errors import PkiconfError, WouldWait
from pkiconf.steps import Step
from pkiconf.store.database import Connection, Database
from pkiconf.store.timestamps import count_more, day_of, serial_at
from pkiconf.timestamps.clock_watch import ClockUnsure, Vouched
from pkiconf.timestamps.forms import Form
from pkiconf.timestamps.recording import Recorded, Recording, Stamped, Wanted

BLOCK: Final = 256
"""Numbers that a process takes ahead."""

GOOD_FOR: Final = 60_000_000
"""Microseconds for which it uses them: by so much, what a killed process had stamped last may be behind the record."""

_RANDOM_OCTETS: Final = 12

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Block:
    """`last` is the latest moment that was stamped; all in microseconds since 1970."""

    taken: int
    left: int
    last: int

    @property
    def day(self) -> int:
        return day_of(self.taken)

    def serves(self, moment: int) -> bool:
        return self.left > 0 and moment < self.taken + GOOD_FOR and day_of(moment) == self.day

    def use(self, moment: int) -> None:
        self.left -= 1
        self.last = max(self.last, moment)


class Ledger:
    def __init__(self, db: Database, entropy: Entropy) -> None:
        self._db = db
        self._entropy = entropy
        self._recording = Recording(db)
        self._blocks: dict[int, _Block] = {}
        self._taking = threading.Lock()
        self._ahead: set[int] = set()

    def enter(self, form: Form, stamped: Stamped, now: Vouched, *, wait: bool = True) -> Recorded:
        """Record a token of this moment, or of the first one behind all others where tokens are ordered. Raises
        Unavailable, or ClockUnsure when that one has not come yet; without `wait`, WouldWait where something has to be
        written. There is no record then."""
        try:
            entry = self._entered(form, stamped, now) if wait else self._counted(form, now)
        except ClockUnsure as ex:
            if form.authority_id not in self._ahead:  # said once: clients ask thousands of times a second
                self._ahead.add(form.authority_id)
                log.error("no timestamps: %s", ex)
            raise
        self._ahead.discard(form.authority_id)
        return entry

    def _entered(self, form: Form, stamped: Stamped, now: Vouched) -> Recorded:
        random, one_by_one = self._entropy.token(_RANDOM_OCTETS), form.spec.record == "all"
        if one_by_one or form.spec.ordering:
            kept = stamped if one_by_one else None
            made = self._recording.enter(Wanted(form.authority_id, form.spec.ordering, kept, now, random))
        else:
            made = Recorded(serial_at(now.moment, random), now.moment)
        if not one_by_one:
            self._count(form.authority_id, made.moment)
        return made

    def _counted(self, form: Form, now: Vouched) -> Recorded:
        """One of the numbers that were taken ahead. Raises WouldWait."""
        if form.spec.record == "all" or form.spec.ordering or not self._taking.acquire(blocking=False):
            raise WouldWait
        try:
            block = self._blocks.get(form.authority_id)
            if block is None or not block.serves(now.moment):
                raise WouldWait
            block.use(now.moment)
        finally:
            self._taking.release()
        return Recorded(serial_at(now.moment, self._entropy.token(_RANDOM_OCTETS)), now.moment)

    def _count(self, authority_id: int, moment: int) -> None:
        with self._taking:
            block = self._blocks.get(authority_id)
            if block is None or not block.serves(moment):
                self._take(authority_id, block, moment)
                block = self._blocks[authority_id] = _Block(moment, BLOCK, moment)
            block.use(moment)

    def _take(self, authority_id: int, before: _Block | None, moment: int) -> None:
        more, last = {day_of(moment): BLOCK}, moment
        if before is not None:
            more[before.day] = more.get(before.day, 0) - before.left
            last = max(last, before.last)
        self._db.write(Step.TIMESTAMP_COUNT, lambda c: count_more(c, authority_id, more, last))

    def close(self) -> None:
        """Give back what was taken and not used, and record up to when was stamped. What cannot be given back stays
        counted."""
        with self._taking:
            left = dict(self._blocks)
            self._blocks.clear()

        def give_back(c: Connection) -> None:
            for authority_id, block in sorted(left.items()):
                count_more(c, authority_id, {block.day: -block.left}, block.last)

        if left:
            try:
                self._db.write(Step.TIMESTAMP_COUNT, give_back)
            except PkiconfError:
                return
