from __future__ import annotations

import contextlib
import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.name_constraints import encode_name_constraints, parse_name_constraints
from pkiconf.der.tlv import encode_sequence, encode_tlv
from pkiconf.errors import Malformed, PkiconfError, Refused
from pkiconf.model.names import NameConstraints, NameType

DIRECTORY = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "NL"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example, Corp"),
    ]
)
SUBTREES: list[tuple[NameType, str, x509.GeneralName]] = [
    (NameType.DNS, "corp.example", x509.DNSName("corp.example")),
    (NameType.DNS, "", x509.DNSName("")),
    (NameType.IP, "10.0.0.0/8", x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))),
    (NameType.IP, "0.0.0.0/0", x509.IPAddress(ipaddress.ip_network("0.0.0.0/0"))),
    (NameType.IP, "192.0.2.1/32", x509.IPAddress(ipaddress.ip_network("192.0.2.1/32"))),
    (NameType.IP, "2001:db8::/32", x509.IPAddress(ipaddress.ip_network("2001:db8::/32"))),
    (NameType.EMAIL, "corp.example", x509.RFC822Name("corp.example")),
    (NameType.EMAIL, ".corp.example", x509.RFC822Name(".corp.example")),
    (NameType.EMAIL, "a@corp.example", x509.RFC822Name("a@corp.example")),
    (NameType.URI, "corp.example", x509.UniformResourceIdentifier("corp.example")),
    (NameType.URI, ".corp.example", x509.UniformResourceIdentifier(".corp.example")),
    (NameType.DIRECTORY, r"O=Example\, Corp,C=NL", x509.DirectoryName(DIRECTORY)),
]


@pytest.mark.parametrize(("kind", "text", "theirs"), SUBTREES, ids=lambda value: str(value)[:30])
def test_every_kind_is_encoded_as_others_encode_it(kind: NameType, text: str, theirs: x509.GeneralName) -> None:
    permitted = NameConstraints(permitted=((kind, text),))
    excluded = NameConstraints(excluded=((kind, text),), critical=False)
    assert encode_name_constraints(permitted) == x509.NameConstraints([theirs], None).public_bytes()
    assert encode_name_constraints(excluded) == x509.NameConstraints(None, [theirs]).public_bytes()
    assert parse_name_constraints(encode_name_constraints(permitted)) == permitted
    assert parse_name_constraints(encode_name_constraints(excluded), critical=False) == excluded


def test_all_kinds_together_keep_their_order() -> None:
    subtrees = tuple((kind, text) for kind, text, _ in SUBTREES)
    constraints = NameConstraints(subtrees, tuple(reversed(subtrees)))
    names = [name for _, _, name in SUBTREES]
    encoded = encode_name_constraints(constraints)
    assert encoded == x509.NameConstraints(names, list(reversed(names))).public_bytes()
    assert parse_name_constraints(encoded) == constraints


def test_internationalised_domains_become_a_labels() -> None:
    constraints = NameConstraints(((NameType.DNS, "müller.example"), (NameType.EMAIL, "a@müller.example")))
    read = parse_name_constraints(encode_name_constraints(constraints))
    assert read.permitted == ((NameType.DNS, "xn--mller-kva.example"), (NameType.EMAIL, "a@xn--mller-kva.example"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (NameType.DNS, ".corp.example"),
        (NameType.DNS, "*.corp.example"),
        (NameType.DNS, "a..b"),
        (NameType.DNS, "."),
        (NameType.IP, "10.0.0.1/8"),
        (NameType.IP, "10.0.0.0/33"),
        (NameType.IP, "example"),
        (NameType.IP, ""),
        (NameType.EMAIL, "a b@corp.example"),
        (NameType.EMAIL, "@corp.example"),
        (NameType.EMAIL, "."),
        (NameType.URI, "https://corp.example"),
        (NameType.URI, "*.corp.example"),
        (NameType.DIRECTORY, "C=nl"),
        (NameType.RID, "1.2.3"),
        (NameType.OTHER, "1.2.3;HEX:0500"),
    ],
)
def test_what_is_no_subtree_is_refused(kind: NameType, text: str) -> None:
    with pytest.raises(Refused):
        encode_name_constraints(NameConstraints(((kind, text),)))


def test_a_directory_that_is_no_name_is_malformed() -> None:
    with pytest.raises(Malformed):
        encode_name_constraints(NameConstraints(((NameType.DIRECTORY, "web"),)))


def test_no_subtree_at_all_is_refused() -> None:
    with pytest.raises(Refused):
        encode_name_constraints(NameConstraints())


def test_subtrees_of_kinds_we_do_not_write_are_read() -> None:
    theirs = x509.NameConstraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], None).public_bytes()
    assert parse_name_constraints(theirs).permitted == ((NameType.RID, "1.2.3"),)


def test_host_bits_of_a_network_are_dropped() -> None:
    base = encode_tlv(0x87, bytes([10, 1, 2, 3, 255, 0, 0, 0]))
    value = encode_sequence([encode_tlv(0xA0, encode_sequence([base]))])
    assert parse_name_constraints(value).permitted == ((NameType.IP, "10.0.0.0/8"),)


def subtree(*members: bytes) -> bytes:
    return encode_sequence([encode_tlv(0xA0, encode_sequence(members))])


DNS = encode_tlv(0x82, b"corp.example")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        encode_sequence([encode_tlv(0xA0, b"")]),
        encode_sequence([encode_tlv(0xA2, encode_sequence([DNS]))]),
        encode_sequence([encode_tlv(0xA0, encode_sequence([DNS]))] * 2),
        encode_sequence([encode_tlv(0xA1, encode_sequence([DNS])), encode_tlv(0xA0, encode_sequence([DNS]))]),
        subtree(),
        subtree(DNS, encode_tlv(0x80, b"\x00")),
        subtree(DNS, encode_tlv(0x80, b"\x01")),
        subtree(DNS, encode_tlv(0x81, b"\x01")),
        subtree(encode_tlv(0x82, "ä".encode())),
        subtree(encode_tlv(0x82, b"a\x00b")),
        subtree(encode_tlv(0x87, bytes(4))),
        subtree(encode_tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 255, 0]))),
        subtree(encode_tlv(0x87, bytes([10, 0, 0, 0, 0, 0, 0, 255]))),
        subtree(encode_tlv(0xA3, b"")),
        subtree(encode_tlv(0xA4, b"\x05\x00")),
        subtree(DNS) + b"\x00",
        subtree(DNS)[:-1],
    ],
)
def test_a_constraint_that_is_not_understood_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed):
        parse_name_constraints(value)


@given(st.binary(max_size=80), st.integers(0, 255))
def test_any_octets_are_read_or_malformed(data: bytes, tag: int) -> None:
    for value in (data, encode_sequence([data]), subtree(data), subtree(encode_tlv(tag, data))):
        with contextlib.suppress(Malformed):
            parse_name_constraints(value)


@given(st.sampled_from(NameType), st.text(max_size=30))
def test_any_text_is_encoded_and_read_back_or_refused(kind: NameType, text: str) -> None:
    try:
        encoded = encode_name_constraints(NameConstraints(((kind, text),)))
    except PkiconfError:
        return
    assert encode_name_constraints(parse_name_constraints(encoded)) == encoded
