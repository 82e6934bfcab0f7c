"""Tokens of concurrent requests, recorded together: while one group of them becomes durable, the next one gathers.

Each group is one transaction, with one statement for all rows and one for the times of each authority that orders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import NamedTuple

from pkiconf.errors import PkiconfError, Unavailable
from pkiconf.steps import Step
from pkiconf.store.database import TIMEOUT, Connection, Database
from pkiconf.store.group import Entry, GroupCommit
from pkiconf.store.timestamps import TokenRow, add_tokens, next_moments, serial_at
from pkiconf.timestamps.clock_watch import ClockUnsure, Vouched


@dataclass(frozen=True, slots=True)
class Stamped:
    """What is to be countersigned, as it is recorded."""

    protocol: str
    digest: str
    hash: bytes


class Wanted(NamedTuple):
    """A token to be. `stamped` is None where only their number is kept; `random` are octets of its serial number."""

    authority_id: int
    ordering: bool
    stamped: Stamped | None
    now: Vouched
    random: bytes


class Recorded(NamedTuple):
    """A token that may be signed: its serial number's octets, its time in microseconds since 1970."""

    serial: bytes
    moment: int


class Recording:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._group = GroupCommit[Wanted](self._run, TIMEOUT)

    def enter(self, wanted: Wanted) -> Recorded:
        """Once it is durable. Raises Unavailable, or ClockUnsure; there is no record then."""
        recorded: Recorded = self._group.submit(wanted)
        return recorded

    def _run(self, group: Sequence[Entry[Wanted]]) -> None:
        try:
            self._write(group)
        except Exception as error:
            if len(group) > 1 and isinstance(error, PkiconfError) and _concerns_one(error):
                self._one_by_one(group)
                return
            for entry in group:
                entry.error = error

    def _one_by_one(self, group: Sequence[Entry[Wanted]]) -> None:
        for entry in group:
            try:
                self._write((entry,))
            except Exception as error:
                entry.error = error

    def _write(self, group: Sequence[Entry[Wanted]]) -> None:
        found = self._db.write(Step.TIMESTAMP_RECORD, partial(_record, [entry.work for entry in group]))
        for entry, recorded in zip(group, found, strict=True):
            entry.result = recorded


def _concerns_one(error: PkiconfError) -> bool:
    """Whether what was raised for a group may lie in a single token; that a database cannot be written does not."""
    return isinstance(error, ClockUnsure) or not isinstance(error, Unavailable)


def _record(wanted: Sequence[Wanted], c: Connection) -> list[Recorded]:
    moments = [one.now.moment for one in wanted]
    # In the same order everywhere: each locks a row.
    for authority_id in sorted({one.authority_id for one in wanted if one.ordering}):
        places = [place for place, one in enumerate(wanted) if one.ordering and one.authority_id == authority_id]
        # No token says an earlier time than its request came at: that would attest too much.
        latest = max(moments[place] for place in places)
        first = next_moments(c, authority_id, latest, len(places))
        for place, moment in zip(places, count(first), strict=False):
            # Once a clock was ahead, the times that follow are too, until it is as late as they say.
            wanted[place].now.check(moment)
            moments[place] = moment
    made = [Recorded(serial_at(moment, one.random), moment) for one, moment in zip(wanted, moments, strict=True)]
    add_tokens(
        c,
        (
            TokenRow(one.authority_id, *recorded, one.stamped.protocol, one.stamped.digest, one.stamped.hash)
            for one, recorded in zip(wanted, made, strict=True)
            if one.stamped is not None
        ),
    )
    return made
