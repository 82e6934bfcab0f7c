"""Distinguished names and general names (RFC 5280 §4.1.2.4, §4.2.1.6)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Attribute:
    """One AttributeTypeAndValue. `oid` is dotted; `string_tag` is the ASN.1 string type it was read
    with (12 UTF8String, 19 PrintableString, 22 IA5String, …) or None to let the encoder choose."""

    oid: str
    value: str
    string_tag: int | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """An RDNSequence: most names have one attribute in each relative distinguished name."""

    rdns: tuple[tuple[Attribute, ...], ...] = ()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return tuple(attribute for rdn in self.rdns for attribute in rdn)

    def values(self, oid: str) -> tuple[str, ...]:
        return tuple(a.value for a in self.attributes if a.oid == oid)


class NameType(StrEnum):
    """Kinds of GeneralName, spelled as operators write them in `names:` and `--add-san KIND:VALUE`."""

    DNS = "dns"
    IP = "ip"
    URI = "uri"
    EMAIL = "email"
    RID = "rid"
    DIRECTORY = "dirname"
    OTHER = "othername"


@dataclass(frozen=True, slots=True)
class DNSName:
    value: str  # A-labels, as they stand in the certificate; a wildcard keeps its "*."


@dataclass(frozen=True, slots=True)
class IPAddress:
    value: ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class URI:
    value: str


@dataclass(frozen=True, slots=True)
class RFC822Name:
    value: str


@dataclass(frozen=True, slots=True)
class RegisteredID:
    value: str  # dotted OID


@dataclass(frozen=True, slots=True)
class DirectoryName:
    value: Name


@dataclass(frozen=True, slots=True)
class OtherName:
    type_id: str  # dotted OID
    value: bytes  # DER of the value inside the explicit [0]


GeneralName = DNSName | IPAddress | URI | RFC822Name | RegisteredID | DirectoryName | OtherName

NAME_TYPES: dict[type, NameType] = {
    DNSName: NameType.DNS,
    IPAddress: NameType.IP,
    URI: NameType.URI,
    RFC822Name: NameType.EMAIL,
    RegisteredID: NameType.RID,
    DirectoryName: NameType.DIRECTORY,
    OtherName: NameType.OTHER,
}


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """RFC 5280 §4.2.1.10. Each subtree is a pair of name type and the text an operator writes:
    `dns`: `corp.example` (itself and below); `ip`: CIDR; `email`: mailbox, host or `.domain`;
    `uri`: host or `.domain`; `dirname`: RFC 4514 text."""

    permitted: tuple[tuple[NameType, str], ...] = ()
    excluded: tuple[tuple[NameType, str], ...] = ()
    critical: bool = True
