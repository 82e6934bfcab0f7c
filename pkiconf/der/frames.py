"""Structures that are made again and again, with only some of their octets changed: the rest is encoded once.

A part is octets, or a number: a hole for so many octets. Holes of other sizes make another structure, because each
length around them may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from pkiconf.der.tlv import encode_header

Part: TypeAlias = bytes | int


def wrap(tag: int, *parts: Part) -> tuple[Part, ...]:
    """An element around these parts."""
    return encode_header(tag, sum(part if isinstance(part, int) else len(part) for part in parts)), *parts


def pieces(parts: Iterable[Part]) -> tuple[bytes, ...]:
    """The octets before, between and behind the holes."""
    found = [b""]
    for part in parts:
        if isinstance(part, int):
            found.append(b"")
        else:
            found[-1] += part
    return tuple(found)
