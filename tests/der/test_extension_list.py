from __future__ import annotations

import pytest
from cryptography import x509

from pkiconf.der.extension_list import encode_extensions, parse_extensions
from pkiconf.der.tlv import read_element
from pkiconf.errors import Malformed
from pkiconf.model.certificate import Extension
from tests.vectors.construct import extension, oid, tlv

USAGE = Extension("2.5.29.15", True, b"\x03\x02\x07\x80")
CONSTRAINTS = Extension("2.5.29.19", False, b"\x30\x00")


def parse(der: bytes) -> tuple[Extension, ...]:
    return parse_extensions(read_element(der, "the list"), "the thing")


def test_octets_are_those_of_others() -> None:
    expected = tlv(0x30, extension("2.5.29.15", USAGE.value, critical=True), extension("2.5.29.19", b"\x30\x00"))
    assert encode_extensions([USAGE, CONSTRAINTS]) == expected
    assert x509.BasicConstraints(False, None).public_bytes() == CONSTRAINTS.value


def test_what_is_encoded_is_read_again_in_order() -> None:
    assert parse(encode_extensions([USAGE, CONSTRAINTS])) == (USAGE, CONSTRAINTS)
    assert parse(encode_extensions([CONSTRAINTS, USAGE])) == (CONSTRAINTS, USAGE)


def test_the_same_extension_cannot_be_given_twice() -> None:
    with pytest.raises(Malformed, match=r"2\.5\.29\.15"):
        encode_extensions([USAGE, CONSTRAINTS, USAGE])


ONE = extension("2.5.29.15", USAGE.value)
BROKEN = {
    "empty": tlv(0x30),
    "a set": tlv(0x31, ONE),
    "twice": tlv(0x30, ONE, ONE),
    "twice, once critical": tlv(0x30, ONE, extension("2.5.29.15", USAGE.value, critical=True)),
    "no identifier": tlv(0x30, tlv(0x30, tlv(0x04, b"\x05\x00"))),
    "no value": tlv(0x30, tlv(0x30, oid("2.5.29.15"))),
    "value without OCTET STRING": tlv(0x30, tlv(0x30, oid("2.5.29.15"), b"\x05\x00")),
    "critical after the value": tlv(0x30, tlv(0x30, oid("2.5.29.15"), tlv(0x04, b""), b"\x01\x01\xff")),
    "critical is 1": tlv(0x30, tlv(0x30, oid("2.5.29.15"), b"\x01\x01\x01", tlv(0x04, b""))),
    "critical is empty": tlv(0x30, tlv(0x30, oid("2.5.29.15"), b"\x01\x00", tlv(0x04, b""))),
    "broken identifier": tlv(0x30, tlv(0x30, b"\x06\x02\x80\x01", tlv(0x04, b""))),
    "empty identifier": tlv(0x30, tlv(0x30, b"\x06\x00", tlv(0x04, b""))),
}


@pytest.mark.parametrize("der", BROKEN.values(), ids=BROKEN)
def test_broken_lists_are_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse(der)
