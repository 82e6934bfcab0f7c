"""One moment at which everything that belongs together has to be over."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at` by the monotonic clock. A socket's own time-out begins anew with each octet; this does not."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds, more than none. Raises TimeoutError when it is over."""
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.at

    def part(self, seconds: float) -> Deadline:
        """One that comes in so many seconds, but not later than this one."""
        return Deadline(min(self.at, time.monotonic() + seconds))
