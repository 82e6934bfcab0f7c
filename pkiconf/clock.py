"""Time is handed in: nothing below this line of the house asks the machine for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment: aware, UTC, whole seconds (X.509 times carry no fractions)."""
        ...


class SystemClock:
    """Asked a dozen times for one certificate: the moment is made once a second."""

    def __init__(self) -> None:
        self._shown = (-1, datetime.fromtimestamp(0, UTC))

    def now(self) -> datetime:
        second, shown = int(time.time()), self._shown
        if shown[0] != second:
            shown = self._shown = (second, datetime.fromtimestamp(second, UTC))
        return shown[1]


@dataclass
class SetClock:
    """A clock that shows what it was set to: for tests and for `--at`."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


class Timepiece(Protocol):
    """For timestamps, which need more than whole seconds, and have to notice when somebody moves the clock's hands."""

    def wall(self) -> int:
        """Microseconds since 1970 by the clock of the machine, which may be set back."""
        ...

    def steady(self) -> int:
        """Microseconds since some moment, which nobody can set, and which count on while the machine sleeps."""
        ...


def steady_seconds() -> float:
    """Seconds since some moment, as `Timepiece.steady` counts them."""
    return time.clock_gettime(_STEADY)


class SystemTimepiece:
    def wall(self) -> int:
        return time.time_ns() // 1000

    def steady(self) -> int:
        return time.clock_gettime_ns(_STEADY) // 1000


@lru_cache(maxsize=64)  # a moment is handed from room to room, and each writes it into a row
def to_epoch(moment: datetime) -> int:
    """Seconds since 1970, as the database stores times. Refuses naive datetimes."""
    if moment.tzinfo is None:
        raise ValueError("naive datetime")
    return int(moment.timestamp())


def from_epoch(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
