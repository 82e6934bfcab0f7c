"""BER as others send it, made DER enough to be read: definite lengths, strings in one piece (X.690 §8.1.3.6, §8.7.3).

Apple's and some Java clients write CMS with indefinite lengths and octet strings in pieces. What was definite and
short stays as it is, octet by octet, so a signature over it holds; members of a SET keep their order.
"""

from __future__ import annotations

from typing import Final

from pkiconf.der.tlv import CONSTRUCTED, DEPTH_LIMIT, OCTET_STRING, encode_tlv, read_elements
from pkiconf.errors import Malformed

MOST_ELEMENTS: Final = 20_000
"""An honest message has some hundred; each costs a microsecond, and a bomb is nothing but elements."""

_INDEFINITE: Final = 0x80
_LONGEST_LENGTH: Final = 4


def make_definite(data: bytes, what: str) -> bytes:
    """The one element that `data` is. Raises Malformed for what ends too early, is followed by more, is nested more
    than 64 levels deep or has more than 20,000 elements."""
    converted, end = _Conversion(data, what).element(0, len(data), 0)
    if end != len(data):
        raise Malformed(f"{what} is followed by {len(data) - end} more octets")
    return converted


class _Conversion:
    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._seen = 0

    def element(self, at: int, limit: int, depth: int) -> tuple[bytes, int]:
        """The element at `at`, which ends before `limit`, and where the next one begins."""
        self._seen += 1
        if depth > DEPTH_LIMIT or self._seen > MOST_ELEMENTS:
            raise Malformed(f"{self._what} is nested too deep, or has too many parts")
        if at + 2 > limit:
            raise self._cut_off()
        tag = self._data[at]
        if tag & 0x1F == 0x1F:
            raise Malformed(f"{self._what} holds a tag number above 30")
        if self._data[at + 1] == _INDEFINITE:
            if not tag & CONSTRUCTED:
                raise Malformed(f"{self._what} holds a primitive element of indefinite length")
            parts, end = self._until_end_mark(at + 2, limit, depth)
            return self._joined(tag, parts), end
        start, end = self._extent(at, limit)
        if not tag & CONSTRUCTED:
            return encode_tlv(tag, self._data[start:end]), end
        parts = []
        while start < end:
            part, start = self.element(start, end, depth + 1)
            parts.append(part)
        return self._joined(tag, parts), end

    def _until_end_mark(self, at: int, limit: int, depth: int) -> tuple[list[bytes], int]:
        parts = []
        while self._data[at : at + 2] != b"\0\0" or at + 2 > limit:
            part, at = self.element(at, limit, depth + 1)
            parts.append(part)
        return parts, at + 2

    def _extent(self, at: int, limit: int) -> tuple[int, int]:
        start, size = at + 2, self._data[at + 1]
        if size & 0x80:
            count = size & 0x7F
            if count > _LONGEST_LENGTH:
                raise Malformed(f"{self._what} has a length of {count} octets")
            start, size = start + count, int.from_bytes(self._data[start : start + count])
        if start + size > limit:
            raise self._cut_off()
        return start, start + size

    def _joined(self, tag: int, parts: list[bytes]) -> bytes:
        content = b"".join(parts)
        if tag != OCTET_STRING | CONSTRUCTED:
            return encode_tlv(tag, content)
        return encode_tlv(OCTET_STRING, join_octets(content, self._what))

    def _cut_off(self) -> Malformed:
        return Malformed(f"{self._what} ends in the middle of an element")


def join_octets(content: bytes, what: str) -> bytes:
    """The octets of a string that lies there in pieces, each an OCTET STRING in one piece. Raises Malformed."""
    pieces = read_elements(content, what)
    if any(piece.tag != OCTET_STRING for piece in pieces):
        raise Malformed(f"{what} has an octet string that is made of something else")
    return b"".join(piece.content for piece in pieces)
