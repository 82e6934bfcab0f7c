"""Waiting a moment for what a client would otherwise ask for again and again.

Most validations are over within some milliseconds. Who is told of that in the answer to its first question asks no
second one; and a look into the database costs a fraction of what a signed request does. The worker says when it has
done what is waited for, so that mostly one look is enough; what it says may be lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

LONGEST: Final = 1.0
"""Seconds. Clients that are told to come back wait as long by themselves."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.2


class Line(Protocol):
    """One to the worker, for one waiting thread at a time."""

    def ask(self, thing: str) -> None:
        """To be told when the worker has done what it could for `thing`. Never raises."""
        ...

    def wait(self, seconds: float) -> bool:
        """True when told, False when the time is over."""
        ...

    def close(self) -> None:
        """Nobody waits any more, until something is asked again."""
        ...


class Waiting:
    """At most `places` threads of a process wait at once, so that the others can always serve; with 0 nobody waits."""

    def __init__(self, places: int, line: Callable[[], Line], ticks: Callable[[], float] = time.monotonic) -> None:
        self._free = deque(line() for _ in range(places))
        self._ticks = ticks

    def until(self, look: Callable[[], T | None], thing: str, begin: Callable[[], None] = lambda: None) -> T | None:
        """What `look` finds, as soon as it finds anything about `thing`; None after a second, and at once where no
        place is free. `begin` makes the worker begin; it is called once in any case. Raises what they raise."""
        try:
            line = self._free.pop()
        except IndexError:
            begin()
            return None
        try:
            line.ask(thing)
            begin()
            return self._wait(look, line)
        finally:
            line.close()
            self._free.append(line)

    def _wait(self, look: Callable[[], T | None], line: Line) -> T | None:
        end, pause = self._ticks() + LONGEST, _FIRST_PAUSE
        while (left := end - self._ticks()) > 0:
            line.wait(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
            found = look()
            if found is not None:
                return found
        return None
