"""Signed answers that may be given again, for as long as everything they were made from is the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

REUSE: Final = timedelta(minutes=5)
"""How long after it was made an answer is given again."""

MOST: Final = 4096
LARGEST: Final = 300
"""Octets of a request whose answer is kept: one about a single certificate. Together with MOST it bounds the memory."""

Q = TypeVar("Q")
A = TypeVar("A")
Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Kept(Generic[Q, A]):
    """`basis` is what was found when `answer` was made."""

    request: Q
    basis: tuple[object, ...]
    answer: A
    made: datetime

    def same(self, basis: tuple[object, ...], now: datetime) -> A | None:
        """The answer, unless something has changed since or it is too old (or not yet made: clocks are set back)."""
        return self.answer if self.made <= now < self.made + REUSE and basis == self.basis else None


class KeptAnswers(Generic[Q, A]):
    """At most MOST of them, the oldest going first. Safe to share between threads."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept[Q, A]] = {}
        self._lock = threading.Lock()

    def find(self, key: Key) -> Kept[Q, A] | None:
        return self._kept.get(key)

    def keep(self, key: Key, request: Q, basis: tuple[object, ...], answer: A, made: datetime) -> None:
        if len(key[1]) > LARGEST:
            return
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = Kept(request, basis, answer, made)
