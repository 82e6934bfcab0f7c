from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.names import encode_name, name_text, parse_name, parse_name_text
from pkiconf.der.tlv import encode_sequence, encode_set, encode_tlv
from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import ATTRIBUTE_TYPES, PRINTABLE_STRING, UTF8_STRING, AttributeType
from pkiconf.model.names import Attribute, Name

CN, C, ORG, OU = "2.5.4.3", "2.5.4.6", "2.5.4.10", "2.5.4.11"
DC, EMAIL = "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"
STRINGS = {12: _ASN1Type.UTF8String, 19: _ASN1Type.PrintableString, 22: _ASN1Type.IA5String}


Pair = tuple[str, str]


def name(*rdns: Pair | tuple[Pair, ...]) -> Name:
    """Of pairs, or of tuples of pairs for relative names with several attributes."""
    groups = [(rdn,) if isinstance(rdn[0], str) else rdn for rdn in rdns]
    return Name(tuple(tuple(Attribute(str(pair[0]), str(pair[1])) for pair in group) for group in groups))


def raw_name(oid_der: bytes, tag: int, content: bytes) -> bytes:
    return encode_sequence([encode_set([encode_sequence([oid_der, encode_tlv(tag, content)])])])


CN_DER = b"\x06\x03\x55\x04\x03"


@pytest.mark.parametrize("row", ATTRIBUTE_TYPES, ids=lambda row: row.short)
def test_every_attribute_type_is_encoded_as_others_encode_it(row: AttributeType) -> None:
    value = "NL" if row.upper_bound == 2 else "Example"
    ours = encode_name(name((row.oid, value)))
    theirs = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(row.oid), value, STRINGS[row.string_tag])])
    assert ours == theirs.public_bytes()
    assert parse_name(ours) == Name(((Attribute(row.oid, value, row.string_tag),),))


def test_a_whole_subject_is_encoded_as_others_encode_it() -> None:
    ours = name(
        (DC, "example"), (C, "NL"), (ORG, "Exämple"), (OU, "A"), (OU, "B"), ((CN, "web"), (EMAIL, "a@example.org"))
    )
    attribute = x509.NameAttribute
    oid = x509.ObjectIdentifier
    theirs = x509.Name(
        [
            x509.RelativeDistinguishedName([attribute(oid(kind), value)])
            for kind, value in ((DC, "example"), (C, "NL"), (ORG, "Exämple"), (OU, "A"), (OU, "B"))
        ]
        + [x509.RelativeDistinguishedName([attribute(oid(EMAIL), "a@example.org"), attribute(oid(CN), "web")])]
    )
    assert encode_name(ours) == theirs.public_bytes()


def test_attributes_of_one_rdn_are_sorted_by_their_der_whatever_their_order() -> None:
    pairs = ((EMAIL, "a@example.org"), (CN, "longer name"), (CN, "b"), (OU, "x"))
    encoded = {encode_name(name(order)) for order in (pairs, pairs[::-1], pairs[2:] + pairs[:2])}
    assert len(encoded) == 1
    assert len(parse_name(encoded.pop()).rdns[0]) == 4


def test_a_string_type_that_was_read_is_kept_where_rfc_5280_allows_it() -> None:
    for tag, kept in (
        (PRINTABLE_STRING, PRINTABLE_STRING),
        (UTF8_STRING, UTF8_STRING),
        (20, UTF8_STRING),
        (30, UTF8_STRING),
    ):
        encoded = encode_name(Name(((Attribute(CN, "Example", tag),),)))
        assert parse_name(encoded).attributes[0].string_tag == kept


def test_a_printable_string_whose_characters_do_not_fit_becomes_utf8() -> None:
    encoded = encode_name(Name(((Attribute(CN, "*.example.org", PRINTABLE_STRING),),)))
    assert parse_name(encoded).attributes[0].string_tag == UTF8_STRING


@pytest.mark.parametrize(
    ("tag", "content", "value"),
    [
        (12, "é€😀".encode(), "é€😀"),
        (18, b"12 34", "12 34"),
        (19, b"Example", "Example"),
        (20, b"caf\xe9", "café"),
        (22, b"a@b", "a@b"),
        (26, b"visible", "visible"),
        (28, "é😀".encode("utf-32-be"), "é😀"),
        (30, "é€".encode("utf-16-be"), "é€"),
    ],
)
def test_every_string_type_is_read(tag: int, content: bytes, value: str) -> None:
    assert parse_name(raw_name(CN_DER, tag, content)).values(CN) == (value,)


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (name((C, "nl")), "two-letter"),
        (name((C, "NLD")), "3 characters"),
        (name((C, "Ñ1")), "two-letter"),
        (name((CN, "x" * 65)), "65 characters where RFC 5280 allows 64"),
        (name((ORG, "x" * 65)), "O has 65"),
        (name((EMAIL, "x" * 250 + "@a.org")), "256"),
        (name((CN, "")), "empty"),
        (name((CN, "a\x00b")), "control"),
        (name((CN, "a\nb")), "control"),
        (name((CN, "a\x85b")), "control"),
        (name((CN, "a\ud800b")), "control"),
        (name(("2.5.4.5", "serial_1")), "PrintableString"),
        (name(("2.5.4.46", "ä")), "PrintableString"),
        (name((EMAIL, "ä@example.org")), "not ASCII"),
        (name((DC, "exämple")), "not ASCII"),
        (name(((CN, "a"), (CN, "a"))), "twice"),
        (Name(((),)), "empty"),
    ],
)
def test_what_rfc_5280_does_not_allow_is_refused(subject: Name, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        encode_name(subject)
    assert reason in str(refusal.value)


def test_the_upper_bound_counts_characters_not_octets() -> None:
    assert parse_name(encode_name(name((CN, "é" * 64)))).values(CN) == ("é" * 64,)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x31\x00",
        b"\x30\x02\x05\x00",
        b"\x30\x02\x31\x00",
        b"\x30\x00\x00",
        encode_sequence([encode_set([b"\x05\x00"])]),
        encode_sequence([encode_set([encode_sequence([CN_DER])])]),
        encode_sequence([encode_set([encode_sequence([CN_DER, b"\x0c\x01a", b"\x05\x00"])])]),
        encode_sequence([encode_set([encode_sequence([b"\x05\x00", b"\x0c\x01a"])])]),
        raw_name(CN_DER, 0x03, b"\x00a"),
        raw_name(CN_DER, 0x2C, b"\x0c\x01a"),
        raw_name(CN_DER, 12, b"\xff"),
        raw_name(CN_DER, 19, b"\xe9"),
        raw_name(CN_DER, 22, b"\xe9"),
        raw_name(CN_DER, 30, b"a"),
        raw_name(CN_DER, 30, b"\xd8\x00"),
        raw_name(CN_DER, 28, b"\x00\x11\x00\x00"),
        raw_name(b"\x06\x02\x55\x84", 12, b"a"),
        encode_sequence(
            [encode_tlv(0x31, encode_sequence([CN_DER, b"\x0c\x01b"]) + encode_sequence([CN_DER, b"\x0c\x01a"]))]
        ),
        encode_sequence([encode_tlv(0x31, encode_sequence([CN_DER, b"\x0c\x01a"]) * 2)]),
    ],
)
def test_what_is_no_name_is_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_name(der)


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ATTRIBUTES = st.builds(Attribute, st.sampled_from([CN, ORG, OU, "2.5.4.4", "1.2.3.4.5"]), VALUES)
NAMES = st.builds(
    Name, st.lists(st.lists(ATTRIBUTES, min_size=1, max_size=3, unique=True).map(tuple), max_size=4).map(tuple)
)


def plain(subject: Name) -> list[set[tuple[str, str]]]:
    return [{(a.oid, a.value) for a in rdn} for rdn in subject.rdns]


@given(NAMES)
def test_any_name_survives_der_and_text(subject: Name) -> None:
    encoded = encode_name(subject)
    assert plain(parse_name(encoded)) == plain(subject)
    assert encode_name(parse_name(encoded)) == encoded
    assert parse_name_text(name_text(subject)) == subject


@given(NAMES)
def test_others_read_our_text_as_we_meant_it(subject: Name) -> None:
    theirs = x509.Name.from_rfc4514_string(name_text(subject), {"SN": x509.NameOID.SURNAME})
    assert [{(a.oid.dotted_string, a.value) for a in rdn} for rdn in theirs.rdns] == plain(subject)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("", Name()),
        ("CN=web", name((CN, "web"))),
        ("CN=web,O=Example Corp,C=NL", name((C, "NL"), (ORG, "Example Corp"), (CN, "web"))),
        ("cn = web , o = Example Corp", name((ORG, "Example Corp"), (CN, "web"))),
        ("CN=web;O=Example", name((ORG, "Example"), (CN, "web"))),
        ("CN=a+OU=b,O=c", name((ORG, "c"), ((CN, "a"), (OU, "b")))),
        ("common_name=web", name((CN, "web"))),
        ("2.5.4.3=web", name((CN, "web"))),
        ("OID.2.5.4.3=web", name((CN, "web"))),
        (r"O=Example\, Corp", name((ORG, "Example, Corp"))),
        (r"O=a\2Cb", name((ORG, "a,b"))),
        (r"O=Caf\C3\A9", name((ORG, "Café"))),
        (r'O="Example, Corp"', name((ORG, "Example, Corp"))),
        (r"O=\ a\ ", name((ORG, " a "))),
        (r"O=a\\", name((ORG, "a\\"))),
        (r"O=\#a", name((ORG, "#a"))),
        ("O=a=b", name((ORG, "a=b"))),
    ],
)
def test_text_is_read(text: str, subject: Name) -> None:
    assert parse_name_text(text) == subject


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web", "TYPE=VALUE"),
        ("CN=web,", "TYPE=VALUE"),
        (",CN=web", "TYPE=VALUE"),
        ("XX=web", "no attribute type"),
        ("CN=#0c03616263", "hexadecimal"),
        ("CN=a\\", "lone backslash"),
        (r"CN=\C3", "not UTF-8"),
        (r"CN=\zz", "needs no escape"),
        ('CN="web', "never closed"),
    ],
)
def test_text_that_is_no_name_is_malformed(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_name_text(text)


@given(st.text(max_size=40) | st.text('CNO=,+;"\\# a', max_size=30))
def test_any_text_is_read_or_malformed(text: str) -> None:
    try:
        subject = parse_name_text(text)
    except Malformed:
        return
    assert parse_name_text(name_text(subject)) == subject


@given(st.binary(max_size=120))
def test_any_octets_are_read_or_malformed(data: bytes) -> None:
    for der in (data, encode_sequence([data]), encode_sequence([encode_set([encode_sequence([CN_DER, data])])])):
        with contextlib.suppress(Malformed):
            parse_name(der)


def test_control_characters_that_were_read_are_escaped_in_text() -> None:
    read = parse_name(raw_name(CN_DER, 12, b"a\x1b[2Jb\xc2\x85"))
    assert name_text(read) == r"CN=a\1b[2Jb\c2\85"
    assert parse_name_text(name_text(read)).values(CN) == read.values(CN)


def test_an_unknown_attribute_keeps_its_ia5string() -> None:
    read = parse_name(raw_name(b"\x06\x03\x2a\x03\x04", 22, b"a@b"))
    assert parse_name(encode_name(read)) == read


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(Refused) as refusal:
        encode_name(name((CN, "x" * 60000 + "\x00")))
    assert len(str(refusal.value)) < 300


def test_openssl_shows_the_name_we_meant(tmp_path: Path) -> None:
    subject = name((C, "NL"), (ORG, "Exämple, Corp"), ((CN, "web"), (EMAIL, "a@example.org")))
    path = tmp_path / "name.der"
    path.write_bytes(encode_name(subject))
    shown = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER", "-in", path], check=True, capture_output=True, text=True
    ).stdout
    assert "PRINTABLESTRING   :NL" in shown
    assert "UTF8STRING        :web" in shown
    assert "IA5STRING         :a@example.org" in shown
