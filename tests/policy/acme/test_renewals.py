"""Renewal windows and certificate identifiers (RFC 9773)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.policy.acme.renewals import Lifetime, certificate_id, parse_certificate_id, renewal_window

DAY = 86400
START = 1_900_000_000
EXAMPLE = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"  # RFC 9773 §4.1


def test_the_example_of_the_rfc() -> None:
    key_identifier, serial = parse_certificate_id(EXAMPLE)
    assert key_identifier.hex() == "69885b6b87464041e1b37b847ba0ae2cde01c8d4"
    assert serial.hex() == "87654321"
    assert certificate_id(key_identifier, serial) == EXAMPLE


@given(st.binary(min_size=1, max_size=32), st.integers(1, (1 << 160) - 1))
def test_what_is_written_is_read(key_identifier: bytes, number: int) -> None:
    serial = number.to_bytes((number.bit_length() + 7) // 8)
    assert parse_certificate_id(certificate_id(key_identifier, serial)) == (key_identifier, serial)


@pytest.mark.parametrize(
    "text",
    ["", ".", "aYhb", "aYhb.", ".AIdl", "aYhb.AIdl.AIdl", "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE", "aY hb.AIdl",
     "aYhb.AIdlQyE=", "aYhb.AA", "aYhb.AAEC", "aYhb.h2VDIQ", "aYhb./+8", "aYhb.AIdlQyF", "é.AIdl", "aYhb.\n",
     "aYhb." + "AIdl" * 10, "../../etc/passwd", "aYhb.AB\0"],
)  # fmt: skip
def test_what_is_no_certificate_identifier(text: str) -> None:
    with pytest.raises(ACMEProblem) as caught:
        parse_certificate_id(text)
    assert caught.value.problem.type is ProblemType.MALFORMED


def test_around_two_thirds() -> None:
    window = renewal_window(Lifetime(START, START + 90 * DAY), START)
    assert (window.start, window.end) == (START + 60 * DAY - 3 * DAY // 2, START + 60 * DAY + 3 * DAY // 2)
    assert window.retry_after == 6 * 3600


def test_the_window_stands_still_while_time_passes() -> None:
    life = Lifetime(START, START + 90 * DAY)
    moments = range(START, START + 100 * DAY, DAY)
    assert len({(renewal_window(life, now).start, renewal_window(life, now).end) for now in moments}) == 1


def test_revoked_and_held_ones_lie_in_the_past() -> None:
    for now in (START + DAY, START + 2 * DAY):
        window = renewal_window(Lifetime(START, START + 90 * DAY, ended_at=START + DAY), now)
        assert window.start < window.end < now


def test_after_a_rollover_within_a_day() -> None:
    rolled = START + 10 * DAY
    window = renewal_window(Lifetime(START, START + 90 * DAY, superseded_at=rolled), rolled)
    assert (window.start, window.end) == (rolled, rolled + DAY)
    assert renewal_window(Lifetime(START, START + 90 * DAY, superseded_at=rolled), rolled + 5 * DAY) == window


def test_a_rollover_after_the_window_changes_nothing() -> None:
    late = Lifetime(START, START + 90 * DAY, superseded_at=START + 80 * DAY)
    assert renewal_window(late, START) == renewal_window(Lifetime(START, START + 90 * DAY), START)


def test_an_issuer_that_ends_earlier_counts() -> None:
    cut = renewal_window(Lifetime(START, START + 90 * DAY, issuer_end=START + 30 * DAY), START)
    assert cut == renewal_window(Lifetime(START, START + 30 * DAY), START)


@given(
    st.integers(0, 20 * 365 * DAY),
    st.none() | st.integers(0, 20 * 365 * DAY),
    st.none() | st.integers(0, 20 * 365 * DAY),
    st.none() | st.integers(0, 20 * 365 * DAY),
    st.integers(0, 30 * 365 * DAY),
)
def test_a_window_is_a_window(
    length: int, ended: int | None, superseded: int | None, issuer: int | None, passed: int
) -> None:
    """`end` after `start`, and one that has ended is always due."""
    now = START + passed

    def at(offset: int | None) -> int | None:
        return None if offset is None else START + offset

    if ended is not None and ended > passed:
        ended = passed
    window = renewal_window(Lifetime(START, START + length, at(ended), at(superseded), at(issuer)), now)
    assert window.start < window.end
    assert window.retry_after >= 60
    if ended is not None:
        assert window.end < now
