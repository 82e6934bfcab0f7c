"""DER made into the BER that others send: lengths without an end, strings in pieces."""

from __future__ import annotations

_PIECE = 37


def to_ber(der: bytes) -> bytes:
    """The same value with every constructed element of indefinite length and every OCTET STRING in pieces, and so the
    implicit one of encrypted content."""
    parts, at = [], 0
    while at < len(der):
        tag, start, end = _header(der, at)
        content = der[start:end]
        if tag & 0x20:
            parts.append(bytes([tag, 0x80]) + to_ber(content) + b"\0\0")
        elif tag in (0x04, 0x80):
            pieces = b"".join(_octets(content[i : i + _PIECE]) for i in range(0, len(content), _PIECE))
            parts.append(bytes([tag | 0x20, 0x80]) + pieces + b"\0\0")
        else:
            parts.append(der[at:end])
        at = end
    return b"".join(parts)


def _octets(piece: bytes) -> bytes:
    return bytes([0x04, len(piece)]) + piece


def _header(der: bytes, at: int) -> tuple[int, int, int]:
    first = der[at + 1]
    if first < 0x80:
        return der[at], at + 2, at + 2 + first
    count = first & 0x7F
    start = at + 2 + count
    return der[at], start, start + int.from_bytes(der[at + 2 : start])
