from __future__ import annotations

import pytest
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der import oids
from pkiconf.der.tlv import (
    DEPTH_LIMIT,
    check_der,
    decode,
    encode_sequence,
    encode_set,
    encode_tlv,
    read_element,
    read_elements,
    read_sequence,
)
from pkiconf.errors import Malformed


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_octet_strings_of_every_length_form_are_as_others_encode_them(size: int) -> None:
    content = bytes(size)
    der = encode_tlv(0x04, content)
    assert der == asn1.encode_der(content)
    assert read_element(der, "it").content == content


@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (b"", "empty"),
        (b"\x30", "middle"),
        (b"\x30\x05\x01", "middle"),
        (b"\x30\x80\x00\x00", "indefinite"),
        (b"\x30\xff" + bytes(200), "length"),
        (b"\x30\x85\x01\x00\x00\x00\x00", "length"),
        (b"\x04\x81\x05hello", "shortest"),
        (b"\x04\x82\x00\x80" + bytes(128), "shortest"),
        (b"\x04\x82\x01", "length"),
        (b"\x1f\x81\x01\x00", "tag number"),
        (b"\x05\x00\x00", "1 more octets"),
        (b"\x05\x00\x05\x00", "2 more octets"),
    ],
)
def test_what_is_not_one_der_element_is_malformed(der: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=f"{reason}|middle"):
        read_element(der, "it")


def test_another_tag_than_the_wanted_one_is_malformed() -> None:
    with pytest.raises(Malformed, match="0x05 where 0x30"):
        read_sequence(b"\x05\x00", "it")


def test_sets_are_ordered_by_their_encodings() -> None:
    members = [encode_tlv(0x0C, text) for text in (b"bb", b"a", b"abc")]
    assert encode_set(members) == asn1.encode_der(asn1.SetOf(["bb", "a", "abc"]))


def test_a_sequence_gives_its_members_back() -> None:
    parts = [b"\x05\x00", b"\x02\x01\x07"]
    assert [member.der for member in read_sequence(encode_sequence(parts), "it")] == parts


def test_errors_of_the_engine_are_malformed_and_name_the_structure() -> None:
    with pytest.raises(Malformed, match="a number is not the DER"):
        decode(int, b"\x02\x02\x00\x01", "a number")


@pytest.mark.parametrize(
    "der",
    [b"\x30\x03\x02\x05\x01", b"\x30\x02\x30\x80", b"\x30\x04\x30\x01\x00\x00", b"\xa0\x01\x02", b"\x05\x00\x00"],
)
def test_a_flaw_deep_inside_is_found(der: bytes) -> None:
    with pytest.raises(Malformed):
        check_der(der, "it")


def test_nesting_has_an_end() -> None:
    der = b"\x05\x00"
    for _ in range(DEPTH_LIMIT - 1):
        der = encode_sequence([der])
    check_der(der, "it")
    with pytest.raises(Malformed, match="nested"):
        check_der(encode_sequence([der]), "it")


@given(st.binary(max_size=64))
def test_any_octets_are_read_or_malformed(data: bytes) -> None:
    try:
        elements = read_elements(data, "it")
    except Malformed:
        return
    assert b"".join(element.der for element in elements) == data
    assert all(encode_tlv(element.tag, element.content) == element.der for element in elements)


@pytest.mark.parametrize("dotted", ["2.5.4.3", "1.3.6.1.4.1.311.20.2.2", "2.999.1", "2.25.329800735698586629295641978"])
def test_object_identifiers_survive(dotted: str) -> None:
    assert oids.decode_oid(oids.encode_oid(dotted), "it") == dotted


@pytest.mark.parametrize("dotted", ["", "1", "1.40.1", "3.1", "1..2", "1.2.", "a.b", "1.2.03", "-1.2", "1.2.x"])
def test_what_is_no_object_identifier_is_malformed(dotted: str) -> None:
    with pytest.raises(Malformed, match="dotted"):
        oids.encode_oid(dotted)


@pytest.mark.parametrize("der", [b"\x06\x00", b"\x06\x03\x55\x80\x03", b"\x06\x02\x55\x84", b"\x02\x01\x05"])
def test_object_identifiers_that_are_not_der_are_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        oids.decode_oid(der, "it")
