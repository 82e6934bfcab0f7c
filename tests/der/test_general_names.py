from __future__ import annotations

import contextlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.names import (
    check_general_name,
    encode_general_name,
    encode_general_names,
    general_name_text,
    parse_general_name_text,
    parse_general_names,
    to_a_labels,
)
from pkiconf.der.tlv import encode_sequence, encode_tlv
from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import (
    URI,
    Attribute,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    Name,
    OtherName,
    RegisteredID,
    RFC822Name,
)

UPN = "1.3.6.1.4.1.311.20.2.3"
UPN_OID, OID = x509.ObjectIdentifier(UPN), x509.ObjectIdentifier("1.2.3")
V4, V6 = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")
URL = "https://a.example/x?y=%20"
DIRECTORY = Name(((Attribute("2.5.4.6", "NL"),), (Attribute(COMMON_NAME, "Web, One"),)))
THEIR_DIRECTORY = x509.Name(
    [x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "NL"), x509.NameAttribute(x509.NameOID.COMMON_NAME, "Web, One")]
)
SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1004336348-1177238915-682003330-512"

# Ours, how others build the same, and how an operator writes it.
NAMES: list[tuple[GeneralName, x509.GeneralName, str]] = [
    (DNSName("web.corp.example"), x509.DNSName("web.corp.example"), "dns:web.corp.example"),
    (DNSName("*.corp.example"), x509.DNSName("*.corp.example"), "dns:*.corp.example"),
    (DNSName("localhost"), x509.DNSName("localhost"), "dns:localhost"),
    (DNSName("xn--mller-kva.example"), x509.DNSName("xn--mller-kva.example"), "dns:xn--mller-kva.example"),
    (IPAddress(V4), x509.IPAddress(V4), "ip:192.0.2.1"),
    (IPAddress(V6), x509.IPAddress(V6), "ip:2001:db8::1"),
    (URI(URL), x509.UniformResourceIdentifier(URL), f"uri:{URL}"),
    (URI(SID), x509.UniformResourceIdentifier(SID), f"uri:{SID}"),
    (URI("urn:uuid:0-1"), x509.UniformResourceIdentifier("urn:uuid:0-1"), "uri:urn:uuid:0-1"),
    (RFC822Name("a.b+c@example.org"), x509.RFC822Name("a.b+c@example.org"), "email:a.b+c@example.org"),
    (RegisteredID("1.2.3.4"), x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")), "rid:1.2.3.4"),
    (DirectoryName(DIRECTORY), x509.DirectoryName(THEIR_DIRECTORY), r"dirname:CN=Web\, One,C=NL"),
    (OtherName(UPN, b"\x0c\x03a@b"), x509.OtherName(UPN_OID, b"\x0c\x03a@b"), f"othername:{UPN};UTF8:a@b"),
    (OtherName("1.2.3", b"\x05\x00"), x509.OtherName(OID, b"\x05\x00"), "othername:1.2.3;HEX:0500"),
]  # fmt: skip
IDS = [text for _, _, text in NAMES]


def plain(name: GeneralName) -> GeneralName:
    """Without the string types that reading adds."""
    if isinstance(name, DirectoryName):
        return DirectoryName(Name(tuple(tuple(Attribute(a.oid, a.value) for a in rdn) for rdn in name.value.rdns)))
    return name


@pytest.mark.parametrize(("ours", "theirs", "text"), NAMES, ids=IDS)
def test_every_kind_is_encoded_as_others_encode_it(ours: GeneralName, theirs: x509.GeneralName, text: str) -> None:
    der = encode_general_names([ours])
    assert der == x509.SubjectAlternativeName([theirs]).public_bytes()
    assert [plain(name) for name in parse_general_names(der)] == [ours]


@pytest.mark.parametrize(("ours", "theirs", "text"), NAMES, ids=IDS)
def test_every_kind_is_read_and_written_as_text(ours: GeneralName, theirs: x509.GeneralName, text: str) -> None:
    assert general_name_text(ours) == text
    assert parse_general_name_text(text) == ours
    [read] = parse_general_names(encode_general_names([ours]))
    assert general_name_text(read) == text


def test_the_order_of_names_is_kept() -> None:
    ours = [name for name, _, _ in reversed(NAMES)]
    assert [plain(name) for name in parse_general_names(encode_general_names(ours))] == ours


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dns:müller.example", "xn--mller-kva.example"),
        ("dns:*.MÜLLER.example", "*.xn--mller-kva.example"),
        ("dns:例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("email:info@müller.example", "info@xn--mller-kva.example"),
        (" DNS : web.example ", "web.example"),
    ],
)
def test_internationalised_domains_become_a_labels(text: str, value: str) -> None:
    assert parse_general_name_text(text).value == value


@pytest.mark.parametrize(
    "domain", ["☃\u200d.example", "ab\u0300\ufffe.example", "\u05d0a.example", "ä" * 80 + ".example", "ä..example"]
)
def test_what_is_no_internationalised_domain_is_refused(domain: str) -> None:
    with pytest.raises(Refused, match="internationalised"):
        to_a_labels(domain)


REFUSED: list[tuple[GeneralName, str]] = [
    (DNSName(""), "0 characters"),
    (DNSName("a" * 254), "254 characters"),
    (DNSName("a" * 64 + ".example"), "1 to 63"),
    (DNSName("a..example"), "empty label"),
    (DNSName(".example"), "empty label"),
    (DNSName("example."), "empty label"),
    (DNSName("*"), "wildcard"),
    (DNSName("a.*.example"), "wildcard"),
    (DNSName("*.*.example"), "wildcard"),
    (DNSName("w*.example"), "wildcard"),
    (DNSName("-a.example"), "label '-a'"),
    (DNSName("a-.example"), "label 'a-'"),
    (DNSName("a_b.example"), "label 'a_b'"),
    (DNSName("a b.example"), "label 'a b'"),
    (DNSName("a\n.example"), "label"),
    (DNSName("example\n"), "label"),
    (DNSName("web.example\x00.evil.example"), "label"),
    (DNSName("müller.example"), "not ASCII"),
    (DNSName("xn--a.example"), "no A-label"),
    (DNSName("xn--mller-kva-.example"), "label"),
    (DNSName("xn--abc-.example"), "label"),
    (DNSName("xn--99999999999.example"), "no A-label"),
    (DNSName("192.0.2.1"), "ends in a number"),
    (RFC822Name("a"), "local-part@domain"),
    (RFC822Name("@example.org"), "local-part@domain"),
    (RFC822Name("a@"), "local-part@domain"),
    (RFC822Name("a@b@example.org"), "dot-atom"),
    (RFC822Name("a b@example.org"), "dot-atom"),
    (RFC822Name(".a@example.org"), "dot-atom"),
    (RFC822Name("a..b@example.org"), "dot-atom"),
    (RFC822Name("x" * 65 + "@example.org"), "dot-atom"),
    (RFC822Name("a\n@example.org"), "dot-atom"),
    (RFC822Name("ä@example.org"), "not ASCII"),
    (RFC822Name("a@exämple.org"), "not ASCII"),
    (RFC822Name("a@*.example.org"), "wildcard"),
    (RFC822Name("a@[192.0.2.1]"), "label"),
    (RFC822Name("A <a@example.org>"), "dot-atom"),
    (URI(""), "not absolute"),
    (URI("/path"), "not absolute"),
    (URI("example.org/path"), "not absolute"),
    (URI("http:"), "not absolute"),
    (URI("https://a.example/ä"), "not absolute"),
    (URI("https://a.example/a b"), "not absolute"),
    (URI("https://a.example/%zz"), "not absolute"),
    (URI("https://a.example/\n"), "not absolute"),
    (URI("https://a..example/"), "empty label"),
    (URI("https://*.example/"), "wildcard"),
    (URI("https://a.example:port/"), "authority"),
    (URI("https://[::g]/"), "label"),
    (DirectoryName(Name()), "empty"),
    (DirectoryName(Name(((Attribute("2.5.4.6", "nl"),),))), "two-letter"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "reason"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_may_not_stand_in_a_certificate_is_refused(name: GeneralName, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        encode_general_name(name)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [OtherName("1.2.3", b""), OtherName("1.2.3", b"\x05\x00\x00"), OtherName("x", b"\x05\x00"), RegisteredID("1")],
)
def test_values_that_are_no_der_are_malformed(name: GeneralName) -> None:
    with pytest.raises(Malformed):
        encode_general_name(name)


def test_no_names_at_all_are_refused() -> None:
    with pytest.raises(Refused):
        encode_general_names([])


@pytest.mark.parametrize(
    "uri",
    [
        "http://192.0.2.1/",
        "https://[2001:db8::1]:8443/x",
        "https://user@a.example:443/",
        "ldap://a.example/cn=x,dc=y?z",
        "file:///etc",
        "spiffe://corp.example/web",
        "mailto:a@b",
    ],
)
def test_uris_of_many_kinds_are_taken(uri: str) -> None:
    check_general_name(URI(uri))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web.example", "not KIND:VALUE"),
        ("", "not KIND:VALUE"),
        ("host:web.example", "not KIND:VALUE"),
        ("dns:", "0 characters"),
        ("dns:a..b", "empty label"),
        ("ip:192.0.2.256", "no IP address"),
        ("ip:192.0.2.0/24", "no IP address"),
        ("ip:3221225985", "no IP address"),
        ("ip:fe80::1%eth0", "zone"),
        ("rid:1.2.x", "object identifier"),
        ("email:a", "local-part"),
        ("uri:web", "not absolute"),
        ("dirname:web", "TYPE=VALUE"),
        ("dirname:", "empty"),
        ("dirname:C=nl", "two-letter"),
        ("othername:1.2.3", "OID;UTF8"),
        ("othername:1.2.3;ASN1:x", "OID;UTF8"),
        ("othername:1.2.3;HEX:xy", "hexadecimal"),
        ("othername:1.2.3;HEX:0501", "middle"),
        ("othername:upn;UTF8:a", "object identifier"),
        ("dns:ä\ufffe.example", "internationalised"),
    ],
)
def test_text_that_is_no_name_is_malformed(text: str, reason: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_general_name_text(text)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "member",
    [
        b"\x05\x00",
        encode_tlv(0x82, b""),
        encode_tlv(0x82, b"web\x00.example"),
        encode_tlv(0x82, "müller".encode()),
        encode_tlv(0x81, b"a\n@b"),
        encode_tlv(0x86, b"\x7f"),
        encode_tlv(0xA2, b"web"),
        encode_tlv(0x87, b"\x01\x02\x03"),
        encode_tlv(0x87, bytes(8)),
        encode_tlv(0x87, b""),
        encode_tlv(0x88, b""),
        encode_tlv(0x88, b"\x80\x01"),
        encode_tlv(0xA3, b""),
        encode_tlv(0xA5, b""),
        encode_tlv(0xA4, b""),
        encode_tlv(0xA4, b"\x31\x00"),
        encode_tlv(0xA0, b""),
        encode_tlv(0xA0, b"\x06\x01\x2a"),
        encode_tlv(0xA0, b"\x06\x01\x2a\xa0\x00"),
        encode_tlv(0xA0, b"\x06\x01\x2a\xa0\x01\x05"),
        encode_tlv(0xA0, b"\x06\x01\x2a\xa0\x02\x05\x00\x05\x00"),
    ],
)
def test_what_is_no_general_name_is_malformed(member: bytes) -> None:
    with pytest.raises(Malformed):
        parse_general_names(encode_sequence([encode_tlv(0x82, b"good.example"), member]))


@pytest.mark.parametrize(
    "der", [b"", b"\x30\x00", b"\x31\x00", b"\x30\x03\x82\x01", b"\x30\x03\x82\x01a\x00", b"\x30\x80\x82\x01a\x00\x00"]
)
def test_what_is_no_list_of_general_names_is_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_general_names(der)


@given(st.binary(max_size=100), st.integers(0, 255))
def test_any_octets_are_read_or_malformed(data: bytes, tag: int) -> None:
    for der in (data, encode_sequence([data]), encode_sequence([encode_tlv(tag, data)])):
        with contextlib.suppress(Malformed):
            for name in parse_general_names(der):
                general_name_text(name)


@given(st.text(max_size=60), st.sampled_from(["dns", "ip", "uri", "email", "rid", "dirname", "othername", ""]))
def test_any_text_is_read_or_malformed(text: str, kind: str) -> None:
    try:
        name = parse_general_name_text(f"{kind}:{text}")
    except Malformed:
        return
    assert parse_general_name_text(general_name_text(name)) == name
    assert [plain(read) for read in parse_general_names(encode_general_names([name]))] == [name]


STRINGS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]([a-z0-9]{0,8})?){0,2}", fullmatch=True)
ANY_NAME = st.one_of(
    st.builds(DNSName, HOSTS),
    st.builds(IPAddress, st.ip_addresses()),
    st.builds(lambda host, path: URI(f"https://{host}/{path}"), HOSTS, st.from_regex("[a-z0-9/?=&]*", fullmatch=True)),
    st.builds(
        lambda local, host: RFC822Name(f"{local}@{host}"), st.from_regex("[a-z0-9+]{1,9}", fullmatch=True), HOSTS
    ),
    st.builds(lambda value: DirectoryName(Name(((Attribute(COMMON_NAME, value),),))), STRINGS),
    st.builds(lambda value: OtherName(UPN, asn1.encode_der(value)), st.text(max_size=20).filter(str.isprintable)),
    st.builds(lambda value: OtherName("1.2.3", asn1.encode_der(value)), st.binary(max_size=20)),
)


@given(ANY_NAME)
def test_any_name_survives_der_and_text(name: GeneralName) -> None:
    [read] = parse_general_names(encode_general_names([name]))
    assert plain(read) == name
    assert parse_general_name_text(general_name_text(read)) == name
