"""Signed answers that may be given again, for as long as everything they were made from is the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from pkiconf.store.epochs import Stamp

REUSE: Final = timedelta(minutes=5)
"""How long after it was made an answer is given again."""

MOST: Final = 16_384
LARGEST: Final = 300
"""Octets of a request whose answer is kept: one about a single certificate."""

ROOM: Final = 16 << 20
"""Octets of all kept answers together: those with an ML-DSA certificate are ten times as large as others. With what
stands around them, answers take some 30 MB."""

Q = TypeVar("Q")
A = TypeVar("A")
Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer was made from. `stamp` is the issuer's at which `facts` were found. `until`: from then on they
    have to be found again even so."""

    issuer_id: int
    facts: tuple[object, ...]
    stamp: Stamp
    until: datetime


@dataclass(frozen=True, slots=True)
class Kept(Generic[Q, A]):
    request: Q
    basis: Basis
    answer: A
    made: datetime
    octets: int

    def is_young(self, now: datetime) -> bool:
        """Not too old; and made already: clocks are set back."""
        return self.made <= now < self.made + REUSE

    def at(self, stamp: Stamp | None, now: datetime) -> A | None:
        """The answer, if the issuer's present stamp says that nothing has changed since."""
        return self.answer if stamp == self.basis.stamp and now < self.basis.until and self.is_young(now) else None

    def same(self, facts: tuple[object, ...], now: datetime) -> A | None:
        """The answer, if what was found now is what was found then."""
        return self.answer if self.is_young(now) and facts == self.basis.facts else None


class KeptAnswers(Generic[Q, A]):
    """At most MOST of them in ROOM, the oldest going first. Safe to share between threads."""

    def __init__(self) -> None:
        self._octets = 0
        self._kept: dict[Key, Kept[Q, A]] = {}
        self._lock = threading.Lock()

    def find(self, key: Key) -> Kept[Q, A] | None:
        return self._kept.get(key)

    def keep(self, key: Key, request: Q, basis: Basis, answer: A, made: datetime, octets: int) -> None:
        """`octets`: what the answer takes."""
        if len(key[1]) > LARGEST:
            return
        with self._lock:
            self._forget(key)
            while self._kept and (len(self._kept) >= MOST or self._octets + octets > ROOM):
                self._forget(next(iter(self._kept)))
            self._kept[key] = Kept(request, basis, answer, made, octets)
            self._octets += octets

    def _forget(self, key: Key) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._octets -= kept.octets
