"""Time is handed in: nothing below this line of the house asks the machine for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment: aware, UTC, whole seconds (X.509 times carry no fractions)."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.fromtimestamp(int(time.time()), UTC)


@dataclass
class SetClock:
    """A clock that shows what it was set to: for tests and for `--at`."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


def to_epoch(moment: datetime) -> int:
    """Seconds since 1970, as the database stores times. Refuses naive datetimes."""
    if moment.tzinfo is None:
        raise ValueError("naive datetime")
    return int(moment.timestamp())


def from_epoch(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
