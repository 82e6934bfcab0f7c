"""Times as X.509 writes them (RFC 5280 §4.1.2.5): whole seconds, UTC, `Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from pkiconf.der.tlv import Element
from pkiconf.errors import Malformed

UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
_DAY: Final = 86400

# Formatting by table costs a quarter of strftime; a CRL holds up to a million times.
_TWO_DIGITS: Final = tuple(b"%02d" % number for number in range(100))
_FORMS: Final = {UTC_TIME: re.compile(rb"(\d\d)(\d{10})Z"), GENERALIZED_TIME: re.compile(rb"(\d{4})(\d{10})Z")}


def encode_time(moment: datetime) -> bytes:
    """The CHOICE Time: UTCTime from 1950 to 2049, GeneralizedTime outside. Raises ValueError for a naive datetime."""
    if moment.tzinfo is not UTC:
        moment = _as_utc(moment)
    if not 1950 <= moment.year < 2050:
        return encode_generalized_time(moment)
    two = _TWO_DIGITS
    return b"\x17\x0d%b%b%b%b%b%bZ" % (
        two[moment.year % 100], two[moment.month], two[moment.day],
        two[moment.hour], two[moment.minute], two[moment.second],
    )  # fmt: skip


def encode_epoch(seconds: int) -> bytes:
    """`encode_time` of seconds since 1970: in a long list many times lie on one day."""
    day, rest = divmod(seconds, _DAY)
    two = _TWO_DIGITS
    return b"%b%b%b%bZ" % (_up_to_hour(day), two[rest // 3600], two[rest // 60 % 60], two[rest % 60])


@lru_cache(maxsize=4096)
def _up_to_hour(day: int) -> bytes:
    """Tag, length and date."""
    return encode_time(datetime.fromtimestamp(day * _DAY, UTC))[: -len("HHMMSSZ")]


def encode_generalized_time(moment: datetime) -> bytes:
    """GeneralizedTime for any year. Raises ValueError for a naive datetime."""
    if moment.tzinfo is not UTC:
        moment = _as_utc(moment)
    two = _TWO_DIGITS
    return b"\x18\x0f%b%b%b%b%b%b%bZ" % (
        two[moment.year // 100], two[moment.year % 100], two[moment.month], two[moment.day],
        two[moment.hour], two[moment.minute], two[moment.second],
    )  # fmt: skip


def parse_time(element: Element, what: str) -> datetime:
    """A UTCTime or GeneralizedTime in the only form DER and RFC 5280 allow: seconds, no fraction, `Z`.

    Raises Malformed for any other form and for a day or hour that does not exist.
    """
    form = _FORMS.get(element.tag)
    found = form.fullmatch(element.content) if form else None
    if found is None:
        raise Malformed(f"{what} holds a time that is not written with seconds, without a fraction, in UTC")
    year = int(found[1])
    if element.tag == UTC_TIME:
        year += 1900 if year >= 50 else 2000
    month, day, hour, minute, second = (int(found[2][at : at + 2]) for at in range(0, 10, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"{what} holds a time that does not exist: {error}") from None


def _as_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("naive datetime")
    return moment.astimezone(UTC)
