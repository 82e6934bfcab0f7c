"""The values of extensions, read (RFC 5280 §4.2). Each function takes the DER inside extnValue and raises Malformed."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.general_names import UNIFORM_RESOURCE_IDENTIFIER, parse_general_name, parse_general_names
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    Element,
    decode,
    read_element,
    read_elements,
    read_sequence,
)
from pkiconf.errors import Malformed
from pkiconf.model.names import URI, GeneralName
from pkiconf.model.usages import KeyUsage

_USAGE_BITS: Final = tuple(KeyUsage)
_AKI_TAGS: Final = (CONTEXT, CONTEXT | CONSTRUCTED | 1, CONTEXT | 2)


@asn1.sequence
class _BasicConstraints:
    ca: Annotated[bool, asn1.Default(False)]
    path_len_constraint: int | None


class BasicConstraints(NamedTuple):
    ca: bool
    path_length: int | None


class InformationAccess(NamedTuple):
    """URLs of OCSP responders and of the issuer's certificates."""

    ocsp_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]


def parse_basic_constraints(value: bytes) -> BasicConstraints:
    """§4.2.1.9. A path length without CA, or a negative one, is Malformed."""
    read = decode(_BasicConstraints, value, "a basic constraints extension")
    length = read.path_len_constraint
    if length is not None and not (read.ca and 0 <= length < 1 << 31):
        raise Malformed("basic constraints have a path length without being a CA, or one out of range")
    return BasicConstraints(read.ca, length)


def parse_key_usage(value: bytes) -> frozenset[KeyUsage]:
    """§4.2.1.3. No usage, an unknown one, and a trailing zero bit are Malformed."""
    content = read_element(value, "a key usage extension", BIT_STRING).content
    if not 2 <= len(content) <= 3 or content[0] > 7:
        raise Malformed("a key usage extension is not a string of 1 to 9 bits")
    size = 8 * (len(content) - 1)
    bits = int.from_bytes(content[1:], "big")
    if bits & -bits != 1 << content[0]:
        raise Malformed("a key usage extension is not DER: its last bit is not set, or an unused one is")
    numbers = [number for number in range(size) if bits >> (size - 1 - number) & 1]
    if numbers[-1] >= len(_USAGE_BITS):
        raise Malformed(f"a key usage extension sets bit {numbers[-1]}, which has no meaning")
    return frozenset(_USAGE_BITS[number] for number in numbers)


def parse_extended_key_usage(value: bytes) -> tuple[str, ...]:
    """§4.2.1.12: dotted OIDs, in their order. None at all is Malformed, and so is one that comes twice."""
    members = read_sequence(value, "an extended key usage extension")
    usages = tuple(oids.decode_oid(member.der, "an extended key usage") for member in members)
    if not usages or len(set(usages)) != len(usages):
        raise Malformed("an extended key usage extension has no usage, or one twice")
    return usages


def parse_subject_alternative_names(value: bytes) -> tuple[GeneralName, ...]:
    """§4.2.1.6."""
    return parse_general_names(value)


def parse_subject_key_identifier(value: bytes) -> bytes:
    """§4.2.1.2. Empty is Malformed."""
    identifier = decode(bytes, value, "a subject key identifier")
    if not identifier:
        raise Malformed("a subject key identifier is empty")
    return identifier


def parse_authority_key_identifier(value: bytes) -> bytes | None:
    """§4.2.1.1: the keyIdentifier; None where only issuer and serial number are given."""
    fields = read_sequence(value, "an authority key identifier")
    numbers = [field.tag & 0x1F for field in fields]
    if numbers != sorted(set(numbers)) or any(field.tag not in _AKI_TAGS for field in fields):
        raise Malformed("an authority key identifier holds fields that do not belong there")
    return next((field.content for field in fields if field.tag == CONTEXT), None)


def parse_authority_information_access(value: bytes) -> InformationAccess:
    """§4.2.2.1. Other methods and other kinds of location are skipped."""
    found: dict[str, list[str]] = {oids.AD_OCSP: [], oids.AD_CA_ISSUERS: []}
    descriptions = read_sequence(value, "an authority information access extension")
    for description in descriptions:
        members = read_sequence(description.der, "an access description")
        if len(members) != 2:
            raise Malformed("an access description is not a method and a location")
        method = oids.decode_oid(members[0].der, "an access method")
        location = parse_general_name(members[1])
        if isinstance(location, URI):
            found.get(method, []).append(location.value)
    if not descriptions:
        raise Malformed("an authority information access extension is empty")
    return InformationAccess(tuple(found[oids.AD_OCSP]), tuple(found[oids.AD_CA_ISSUERS]))


def parse_crl_distribution_points(value: bytes) -> tuple[str, ...]:
    """§4.2.1.13: the URLs of all points. Points without a full name, and names that are no URL, are skipped."""
    points = read_sequence(value, "a CRL distribution points extension")
    if not points:
        raise Malformed("a CRL distribution points extension is empty")
    return tuple(url for point in points for url in _point_urls(point))


def parse_issuing_distribution_point(value: bytes) -> tuple[str, ...]:
    """§5.2.5: the URLs of the distribution point that a CRL is for. Raises Malformed."""
    return tuple(_point_urls(read_element(value, "an issuing distribution point")))


def _point_urls(point: Element) -> list[str]:
    urls = []
    for field in read_sequence(point.der, "a distribution point"):
        if field.tag != CONTEXT | CONSTRUCTED:
            continue
        name = read_element(field.content, "the name of a distribution point")
        if name.tag == CONTEXT | CONSTRUCTED:
            members = read_elements(name.content, "the full name of a distribution point")
            urls += [
                str(parse_general_name(member).value) for member in members if member.tag == UNIFORM_RESOURCE_IDENTIFIER
            ]
    return urls


def parse_certificate_policies(value: bytes) -> tuple[str, ...]:
    """§4.2.1.4: the policies' dotted OIDs. None at all is Malformed, and so is one that comes twice."""
    policies = []
    for information in read_sequence(value, "a certificate policies extension"):
        members = read_sequence(information.der, "a policy information")
        if not members or members[0].tag != OBJECT_IDENTIFIER or len(members) > 2:
            raise Malformed("a policy information is not a policy and its qualifiers")
        policies.append(oids.decode_oid(members[0].der, "a certificate policy"))
    if not policies or len(set(policies)) != len(policies):
        raise Malformed("a certificate policies extension has no policy, or one twice")
    return tuple(policies)


def parse_tls_feature(value: bytes) -> tuple[int, ...]:
    """RFC 7633 §4: numbers of TLS extensions; 5 is status_request."""
    members = read_sequence(value, "a TLS feature extension")
    if not members or any(member.tag != INTEGER for member in members):
        raise Malformed("a TLS feature extension is not a list of numbers")
    return tuple(decode(int, member.der, "a TLS feature") for member in members)
