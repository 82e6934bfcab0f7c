from __future__ import annotations

import pytest

from pkiconf.der.reader import Reader, iterate_elements, parse_bit_string, parse_integer, unwrap
from pkiconf.der.tlv import INTEGER, NULL, OCTET_STRING, Element, read_element
from pkiconf.errors import Malformed

PAIR = b"\x30\x06\x02\x01\x05\x04\x01a"


def test_members_are_taken_in_order() -> None:
    reader = Reader.over(PAIR, "the pair")
    assert reader.take_optional(NULL) is None
    assert reader.take(INTEGER).content == b"\x05"
    found = reader.take_optional(OCTET_STRING, NULL)
    assert found is not None
    assert found.content == b"a"
    assert reader.take_optional(OCTET_STRING) is None
    reader.close()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(Malformed, match="0x02 where 0x04 or 0x05 belongs"):
        Reader.over(PAIR, "the pair").take(OCTET_STRING, NULL)
    with pytest.raises(Malformed, match="the pair has a field too many"):
        Reader.over(PAIR, "the pair").close()
    with pytest.raises(Malformed, match="the pair ends before its last field"):
        Reader.over(b"\x30\x00", "the pair").take()
    with pytest.raises(Malformed, match="SEQUENCE"):
        Reader.over(b"\x31" + PAIR[1:], "the pair")


@pytest.mark.parametrize("der", [b"", b"\x30", PAIR[:-1], PAIR + b"\0", b"\x30\x80\0\0", b"\x30\x81\x00"])
def test_what_is_not_one_element_is_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        Reader.over(der, "the pair")


@pytest.mark.parametrize("der", [b"\x02\x00", b"\x02\x02\x00\x05", b"\x02\x02\xff\xff", b"\x04\x01\x05"])
def test_numbers_have_their_shortest_form(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_integer(read_element(der, "a number"), "a number")


def test_numbers_have_a_sign() -> None:
    assert parse_integer(read_element(b"\x02\x01\xff", "a number"), "a number") == -1
    assert parse_integer(read_element(b"\x02\x02\x00\xff", "a number"), "a number") == 255


@pytest.mark.parametrize("element", [Element(3, b"", b""), Element(3, b"\x01\x80", b""), Element(4, b"\0a", b"")])
def test_bit_strings_are_whole_octets(element: Element) -> None:
    with pytest.raises(Malformed):
        parse_bit_string(element, "the signature")


def test_wrapping_holds_one_element() -> None:
    assert unwrap(Element(0xA0, b"\x05\x00", b""), "the wrapping").tag == NULL
    for content in (b"", b"\x05\x00\x05\x00", b"\x05"):
        with pytest.raises(Malformed):
            unwrap(Element(0xA0, content, b""), "the wrapping")


def test_elements_are_handed_out_one_by_one_until_one_is_broken() -> None:
    elements = iterate_elements(b"\x05\x00\x02\x01\x05\x04\x05a", "the list")
    assert next(elements) == b"\x05\x00"
    assert next(elements) == b"\x02\x01\x05"
    with pytest.raises(Malformed, match="the list"):
        next(elements)
