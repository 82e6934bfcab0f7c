from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.times import encode_epoch, encode_generalized_time, encode_time, parse_time
from pkiconf.der.tlv import Element, read_element
from pkiconf.errors import Malformed

SECONDS = st.integers(-2_208_988_800, 32_503_680_000)  # 1900 to 3000


@given(SECONDS)
def test_times_are_as_others_encode_them(second: int) -> None:
    moment = datetime.fromtimestamp(second, UTC)
    assert encode_generalized_time(moment) == asn1.encode_der(asn1.GeneralizedTime(moment))
    kind = asn1.UTCTime if 1950 <= moment.year < 2050 else asn1.GeneralizedTime
    assert encode_time(moment) == encode_epoch(second) == asn1.encode_der(kind(moment))
    assert parse_time(read_element(encode_time(moment), "a time"), "a time") == moment


def test_the_century_turns_at_fifty() -> None:
    assert encode_time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)) == b"\x17\x0d491231235959Z"
    assert encode_time(datetime(2050, 1, 1, tzinfo=UTC)) == b"\x18\x0f20500101000000Z"
    assert parse_time(Element(0x17, b"500101000000Z", b""), "a time").year == 1950
    assert parse_time(Element(0x17, b"491231235959Z", b""), "a time").year == 2049


def test_other_zones_are_converted() -> None:
    there = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert encode_time(there) == b"\x17\x0d251231233000Z"
    assert encode_generalized_time(there) == b"\x18\x0f20251231233000Z"


def test_naive_times_are_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the case
    for encode in (encode_time, encode_generalized_time):
        with pytest.raises(ValueError, match="naive"):
            encode(naive)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (0x17, b""),
        (0x17, b"2601011200Z"),
        (0x17, b"260101120000"),
        (0x17, b"260101120000+0000"),
        (0x17, b"20260101120000Z"),
        (0x17, b"260132120000Z"),
        (0x17, b"260101240000Z"),
        (0x17, b"260101235960Z"),
        (0x17, "２６0101120000Z".encode()),
        (0x18, b"20260101120000.5Z"),
        (0x18, b"20260101120000,5Z"),
        (0x18, b"2026010112Z"),
        (0x18, b"00000101000000Z"),
        (0x18, b"20260101120000Z\n"),
        (0x0C, b"260101120000Z"),
    ],
)
def test_other_forms_are_refused(tag: int, text: bytes) -> None:
    with pytest.raises(Malformed, match="a time"):
        parse_time(Element(tag, text, b""), "a time")
