"""Lengths of time as operators write them."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_PATTERN = re.compile(r"(\d{1,9})(s|m|h|d|w|y)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Duration:
    """A count and a unit: `d` is 24 hours, `w` seven of them, `y` a calendar year (29 February goes to the 28th)."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError for anything but a positive whole number and one unit of s, m, h, d, w, y."""
        matched = _PATTERN.fullmatch(text.strip())
        if matched is None or int(matched[1]) == 0:
            raise ValueError(f"{text!r} is not a duration; write a whole number and a unit, such as 90d, 12h or 10y")
        return cls(int(matched[1]), matched[2])

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    def after(self, moment: datetime) -> datetime:
        """Raises ValueError beyond the year 9999."""
        if self.unit != "y":
            try:
                return moment + timedelta(seconds=self.count * _SECONDS[self.unit])
            except OverflowError:
                raise ValueError(f"{self} after {moment:%Y-%m-%d} lies beyond the year 9999") from None
        year = moment.year + self.count
        if year > 9999:
            raise ValueError(f"{self} after {moment:%Y-%m-%d} lies beyond the year 9999")
        day = min(moment.day, calendar.monthrange(year, moment.month)[1])
        return moment.replace(year=year, day=day)

    @property
    def seconds(self) -> int:
        """For comparing and for intervals; a year counts 365.25 days here."""
        return self.count * _SECONDS[self.unit] if self.unit != "y" else int(self.count * 365.25 * 86400)
