"""Bytes that never print."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Secret:
    """Bytes that never print. `reveal()` is easy to find in a review; comparison takes constant time."""

    _value: bytes = field(repr=False)

    def reveal(self) -> bytes:
        return self._value

    def matches(self, other: bytes) -> bool:
        return hmac.compare_digest(self._value, other)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__
