"""Timestamps in the words of RFC 3161."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class PKIStatus(IntEnum):
    """RFC 3161 §2.4.2. A token comes with the first two, and with no other."""

    GRANTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5


class FailureInfo(IntEnum):
    """PKIFailureInfo: the number of the bit (RFC 3161 §2.4.2)."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far a genTime may be from the true time, in microseconds."""

    microseconds: int

    def __str__(self) -> str:
        """As it is declared: `1s`, `500ms`, `20us`."""
        if self.microseconds % 1_000_000 == 0:
            return f"{self.microseconds // 1_000_000}s"
        return f"{self.microseconds // 1000}ms" if self.microseconds % 1000 == 0 else f"{self.microseconds}us"
