"""General names as operators write them: `KIND:VALUE`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.distinguished_name_text import name_text, parse_name_text
from pkiconf.der.distinguished_names import encode_name
from pkiconf.der.general_names import check_general_name
from pkiconf.der.name_syntax import quoted, to_a_labels
from pkiconf.errors import Malformed, Refused
from pkiconf.model.names import (
    NAME_TYPES,
    URI,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    NameType,
    OtherName,
    RegisteredID,
    RFC822Name,
)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def general_name_text(name: GeneralName) -> str:
    """`dns:web.corp.example`, `ip:192.0.2.1`, `dirname:CN=web,C=NL`, `othername:1.2.3;UTF8:text`,
    `othername:1.2.3;HEX:0203…`."""
    return f"{NAME_TYPES[type(name)]}:{_value_text(name)}"


def _value_text(name: GeneralName) -> str:
    match name:
        case DirectoryName(value):
            return name_text(value)
        case OtherName(type_id, value):
            return f"{type_id};{_other_value_text(value)}"
        case _:
            return str(name.value)


def _other_value_text(der: bytes) -> str:
    try:
        text = asn1.decode_der(str, der)
    except ValueError:
        return f"HEX:{der.hex()}"
    return f"HEX:{der.hex()}" if _CONTROL.search(text) else f"UTF8:{text}"


def parse_general_name_text(text: str) -> GeneralName:
    """Reads what `general_name_text` writes, and U-labels in domains, which become A-labels.
    Raises Malformed for what is no such name; the sentence says why."""
    kind, colon, value = text.partition(":")
    try:
        parse = _PARSERS[NameType(kind.strip().lower())] if colon else None
    except ValueError:
        parse = None
    if parse is None:
        raise Malformed(
            f"{quoted(text)} is not KIND:VALUE",
            f"KIND is one of {', '.join(NameType)}; for example dns:web.example.org",
        )
    try:
        name = parse(value)
        check_general_name(name)
        if isinstance(name, DirectoryName):
            encode_name(name.value)
    except Refused as refusal:
        raise Malformed(refusal.detail, refusal.hint) from None
    return name


def _parse_ip(value: str) -> IPAddress:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise Malformed(
            f"{quoted(value)} is no IP address", "Write one address such as 192.0.2.1 or 2001:db8::1"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise Malformed(f"IP address {quoted(value)} has a zone", f"Leave out %{address.scope_id}")
    return IPAddress(address)


def _parse_email(value: str) -> RFC822Name:
    local, at, domain = value.rpartition("@")
    return RFC822Name(f"{local}@{to_a_labels(domain)}" if at else value)


def _parse_registered_id(value: str) -> RegisteredID:
    return RegisteredID(oids.object_identifier(value).dotted_string)


def _parse_other_name(value: str) -> OtherName:
    type_id, semicolon, rest = value.partition(";")
    form, colon, content = rest.partition(":")
    type_id = type_id.strip()
    oids.object_identifier(type_id)
    if semicolon and colon and form.upper() == "UTF8":
        return OtherName(type_id, asn1.encode_der(content))
    if semicolon and colon and form.upper() == "HEX":
        try:
            return OtherName(type_id, bytes.fromhex(content))
        except ValueError:
            raise Malformed(f"{quoted(content)} is not hexadecimal") from None
    raise Malformed(f"otherName {quoted(value)} is not OID;UTF8:text or OID;HEX:der")


# The last two keep their blanks: an escaped one may end a name, and any may end a text.
_PARSERS: Final[Mapping[NameType, Callable[[str], GeneralName]]] = MappingProxyType(
    {
        NameType.DNS: lambda value: DNSName(to_a_labels(value.strip())),
        NameType.IP: lambda value: _parse_ip(value.strip()),
        NameType.URI: lambda value: URI(value.strip()),
        NameType.EMAIL: lambda value: _parse_email(value.strip()),
        NameType.RID: lambda value: _parse_registered_id(value.strip()),
        NameType.DIRECTORY: lambda value: DirectoryName(parse_name_text(value)),
        NameType.OTHER: _parse_other_name,
    }
)
