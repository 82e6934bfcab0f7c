"""Serial numbers: their shape, and how people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.entropy import SystemEntropy
from pkiconf.errors import Malformed
from pkiconf.policy.serials import bucket_of, make_serial, parse_serial_text, serial_bytes, serial_text

NOT_AFTER = datetime(2026, 5, 30, 11, 59, 59, tzinfo=UTC)
DAY = timedelta(days=1)
serials = st.integers(1, 2**160 - 1)
ends = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC))  # noqa: DTZ001


class Repeated:
    """Entropy that gives one octet over and over."""

    def __init__(self, octet: int) -> None:
        self.octet = octet

    def token(self, size: int) -> bytes:
        return bytes([self.octet]) * size


@given(ends, st.integers(0, 255))
def test_a_serial_is_nineteen_octets_and_positive(not_after: datetime, octet: int) -> None:
    octets = serial_bytes(make_serial(Repeated(octet), not_after))
    assert len(octets) == 19
    assert 0x40 <= octets[0] <= 0x7F
    assert octets[3:] == bytes([octet]) * 16


@given(ends)
def test_the_bucket_is_the_day_on_which_the_certificate_ends(not_after: datetime) -> None:
    days = (not_after - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert bucket_of(make_serial(SystemEntropy(), not_after)) == days


def test_today_the_bucket_fills_the_two_octets_after_the_first() -> None:
    octets = serial_bytes(make_serial(Repeated(0), NOT_AFTER))
    assert octets[0] == 0x40
    assert int.from_bytes(octets[1:3]) == bucket_of(int.from_bytes(octets))


def test_serials_of_later_ends_are_greater() -> None:
    made = [make_serial(SystemEntropy(), NOT_AFTER + day * DAY) for day in range(400)]
    assert all(earlier < later for earlier, later in pairwise(made))


def test_no_serial_comes_twice() -> None:
    assert len({make_serial(SystemEntropy(), NOT_AFTER) for _ in range(2000)}) == 2000


@pytest.mark.parametrize("serial", [1, 0x80 << 144, 0x3F << 144, 0x41 << 152, 0x41 << 136, 2**160 - 1])
def test_serials_of_another_shape_have_bucket_zero(serial: int) -> None:
    assert bucket_of(serial) == 0


@given(serials)
def test_every_way_of_writing_a_serial_is_read(serial: int) -> None:
    octets = serial_bytes(serial).hex()
    colons = ":".join(octets[i : i + 2] for i in range(0, len(octets), 2))
    hexes = [octets, octets.upper()] if not octets.startswith("0d") else []
    for text in (*hexes, f"0x{octets}", f"0X{octets}", colons, colons.upper(), f"decimal:{serial}", f" {colons}\n"):
        assert parse_serial_text(text) == serial


def test_digits_alone_are_hex_as_openssl_prints_them() -> None:
    assert parse_serial_text("1000") == 0x1000


def test_a_serial_of_ours_in_decimal_is_recognised_by_its_length() -> None:
    serial = make_serial(SystemEntropy(), NOT_AFTER)
    assert parse_serial_text(str(serial)) == serial


@pytest.mark.parametrize(
    ("text", "serial"), [("0d123", 123), ("0D1", 1), (f"0d{2**159}", 2**159), ("0d0a12", 0x0D0A12)]
)
def test_decimal_with_its_short_prefix_where_it_cannot_be_hex(text: str, serial: int) -> None:
    assert parse_serial_text(text) == serial


@pytest.mark.parametrize("text", ["0d12", "0D12", "0D0001", "0d" + "1" * 36])
def test_what_may_be_decimal_or_hex_is_not_guessed(text: str) -> None:
    with pytest.raises(Malformed, match="may be meant in decimal or in hex"):
        parse_serial_text(text)


@pytest.mark.parametrize("octet", [0x00, 0x11, 0xFF])
def test_a_serial_of_ours_is_read_as_it_is_printed(octet: int) -> None:
    serial = make_serial(Repeated(octet), NOT_AFTER)
    assert parse_serial_text(serial_text(serial)) == serial


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0x",
        "0",
        "00",
        "0d0",
        "decimal:",
        "decimal:0",
        "decimal:4a",
        "decimal:-1",
        "-1",
        "0d-1",
        "0d1_000",
        "xyz",
        "4A:",
        ":4A",
        "4A::1B",
        "4A:1",
        "4A 1B",
        "0x4A:1B",
        "１２３",
        "0d１２",
        "f" * 41,
        "0" * 100_000,
        f"0d{2**160}",
        str(2**160),
        "1" * 10_000,
    ],
)
def test_what_is_no_serial_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_serial_text(text)


@pytest.mark.parametrize("serial", [0, -1, 2**160])
def test_numbers_that_are_no_serial_have_no_octets(serial: int) -> None:
    with pytest.raises(Malformed):
        serial_bytes(serial)


def test_twenty_octets_are_the_most() -> None:
    assert len(serial_bytes(2**160 - 1)) == 20
