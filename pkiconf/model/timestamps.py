"""Timestamps in the words of RFC 3161."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far a genTime may be from the true time, in microseconds."""

    microseconds: int

    def __str__(self) -> str:
        """As it is declared: `1s`, `500ms`, `20us`."""
        if self.microseconds % 1_000_000 == 0:
            return f"{self.microseconds // 1_000_000}s"
        return f"{self.microseconds // 1000}ms" if self.microseconds % 1000 == 0 else f"{self.microseconds}us"
