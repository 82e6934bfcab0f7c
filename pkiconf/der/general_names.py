"""General names as DER (RFC 5280 §4.2.1.6)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from pkiconf.der import oids
from pkiconf.der.distinguished_names import encode_name, parse_name
from pkiconf.der.name_syntax import check_dns_name, check_mailbox, check_uri
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    OBJECT_IDENTIFIER,
    Element,
    check_der,
    encode_sequence,
    encode_tlv,
    read_element,
    read_elements,
    read_sequence,
)
from pkiconf.errors import Malformed, Refused
from pkiconf.model.names import (
    URI,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    OtherName,
    RegisteredID,
    RFC822Name,
)

OTHER_NAME: Final = CONTEXT | CONSTRUCTED | 0
RFC822_NAME: Final = CONTEXT | 1
DNS_NAME: Final = CONTEXT | 2
DIRECTORY_NAME: Final = CONTEXT | CONSTRUCTED | 4
UNIFORM_RESOURCE_IDENTIFIER: Final = CONTEXT | 6
IP_ADDRESS: Final = CONTEXT | 7
REGISTERED_ID: Final = CONTEXT | 8
_UNREADABLE: Final = {CONTEXT | CONSTRUCTED | 3: "x400Address", CONTEXT | CONSTRUCTED | 5: "ediPartyName"}


def check_general_name(name: GeneralName) -> None:
    """Raise Refused, or Malformed for an otherName's value, unless `name` may stand in a certificate: A-labels
    and no empty label in DNS names, a wildcard only leftmost, addr-spec mail addresses, absolute URIs."""
    match name:
        case DNSName(value):
            check_dns_name(value)
        case RFC822Name(value):
            check_mailbox(value)
        case URI(value):
            check_uri(value)
        case DirectoryName(value):
            if not value.rdns:
                raise Refused("a directory name among the alternative names is empty")
        case OtherName(type_id, value):
            check_der(value, f"the value of otherName {type_id}")


def encode_general_name(name: GeneralName) -> bytes:
    """One GeneralName. Raises Refused as `check_general_name` does."""
    check_general_name(name)
    match name:
        case DNSName(value):
            return encode_tlv(DNS_NAME, value.encode("ascii"))
        case IPAddress(value):
            return encode_tlv(IP_ADDRESS, value.packed)
        case URI(value):
            return encode_uri(value)
        case RFC822Name(value):
            return encode_tlv(RFC822_NAME, value.encode("ascii"))
        case RegisteredID(value):
            return encode_tlv(REGISTERED_ID, read_element(oids.encode_oid(value), "an object identifier").content)
        case DirectoryName(value):
            # Name is a CHOICE, so its [4] is explicit although the module's tags are implicit.
            return encode_tlv(DIRECTORY_NAME, encode_name(value))
        case OtherName(type_id, value):
            return encode_tlv(OTHER_NAME, oids.encode_oid(type_id) + encode_tlv(CONTEXT | CONSTRUCTED, value))


@lru_cache(maxsize=256)
def encode_uri(uri: str) -> bytes:
    """A uniformResourceIdentifier, as it stands in AIA and distribution points too. Raises Refused."""
    check_uri(uri)
    return encode_tlv(UNIFORM_RESOURCE_IDENTIFIER, uri.encode("ascii"))


def encode_general_names(names: Iterable[GeneralName]) -> bytes:
    """GeneralNames, in the order given. Raises Refused for none at all."""
    encoded = [encode_general_name(name) for name in names]
    if not encoded:
        raise Refused("there is not one alternative name")
    return encode_sequence(encoded)


@lru_cache(maxsize=64)  # those of a request are read again in the certificate that is made of it
def parse_general_names(der: bytes) -> tuple[GeneralName, ...]:
    """GeneralNames. Raises Malformed, also for an empty list and for the two kinds that nobody uses (x400Address,
    ediPartyName). Only the form is checked here, not whether a DNS name is one: see `check_general_name`."""
    members = read_sequence(der, "a list of general names")
    if not members:
        raise Malformed("a list of general names is empty")
    return tuple(parse_general_name(member) for member in members)


def parse_general_name(element: Element) -> GeneralName:
    tag, content, _ = element
    match tag:
        case 0x82:
            return DNSName(_ascii(content, "dNSName"))
        case 0x81:
            return RFC822Name(_ascii(content, "rfc822Name"))
        case 0x86:
            return URI(_ascii(content, "uniformResourceIdentifier"))
        case 0x87:
            return _parse_address(content)
        case 0x88:
            return RegisteredID(oids.decode_oid(encode_tlv(OBJECT_IDENTIFIER, content), "a registeredID"))
        case 0xA4:
            return DirectoryName(parse_name(content))
        case 0xA0:
            return _parse_other_name(content)
    raise Malformed(f"a general name is a {_UNREADABLE.get(tag, f'0x{tag:02x}')}, which cannot be read")


def _ascii(content: bytes, what: str) -> str:
    # A NUL or a line feed in a name is never meant well.
    if not content or not content.isascii() or min(content) < 0x20 or 0x7F in content:
        raise Malformed(f"a {what} is empty or holds octets that are not printable ASCII: {content[:80]!r}")
    return content.decode("ascii")


def _parse_address(content: bytes) -> IPAddress:
    if len(content) not in (4, 16):
        raise Malformed(f"an iPAddress has {len(content)} octets where 4 or 16 belong")
    return IPAddress(ipaddress.ip_address(content))


def _parse_other_name(content: bytes) -> OtherName:
    members = read_elements(content, "an otherName")
    if [member.tag for member in members] != [OBJECT_IDENTIFIER, CONTEXT | CONSTRUCTED]:
        raise Malformed("an otherName is not a type and a value tagged [0]")
    type_id = oids.decode_oid(members[0].der, "the type of an otherName")
    check_der(members[1].content, f"the value of otherName {type_id}")
    return OtherName(type_id, members[1].content)
