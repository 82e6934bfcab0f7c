"""Serial numbers: nineteen octets that nobody can guess and an index likes.

    octet 0      01xx xxxx: positive, never a leading zero; its low six bits are the bucket's high ones
    octets 1–2   the bucket's low sixteen bits: the day on which the certificate ends, counted from 1970
    octets 3–18  128 random bits (RFC 5280 §4.1.2.2 allows twenty octets; the CA/B Forum asks for 64 random bits)

Certificates that end together lie together, so that writes stay on few index pages and a partition follows
from the serial. The bucket is a day count in 22 bits: it passes the year 9999.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.entropy import Entropy
from pkiconf.errors import Malformed

SERIAL_SIZE: Final = 19
MAX_SERIAL_SIZE: Final = 20
_RANDOM_BITS: Final = 128
_BUCKET_BITS: Final = 22
_DAY: Final = 86400
_MARK: Final = 0b01 << _BUCKET_BITS
_MAX_HEX: Final = 2 * MAX_SERIAL_SIZE
_MAX_TEXT: Final = 3 * MAX_SERIAL_SIZE + 10

_COLONS: Final = re.compile(r"[0-9a-f]{1,2}(?::[0-9a-f]{2})*")
_HEX: Final = re.compile(r"(?:0x)?([0-9a-f]+)")


def make_serial(entropy: Entropy, not_after: datetime) -> int:
    """A new serial number for a certificate that ends at `not_after` (aware)."""
    return serial_ending(draw_serial(entropy), not_after)


def draw_serial(entropy: Entropy) -> int:
    """The random end of a serial number, for who has to know it before the certificate's own end is decided."""
    return int.from_bytes(entropy.token(_RANDOM_BITS // 8))


def serial_ending(drawn: int, not_after: datetime) -> int:
    """The serial number that ends as `drawn`, for a certificate that ends at `not_after` (aware)."""
    return (_MARK | max(to_epoch(not_after) // _DAY, 0)) << _RANDOM_BITS | drawn


def bucket_of(serial_number: int) -> int:
    """The day count in a serial of ours; 0 for any other shape (imported serials)."""
    head = serial_number >> _RANDOM_BITS
    return head & (_MARK - 1) if head >> _BUCKET_BITS == 1 else 0


def serial_bytes(serial_number: int) -> bytes:
    """Big-endian octets without a sign octet, as the database stores them. Raises Malformed beyond 1..20 octets."""
    size = (serial_number.bit_length() + 7) // 8
    if serial_number < 0 or not 1 <= size <= MAX_SERIAL_SIZE:
        raise Malformed(f"{serial_number} is not a serial number: it is positive and has at most 20 octets")
    return serial_number.to_bytes(size)


def serial_text(serial_number: int) -> str:
    """Upper-case hex with whole octets, as `openssl x509 -serial` prints it."""
    return serial_bytes(serial_number).hex().upper()


def parse_serial_text(text: str) -> int:
    """A serial as people write it: hex (`4A1B…`, `0x4a1b`), hex with colons (`4A:1B`) or decimal (`decimal:1234`,
    `0d1234`).

    Digits alone are hex, as openssl prints serials, unless there are more of them than twenty octets have hex
    digits: those can only be decimal. `0d12` could be the octets 0D 12 as well, and revoking the wrong one of two
    certificates is no small thing, so it is not guessed. Raises Malformed.
    """
    number = _number(text.strip().lower())
    if number is None:
        raise Malformed(
            f"{text[:80]!r} is not a serial number",
            "Write it in hex, in hex with colons, or in decimal as decimal:1234",
        )
    serial_bytes(number)
    return number


def _number(text: str) -> int | None:
    if len(text) > _MAX_TEXT or not text.isascii():
        return None
    if text.startswith("decimal:"):
        return _decimal(text.removeprefix("decimal:"))
    if text.startswith("0d") and text[2:].isdigit():
        if len(text) % 2 == 0 and len(text) <= _MAX_HEX:
            raise Malformed(
                f"{text!r} may be meant in decimal or in hex",
                f"Write decimal:{text[2:]}, or 0x{text} for the octets",
            )
        return _decimal(text[2:])
    if _COLONS.fullmatch(text):
        return int(text.replace(":", ""), 16)
    matched = _HEX.fullmatch(text)
    if matched is None:
        return None
    return int(text) if len(text) > _MAX_HEX and text.isdigit() else int(matched[1], 16)


def _decimal(digits: str) -> int | None:
    return int(digits) if digits.isdigit() else None
