"""When to renew (RFC 9773): certificate identifiers read, windows computed. Times are epoch seconds."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from pkiconf.model.acme import ACMEProblem, ProblemType, RenewalWindow

RETRY_AFTER: Final = 6 * 3600
_SHORTEST_RETRY: Final = 60
_PAST: Final = 3600
_SOON: Final = 86400
_LONGEST_SERIAL: Final = 21  # 20 octets (RFC 5280 §4.1.2.2), and one for the sign


def parse_certificate_id(text: str) -> tuple[bytes, bytes]:
    """Key identifier and serial number (without its sign octet) of a certificate identifier (§4.1).

    Raises ACMEProblem `malformed` for another form: padding, wrong characters, a serial below one.
    """
    first, dot, second = text.partition(".")
    key_identifier, serial = _octets(first), _octets(second)
    if not dot or not key_identifier or not serial or not _is_serial(serial):
        raise ACMEProblem(
            ProblemType.MALFORMED,
            f"{text[:100]!r} is no certificate identifier: it has to be base64url(AKI keyIdentifier) '.' "
            "base64url(serial), without padding (RFC 9773 §4.1)",
        )
    return key_identifier, serial.lstrip(b"\0")


def _is_serial(content: bytes) -> bool:
    """The content of a DER INTEGER above zero: a leading zero only before a set bit."""
    if len(content) > _LONGEST_SERIAL or content[0] & 0x80:
        return False
    return content[0] != 0 or (len(content) > 1 and bool(content[1] & 0x80))


def _octets(text: str) -> bytes | None:
    if "=" in text or not text.isascii():
        return None
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The bits that are left over must be zero: one certificate has one identifier.
    return octets if base64.urlsafe_b64encode(octets).rstrip(b"=").decode() == text else None


def certificate_id(key_identifier: bytes, serial: bytes) -> str:
    """What `parse_certificate_id` reads; `serial` without a sign octet."""
    signed = b"\0" + serial if serial[0] & 0x80 else serial
    return f"{_text(key_identifier)}.{_text(signed)}"


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What a window is computed from. `ended_at`: since when it is revoked or held; `superseded_at`: since when its
    authority has another key; `issuer_end`: the end of the chain above it."""

    not_before: int
    not_after: int
    ended_at: int | None = None
    superseded_at: int | None = None
    issuer_end: int | None = None


def renewal_window(life: Lifetime, now: int) -> RenewalWindow:
    """Around two thirds of the validity; a day from when its authority rolled over; in the past once it ended.

    A window never depends on `now` alone: a client that asks each hour would otherwise be told "later" each time.
    """
    end_of_use = life.not_after if life.issuer_end is None else min(life.not_after, life.issuer_end)
    length = max(end_of_use - life.not_before, 3)
    if life.ended_at is not None:
        end = min(life.ended_at, now - 1)
        return RenewalWindow(end - _PAST, end, _retry(length))
    start, end = _usual(life.not_before, length)
    if life.superseded_at is not None and life.superseded_at < start:
        start = max(life.superseded_at, life.not_before)
        end = min(start + _SOON, max(end_of_use, start + 1))
    return RenewalWindow(start, end, _retry(length))


def _usual(not_before: int, length: int) -> tuple[int, int]:
    """A thirtieth of the validity wide, so that what was issued together is not renewed together."""
    middle, width = not_before + length * 2 // 3, max(length // 30, 1)
    return middle - width // 2, middle - width // 2 + width


def _retry(length: int) -> int:
    return max(min(RETRY_AFTER, length // 10), _SHORTEST_RETRY)
