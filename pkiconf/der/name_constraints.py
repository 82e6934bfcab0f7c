"""Name constraints (RFC 5280 §4.2.1.10)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from pkiconf.der.distinguished_name_text import name_text, parse_name_text
from pkiconf.der.distinguished_names import encode_name, parse_name
from pkiconf.der.general_name_text import general_name_text
from pkiconf.der.general_names import (
    DIRECTORY_NAME,
    DNS_NAME,
    IP_ADDRESS,
    RFC822_NAME,
    UNIFORM_RESOURCE_IDENTIFIER,
    parse_general_name,
)
from pkiconf.der.name_syntax import check_dns_name, check_mailbox, to_a_labels
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, Element, encode_sequence, encode_tlv, read_elements, read_sequence
from pkiconf.errors import Malformed, Refused
from pkiconf.model.names import NameConstraints, NameType

_PERMITTED: Final = CONTEXT | CONSTRUCTED | 0
_EXCLUDED: Final = CONTEXT | CONSTRUCTED | 1
_TEXT_TAGS: Final = {
    DNS_NAME: NameType.DNS,
    RFC822_NAME: NameType.EMAIL,
    UNIFORM_RESOURCE_IDENTIFIER: NameType.URI,
}


def encode_name_constraints(constraints: NameConstraints) -> bytes:
    """The extension's value. Raises Refused for no subtree at all, and for one that is not what its type asks for."""
    if not constraints.permitted and not constraints.excluded:
        raise Refused("name constraints without any subtree (RFC 5280 §4.2.1.10)", "Leave them out")
    parts = []
    for tag, subtrees in ((_PERMITTED, constraints.permitted), (_EXCLUDED, constraints.excluded)):
        if subtrees:
            parts.append(encode_tlv(tag, b"".join(encode_sequence([_encode_base(*subtree)]) for subtree in subtrees)))
    return encode_sequence(parts)


def _encode_base(kind: NameType, text: str) -> bytes:
    match kind:
        case NameType.DNS:
            return encode_tlv(DNS_NAME, _checked_domain(text, "dns", dotted=False))
        case NameType.URI:
            return encode_tlv(UNIFORM_RESOURCE_IDENTIFIER, _checked_domain(text, "uri", dotted=True))
        case NameType.EMAIL:
            return encode_tlv(RFC822_NAME, _checked_mail(text))
        case NameType.IP:
            return encode_tlv(IP_ADDRESS, _encode_network(text))
        case NameType.DIRECTORY:
            return encode_tlv(DIRECTORY_NAME, encode_name(parse_name_text(text)))
    raise Refused(f"names of type {kind} cannot be constrained", "Use dns, ip, email, uri or dirname")


def _checked_domain(text: str, kind: str, *, dotted: bool) -> bytes:
    if text.startswith(".") and not dotted:
        raise Refused(
            f"name constraint {kind}:{text} begins with a dot", f"Write {text[1:]}: it covers what is below it too"
        )
    domain = to_a_labels(text.removeprefix("."))
    # The empty name is every name: excluding it excludes the whole type.
    if domain or text:
        check_dns_name(domain, wildcard=False)
    return (("." if text.startswith(".") else "") + domain).encode("ascii")


def _checked_mail(text: str) -> bytes:
    if "@" not in text:
        return _checked_domain(text, "email", dotted=True)
    local, _, domain = text.rpartition("@")
    mailbox = f"{local}@{to_a_labels(domain)}"
    check_mailbox(mailbox)
    return mailbox.encode("ascii")


def _encode_network(text: str) -> bytes:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise Refused(f"name constraint ip:{text} is no network: {error}", "Write it like 10.0.0.0/8") from None
    return network.network_address.packed + network.netmask.packed


def parse_name_constraints(value: bytes, critical: bool = True) -> NameConstraints:
    """Raises Malformed for a minimum or a maximum, which RFC 5280 does not use, and for what cannot be read:
    a constraint that is not understood must not be passed over."""
    found: dict[int, tuple[tuple[NameType, str], ...]] = {}
    for field in read_sequence(value, "a name constraints extension"):
        if field.tag not in (_PERMITTED, _EXCLUDED) or field.tag in found or (field.tag == _PERMITTED and found):
            raise Malformed("a name constraints extension holds fields that do not belong there")
        found[field.tag] = tuple(_parse_subtrees(read_elements(field.content, "the subtrees of name constraints")))
    if not any(found.values()):
        raise Malformed("a name constraints extension is empty")
    return NameConstraints(found.get(_PERMITTED, ()), found.get(_EXCLUDED, ()), critical)


def _parse_subtrees(elements: Iterable[Element]) -> Iterable[tuple[NameType, str]]:
    for element in elements:
        members = read_sequence(element.der, "a subtree of name constraints")
        if len(members) != 1:
            raise Malformed("a subtree of name constraints is not a name alone: it has a minimum or a maximum")
        yield _parse_base(members[0])


def _parse_base(base: Element) -> tuple[NameType, str]:
    if base.tag in _TEXT_TAGS:
        if not base.content.isascii() or b"\0" in base.content:
            raise Malformed("a name constraint is not ASCII")
        return _TEXT_TAGS[base.tag], base.content.decode("ascii")
    if base.tag == IP_ADDRESS:
        return NameType.IP, _parse_network(base.content)
    if base.tag == DIRECTORY_NAME:
        return NameType.DIRECTORY, name_text(parse_name(base.content))
    kind, _, text = general_name_text(parse_general_name(base)).partition(":")
    return NameType(kind), text


def _parse_network(content: bytes) -> str:
    if len(content) not in (8, 32):
        raise Malformed(f"an address range in name constraints has {len(content)} octets where 8 or 32 belong")
    half = len(content) // 2
    mask = int.from_bytes(content[half:], "big")
    host_bits = (1 << (8 * half)) - 1 - mask
    if host_bits & (host_bits + 1):
        raise Malformed("an address range in name constraints has a mask with gaps")
    address = ipaddress.ip_address(content[:half])
    # Bits outside the mask count for nothing (RFC 4632), so that a stray one is dropped, not refused.
    return str(ipaddress.ip_network((address, 8 * half - host_bits.bit_length()), strict=False))
