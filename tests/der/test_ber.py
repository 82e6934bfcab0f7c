"""BER becomes the DER that it could have been, and a bomb becomes Malformed before it costs anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.ber import MOST_ELEMENTS, join_octets, make_definite
from pkiconf.der.tlv import encode_tlv
from pkiconf.errors import Malformed
from tests.der.ber import to_ber

_LEAVES = st.builds(encode_tlv, st.sampled_from([0x02, 0x04, 0x05, 0x06, 0x13, 0x81]), st.binary(max_size=90))
_TREES = st.recursive(
    _LEAVES, lambda inner: st.builds(lambda tag, parts: encode_tlv(tag, b"".join(parts)),
                                     st.sampled_from([0x30, 0x31, 0xA0, 0xA1]), st.lists(inner, max_size=4)),
    max_leaves=20,
)  # fmt: skip


@given(_TREES)
def test_what_was_made_indefinite_is_again_what_it_was(der: bytes) -> None:
    assert make_definite(der, "it") == der
    assert make_definite(to_ber(der), "it") == der


@pytest.mark.parametrize(
    ("ber", "der"),
    [
        ("30800000", "3000"),
        ("308002010100 00", "3003020101"),
        ("3081030201 01", "3003020101"),
        ("2480040161040162 0000", "04026162"),
        ("24060401610401 62", "04026162"),
        ("24802480040161 0000 040162 0000", "04026162"),
        ("a080040161 0000", "a003040161"),
    ],
)
def test_by_hand(ber: str, der: str) -> None:
    assert make_definite(bytes.fromhex(ber.replace(" ", "")), "it").hex() == der


@pytest.mark.parametrize(
    "octets",
    ["", "30", "3080", "30800201", "3080020101", "308002010100", "300302", "0480", "048004016100 00", "3003020101 00",
     "308500000000 01", "1f8101 00", "24800201010000", "3006040161", "30ff", "3080000000"],
)  # fmt: skip
def test_what_is_none(octets: str) -> None:
    with pytest.raises(Malformed):
        make_definite(bytes.fromhex(octets.replace(" ", "")), "it")


@pytest.mark.parametrize(
    "bomb",
    [b"\x30\x80" * 70 + b"\0\0" * 70, b"\x24\x80" * 10_000, b"\x30\x80" + b"\x05\x00" * MOST_ELEMENTS + b"\0\0"],
)
def test_bombs(bomb: bytes) -> None:
    with pytest.raises(Malformed, match="nested too deep, or has too many parts"):
        make_definite(bomb, "it")


def test_what_is_deep_but_honest_is_read() -> None:
    assert make_definite(b"\x30\x80" * 60 + b"\0\0" * 60, "it")


def test_a_string_of_something_else() -> None:
    with pytest.raises(Malformed, match="made of something else"):
        join_octets(b"\x02\x01\x01", "it")
