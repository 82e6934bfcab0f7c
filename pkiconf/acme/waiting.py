"""Waiting a moment for what a client would otherwise ask for again and again.

Most validations are over within some milliseconds. Who is told of that in the answer to its first question asks no
second one; and a look into the database costs a fraction of what a signed request does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Final, TypeVar

T = TypeVar("T")

LONGEST: Final = 1.0
"""Seconds. Clients that are told to come back wait as long by themselves."""

_FIRST_PAUSE: Final = 0.015
_LONGEST_PAUSE: Final = 0.2


class Waiting:
    """At most `places` threads of a process wait at once, so that the others can always serve; with 0 nobody waits."""

    def __init__(
        self,
        places: int,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._places = BoundedSemaphore(places) if places > 0 else None
        self._ticks = ticks
        self._sleep = sleep

    def until(self, look: Callable[[], T | None]) -> T | None:
        """What `look` finds, as soon as it finds anything; None after a second, and at once where no place is free.
        Raises what `look` raises."""
        if self._places is None or not self._places.acquire(blocking=False):
            return None
        try:
            return self._wait(look)
        finally:
            self._places.release()

    def _wait(self, look: Callable[[], T | None]) -> T | None:
        end, pause = self._ticks() + LONGEST, _FIRST_PAUSE
        while self._ticks() < end:
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            found = look()
            if found is not None:
                return found
        return None
