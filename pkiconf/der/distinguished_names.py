"""Distinguished names as DER (RFC 5280 §4.1.2.4, Appendix A)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pkiconf.der import oids
from pkiconf.der.name_syntax import quoted
from pkiconf.der.tlv import OBJECT_IDENTIFIER, SET, Element, encode_sequence, encode_set, encode_tlv, read_elements
from pkiconf.der.tlv import read_sequence as read_tlv_sequence
from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import BY_OID, IA5_STRING, PRINTABLE_STRING, UTF8_STRING, AttributeType
from pkiconf.model.names import Attribute, Name

NUMERIC_STRING: Final = 18
TELETEX_STRING: Final = 20
VISIBLE_STRING: Final = 26
UNIVERSAL_STRING: Final = 28
BMP_STRING: Final = 30

# TeletexString is read as everybody writes it: ISO 8859-1.
_DECODERS: Final = {
    UTF8_STRING: "utf-8",
    NUMERIC_STRING: "ascii",
    PRINTABLE_STRING: "ascii",
    TELETEX_STRING: "latin-1",
    IA5_STRING: "ascii",
    VISIBLE_STRING: "ascii",
    UNIVERSAL_STRING: "utf-32-be",
    BMP_STRING: "utf-16-be",
}
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_COUNTRY_TYPES: Final = ("2.5.4.6", "1.3.6.1.4.1.311.60.2.1.3")
CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def encode_name(name: Name) -> bytes:
    """The RDNSequence. String types and lengths are those of the table of attribute types; an attribute that was
    read as PrintableString stays one. Raises Refused for a value that RFC 5280 does not allow there."""
    return encode_sequence(_encode_rdn(rdn) for rdn in name.rdns)


def _encode_rdn(rdn: tuple[Attribute, ...]) -> bytes:
    if not rdn:
        raise Refused("a relative distinguished name is empty", "Give it at least one attribute")
    members = [_encode_attribute(attribute) for attribute in rdn]
    if len(set(members)) != len(members):
        raise Refused(f"a relative distinguished name holds {label(rdn[0].oid)} twice with one value")
    return encode_set(members)


def _encode_attribute(attribute: Attribute) -> bytes:
    check_attribute(attribute)
    tag = _string_tag(attribute)
    value = encode_tlv(tag, attribute.value.encode(_DECODERS[tag]))
    return encode_sequence((oids.encode_oid(attribute.oid), value))


def label(oid: str) -> str:
    """What people call an attribute type: `CN`, or the OID of one that is not in the table."""
    row = BY_OID.get(oid)
    return row.short if row else oid


def check_attribute(attribute: Attribute) -> None:
    """Raise Refused for a value that RFC 5280 Appendix A does not allow for its attribute type."""
    name, value = label(attribute.oid), attribute.value
    row = BY_OID.get(attribute.oid)
    if not value:
        raise Refused(f"subject attribute {name} is empty", "Leave it out, or give it a value")
    if CONTROL_CHARACTERS.search(value):
        raise Refused(f"subject attribute {name} holds a control character: {quoted(value)}")
    if row is not None:
        _check_row(row, value)


def _check_row(row: AttributeType, value: str) -> None:
    if row.upper_bound is not None and len(value) > row.upper_bound:
        raise Refused(
            f"subject attribute {row.short} has {len(value)} characters where RFC 5280 allows {row.upper_bound}",
            "Shorten it" + ("; names belong into the subject alternative names" if row.short == "CN" else ""),
        )
    if row.oid in _COUNTRY_TYPES and not _COUNTRY.fullmatch(value):
        raise Refused(
            f"subject attribute {row.short} is {quoted(value)}",
            "Use a two-letter ISO 3166 code in capitals, such as NL",
        )
    if row.string_tag == PRINTABLE_STRING and not _PRINTABLE.fullmatch(value):
        raise Refused(
            f"subject attribute {row.short} is {quoted(value)}, which a PrintableString cannot hold",
            "Use letters A–Z, digits, space and '()+,-./:=?",
        )
    if row.string_tag == IA5_STRING and not value.isascii():
        raise Refused(
            f"subject attribute {row.short} is {quoted(value)}, which is not ASCII", "Write a domain in its xn-- form"
        )


def _string_tag(attribute: Attribute) -> int:
    row = BY_OID.get(attribute.oid)
    if row is not None and row.string_tag != UTF8_STRING:
        return row.string_tag
    # RFC 5280 §4.1.2.4: PrintableString or UTF8String, nothing older. Keeping a PrintableString keeps the bytes
    # of a subject that was read, and names are compared by bytes more often than the RFC would like.
    if attribute.string_tag == PRINTABLE_STRING and _PRINTABLE.fullmatch(attribute.value):
        return PRINTABLE_STRING
    if row is None and attribute.string_tag == IA5_STRING and attribute.value.isascii():
        return IA5_STRING
    return UTF8_STRING


@lru_cache(maxsize=64)  # a subject is read in a request, and again in the certificate that is made of it
def parse_name(der: bytes) -> Name:
    """Raises Malformed for anything that is not the DER of an RDNSequence of strings. Values may be longer or
    have other string types than RFC 5280 allows: many do, and `encode_name` is where that is refused."""
    rdns = read_tlv_sequence(der, "a distinguished name")
    return Name(tuple(_parse_rdn(element) for element in rdns))


def _parse_rdn(element: Element) -> tuple[Attribute, ...]:
    if element.tag != SET:
        raise Malformed("a distinguished name holds something that is not a SET")
    members = read_elements(element.content, "a relative distinguished name")
    encoded = [member.der for member in members]
    if not encoded or encoded != sorted(set(encoded)):
        raise Malformed("a relative distinguished name is empty, or not in the order that DER asks for")
    return tuple(_parse_attribute(der) for der in encoded)


def _parse_attribute(der: bytes) -> Attribute:
    members = read_tlv_sequence(der, "an attribute of a distinguished name")
    if len(members) != 2 or members[0].tag != OBJECT_IDENTIFIER:
        raise Malformed("an attribute of a distinguished name is not a type and a value")
    oid = oids.decode_oid(members[0].der, "the type of a distinguished name's attribute")
    tag, content, _ = members[1]
    if tag not in _DECODERS:
        raise Malformed(f"attribute {label(oid)} of a distinguished name has ASN.1 tag 0x{tag:02x}, which is no string")
    try:
        return Attribute(oid, content.decode(_DECODERS[tag]), tag)
    except UnicodeDecodeError:
        raise Malformed(
            f"attribute {label(oid)} of a distinguished name does not hold the characters of its string type"
        ) from None
