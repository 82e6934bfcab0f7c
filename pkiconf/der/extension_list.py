"""The SEQUENCE OF Extension that certificates, requests, CRLs and OCSP messages share (RFC 5280 §4.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkiconf.der.oids import decode_oid, encode_oid
from pkiconf.der.reader import Reader
from pkiconf.der.tlv import (
    BOOLEAN,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    encode_sequence,
    encode_tlv,
    read_elements,
)
from pkiconf.errors import Malformed
from pkiconf.model.certificate import Extension

_TRUE: Final = b"\x01\x01\xff"


def encode_extension(extension: Extension) -> bytes:
    """One Extension; `critical` is left out when false, which is its default."""
    flag = _TRUE if extension.critical else b""
    return encode_sequence((encode_oid(extension.oid), flag, encode_tlv(OCTET_STRING, extension.value)))


def encode_extensions(extensions: Iterable[Extension]) -> bytes:
    """SEQUENCE OF Extension, in the order given. Raises Malformed if an OID stands twice (RFC 5280 §4.2)."""
    encoded: dict[str, bytes] = {}
    for extension in extensions:
        if extension.oid in encoded:
            raise Malformed(f"extension {extension.oid} is given twice")
        encoded[extension.oid] = encode_extension(extension)
    return encode_sequence(encoded.values())


def parse_extensions(sequence: Element, what: str) -> tuple[Extension, ...]:
    """The members of a SEQUENCE OF Extension, in order.

    Raises Malformed for an empty sequence, an OID that stands twice, or a critical flag that is neither TRUE
    nor FALSE. An explicit FALSE is not DER but occurs in the wild, and is read as what it says.
    """
    if sequence.tag != SEQUENCE:
        raise Malformed(f"the extensions of {what} are not a SEQUENCE")
    found: dict[str, Extension] = {}
    for element in read_elements(sequence.content, f"the extensions of {what}"):
        extension = _parse_extension(element, what)
        if extension.oid in found:
            raise Malformed(f"{what} has extension {extension.oid} twice")
        found[extension.oid] = extension
    if not found:
        raise Malformed(f"{what} has an empty list of extensions")
    return tuple(found.values())


def _parse_extension(element: Element, what: str) -> Extension:
    reader = Reader(element, f"an extension of {what}")
    oid = decode_oid(reader.take(OBJECT_IDENTIFIER).der, f"the identifier of an extension of {what}")
    flag = reader.take_optional(BOOLEAN)
    if flag is not None and flag.content not in (b"\x00", b"\xff"):
        raise Malformed(f"extension {oid} of {what} has a critical flag that is neither TRUE nor FALSE")
    value = reader.take(OCTET_STRING).content
    reader.close()
    return Extension(oid, flag is not None and flag.content == b"\xff", value)
