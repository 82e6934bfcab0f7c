"""The lines of a CRL (RFC 5280 §5.3), as raw octets: a million of them is a concatenation, never a million objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from pkiconf.der import oids
from pkiconf.der.extension_list import encode_extension, parse_extensions
from pkiconf.der.reader import Reader, iterate_elements, parse_integer
from pkiconf.der.times import (
    GENERALIZED_TIME,
    UTC_TIME,
    encode_epoch,
    encode_generalized_time,
    encode_time,
    parse_time,
)
from pkiconf.der.tlv import INTEGER, SEQUENCE, encode_sequence, encode_tlv, read_element
from pkiconf.errors import Malformed
from pkiconf.model.certificate import Extension
from pkiconf.model.revocation import RevocationReason, RevokedEntry

_ENUMERATED: Final = 0x0A
_REMOVE_FROM_CRL: Final = 8
_USUAL_SERIAL: Final = 19
_DAY: Final = 86400


def _reason_extension(reason: RevocationReason) -> bytes:
    # RFC 5280 §5.3.1: unspecified is said by leaving the extension out.
    if reason is RevocationReason.UNSPECIFIED:
        return b""
    return encode_extension(Extension(oids.CRL_REASON, False, encode_tlv(_ENUMERATED, bytes((reason.code,)))))


_REASONS: Final = {reason: _reason_extension(reason) for reason in RevocationReason}
_REMOVAL: Final = encode_sequence(
    (encode_extension(Extension(oids.CRL_REASON, False, bytes((_ENUMERATED, 1, _REMOVE_FROM_CRL)))),)
)
# crlEntryExtensions with nothing but the reason: all that most entries have.
_REASONS_ALONE: Final = {reason: encode_sequence((der,)) if der else b"" for reason, der in _REASONS.items()}


def encode_crl_entry(
    serial: bytes | int,
    revoked_at: datetime | int,
    reason: RevocationReason = RevocationReason.UNSPECIFIED,
    invalidity_date: datetime | None = None,
) -> bytes:
    """One member of revokedCertificates. `serial` is a number or its big-endian octets without a sign octet,
    `revoked_at` a time or seconds since 1970.

    Raises ValueError for a negative serial, one of more than 20 octets, or a naive datetime.
    """
    number = int.from_bytes(serial, "big") if isinstance(serial, bytes) else serial
    size = number.bit_length() // 8 + 1  # one octet more where the top bit would read as a sign
    if number < 0 or number.bit_length() > 160:
        raise ValueError("a serial number is not negative and has at most 20 octets")
    extensions = _REASONS_ALONE[reason] if invalidity_date is None else _entry_extensions(reason, invalidity_date)
    moment = encode_epoch(revoked_at) if isinstance(revoked_at, int) else encode_time(revoked_at)
    body = b"\x02%c%b%b%b" % (size, number.to_bytes(size, "big"), moment, extensions)
    return b"\x30%c%b" % (len(body), body)  # at most 23 + 17 + 40 octets: the length fits one


_BY_CODE: Final = {reason.code: reason for reason in RevocationReason} | {None: RevocationReason.UNSPECIFIED}
Line = tuple[bytes, int, int | None, int | None]
"""Of a CRL: serial number as octets, seconds since 1970, CRLReason code, invalidity date in seconds since 1970."""


def encode_crl_entries(lines: Iterable[Line]) -> list[bytes]:
    """What `encode_crl_entry` makes of each, in a quarter of the time: in a list of a million, nearly all have serials
    of one length, and nothing else in a line takes many forms. Raises ValueError for a reason there is not."""
    made: list[bytes] = []
    add, join, clock, dates, around = made.append, b"".join, _times_of_day(), _Dates(), _Around()
    for serial, revoked_at, reason, invalidity_at in lines:
        if invalidity_at is None and len(serial) == _USUAL_SERIAL and 0 < serial[0] < 0x80:
            date = dates[revoked_at // _DAY]
            if date:
                head, tail = around[reason]
                add(join((head, serial, date, clock[revoked_at % _DAY], tail)))
                continue
        add(_unusual_entry(serial, revoked_at, reason, invalidity_at))
    return made


class _Dates(dict[int, bytes]):
    """Days since 1970 to what stands of a UTCTime before HHMMSSZ; empty for a day that is written otherwise."""

    def __missing__(self, day: int) -> bytes:
        whole = encode_epoch(day * _DAY)
        self[day] = found = whole[: -len("HHMMSSZ")] if whole[0] == UTC_TIME else b""
        return found


class _Around(dict[int | None, tuple[bytes, bytes]]):
    """A reason's code to what stands before a serial number of 19 octets, and behind the UTCTime that follows it."""

    def __missing__(self, code: int | None) -> tuple[bytes, bytes]:
        tail = _REASONS_ALONE[_reason(code)]
        size = 2 + _USUAL_SERIAL + len(b"\x17\x0dYYMMDDHHMMSSZ") + len(tail)
        self[code] = found = b"\x30%c\x02%c" % (size, _USUAL_SERIAL), tail
        return found


@lru_cache(maxsize=1)
def _times_of_day() -> tuple[bytes, ...]:
    """HHMMSSZ of each second of a day."""
    return tuple(b"%02d%02d%02dZ" % (n // 3600, n // 60 % 60, n % 60) for n in range(_DAY))


def _unusual_entry(serial: bytes, revoked_at: int, reason: int | None, invalidity_at: int | None) -> bytes:
    invalidity_date = None if invalidity_at is None else datetime.fromtimestamp(invalidity_at, UTC)
    return encode_crl_entry(serial, revoked_at, _reason(reason), invalidity_date)


def _reason(code: int | None) -> RevocationReason:
    try:
        return _BY_CODE[code]
    except KeyError:
        raise ValueError(f"no revocation reason has code {code}") from None


def encode_removal(serial: bytes | int, revoked_at: int) -> bytes:
    """A line of a delta CRL that takes a certificate off the list (§5.3.1): it was on hold, and no longer is."""
    plain = encode_crl_entry(serial, revoked_at)
    return encode_sequence((plain[2:], _REMOVAL))


def _entry_extensions(reason: RevocationReason, invalidity_date: datetime) -> bytes:
    # RFC 5280 §5.3.2: the invalidity date is always GeneralizedTime.
    date = Extension(oids.INVALIDITY_DATE, False, encode_generalized_time(invalidity_date))
    return encode_sequence((_REASONS[reason], encode_extension(date)))


# The sizes that entries with 19 octets of serial number have, with a reason and without, are tried first.
_SIZES: Final = dict.fromkeys((50, 36, *range(0x80)))
_ENTRY: Final = re.compile(b"\x30(?:%b)" % b"|".join(rb"\x%02x.{%d}" % (size, size) for size in _SIZES), re.DOTALL)
_WINDOW: Final = 1 << 20


def split_entries(content: bytes, what: str) -> Iterator[Sequence[bytes]]:
    """The entries that `content` is a concatenation of, as their octets, some thousands at a time: of a million in a
    fifth of the time that one by one they take. Raises Malformed."""
    at = 0
    while at < len(content):
        found = _ENTRY.findall(content, at, at + _WINDOW)
        octets = sum(map(len, found))
        # What is found further behind than where it has to begin is none.
        if not found or content[at : at + octets] != b"".join(found):
            yield list(iterate_elements(content[at:], what))
            return
        yield found
        at += octets


def serial_of_entry(entry: bytes) -> bytes:
    """The serial number of one of our own entries: octets, without a sign octet."""
    return entry[4 : 4 + entry[3]].lstrip(b"\0") or b"\0"


def parse_crl_entry(der: bytes, in_delta: bool = False) -> RevokedEntry:
    """One line of a CRL. Raises Malformed, for removeFromCRL too unless it stands on a delta CRL."""
    reader = Reader.over(der, "a CRL entry")
    serial_number = parse_integer(reader.take(INTEGER), "the serial number of a CRL entry")
    if serial_number < 0 or serial_number.bit_length() > 160:
        raise Malformed("a CRL entry has a serial number that is negative or has more than 20 octets")
    revoked_at = parse_time(reader.take(UTC_TIME, GENERALIZED_TIME), "a CRL entry")
    listed = reader.take_optional(SEQUENCE)
    reader.close()
    reason, invalidity_date, removed = RevocationReason.UNSPECIFIED, None, False
    for extension in parse_extensions(listed, "a CRL entry") if listed else ():
        if extension.oid == oids.CRL_REASON:
            removed = in_delta and extension.value == bytes((_ENUMERATED, 1, _REMOVE_FROM_CRL))
            reason = reason if removed else _parse_reason(extension.value)
        elif extension.oid == oids.INVALIDITY_DATE:
            invalidity_date = parse_time(read_element(extension.value, "an invalidity date"), "an invalidity date")
        elif extension.critical:
            # certificateIssuer makes the entry another CA's: reading on would revoke the wrong certificate.
            raise Malformed(f"a CRL entry has the critical extension {extension.oid}, which is not understood")
    return RevokedEntry(serial_number, revoked_at, reason, invalidity_date, removed)


def _parse_reason(value: bytes) -> RevocationReason:
    code = read_element(value, "a CRL reason", _ENUMERATED).content
    if code == bytes((_REMOVE_FROM_CRL,)):
        raise Malformed("a CRL entry says removeFromCRL", "It belongs on delta CRLs only; give the full CRL")
    try:
        return RevocationReason.from_code(int.from_bytes(code, "big"))
    except ValueError:
        raise Malformed(f"a CRL entry has the reason 0x{code.hex()}, which RFC 5280 does not know") from None
