"""What servers of time say of this machine's clock (RFC 5905)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeSample:
    """The clock of `server` is `offset` microseconds ahead of ours, give or take `error`."""

    server: str
    offset: int
    error: int

    @property
    def furthest(self) -> int:
        """How far our clock may be off if this server is right."""
        return abs(self.offset) + self.error


@dataclass(frozen=True, slots=True)
class TimeSilence:
    """A server that said nothing usable, and why."""

    server: str
    why: str


TimeAnswer = TimeSample | TimeSilence
