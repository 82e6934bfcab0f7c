"""OCSP requests as nearly all clients write them, read by hand: about one certificate, with nothing else but a nonce.

Whatever is otherwise in any octet, be it well formed or not, is nothing to this reader, and left to the full one.
"""

from __future__ import annotations

from typing import Final

from pkiconf.der import oids
from pkiconf.der.tlv import INTEGER, OCTET_STRING, SEQUENCE, encode_sequence

_EXTENSIONS: Final = 0xA2
_NONCE: Final = oids.encode_oid(oids.OCSP_NONCE)
_NULL: Final = b"\x05\x00"
_HASHES: Final = {
    encode_sequence((oids.encode_oid(oid), parameters)): (name, size)
    for oid, name, size in ((oids.SHA1, "sha1", 20), (oids.SHA256, "sha256", 32))
    for parameters in (_NULL, b"")
}

Usual = tuple[tuple[bytes, str, bytes, bytes, int], bytes | None]
"""The CertID: as it came, its hash's name, both hashes, the serial number. And the nonce's extnValue."""


def read_usual(data: bytes) -> Usual | None:
    """None for any other request."""
    size = len(data)
    try:
        request = _enter(data, 0, SEQUENCE, size)
        tbs = _enter(data, request, SEQUENCE, size)
        at, listed = _open(data, tbs, SEQUENCE)
        asked = _enter(data, at, SEQUENCE, listed)
        at = _enter(data, asked, SEQUENCE, listed)
        behind = at + 2 + data[at + 1]
        algorithm = data[at:behind]
        name, length = _HASHES[algorithm]
        first, second = behind + 2, behind + 4 + length
        serial = second + length
        # Both hashes have the hash's length, so their headers are known.
        if data[behind:first] != data[second - 2 : second] or data[behind:first] != bytes((OCTET_STRING, length)):
            return None
        start = _enter(data, serial, INTEGER, listed)
        if (
            data[start] >= 0x80
            or start == listed
            or (data[start] == 0 and start + 1 < listed and data[start + 1] < 0x80)
        ):
            return None  # a negative one, none, or one that is longer than it needs to be
        nonce = None if listed == size else _nonce(data, listed, size)
    except (IndexError, KeyError):
        return None
    number = int.from_bytes(data[start:listed], "big")
    hashes = data[first : first + length], data[second:serial]
    return (data[asked:listed], name, *hashes, number), nonce


def _nonce(data: bytes, at: int, end: int) -> bytes:
    for tag in (_EXTENSIONS, SEQUENCE, SEQUENCE):
        at = _enter(data, at, tag, end)
    if data[at : at + len(_NONCE)] != _NONCE:
        raise KeyError
    return data[_enter(data, at + len(_NONCE), OCTET_STRING, end) : end]


def _enter(data: bytes, at: int, tag: int, end: int) -> int:
    """Where the content of an element begins that ends at `end`. Raises KeyError for another one."""
    start, found = _open(data, at, tag)
    if found != end:
        raise KeyError
    return start


def _open(data: bytes, at: int, tag: int) -> tuple[int, int]:
    size = data[at + 1]
    if data[at] != tag:
        raise KeyError
    if size < 0x80:
        return at + 2, at + 2 + size
    # A length of two octets is one that needs them.
    if size != 0x81 or data[at + 2] < 0x80:
        raise KeyError
    return at + 3, at + 3 + data[at + 2]
