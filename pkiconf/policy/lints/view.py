"""A TBSCertificate taken apart without believing it: octets and tags as they stand, so that lints can judge them."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from pkiconf.der import oids
from pkiconf.der.tlv import (
    BIT_STRING,
    BOOLEAN,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    read_element,
    read_elements,
    read_header,
)
from pkiconf.errors import Malformed
from pkiconf.model.usages import KeyUsage

_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_WHAT: Final = "the certificate to be signed"
_BITS: Final = tuple(KeyUsage)
_OF_ONE: Final = (oids.SUBJECT_KEY_IDENTIFIER, oids.SUBJECT_ALTERNATIVE_NAME)


class ExtensionView(NamedTuple):
    """`flag` is the critical flag as encoded, None where it was left out."""

    oid: str
    flag: Element | None
    value: bytes

    @property
    def critical(self) -> bool:
        return self.flag is not None and self.flag.content != b"\x00"


class BasicConstraints(NamedTuple):
    ca: bool
    path_length: int | None
    explicit_false: bool  # cA FALSE written out, which DER forbids


class CertificateView:
    """Fields in the order of RFC 5280 §4.1. Raises Malformed where the structure itself is broken."""

    def __init__(self, tbs: bytes) -> None:
        fields = read_elements(read_element(tbs, _WHAT, SEQUENCE).content, _WHAT)
        self.version = fields.pop(0).content if fields and fields[0].tag == _VERSION else None
        if [field.tag for field in fields[:6]] != [INTEGER] + [SEQUENCE] * 5:
            raise Malformed(f"{_WHAT} does not have the fields of a TBSCertificate")
        self.serial_number = fields[0].content
        self.signature = fields[1].der
        self.issuer = fields[2].der
        self.validity = fields[3].content
        self.subject = fields[4].der
        self.spki = fields[5].der
        self.extensions: tuple[ExtensionView, ...] | None = None
        for field in fields[6:]:
            if field.tag != _EXTENSIONS or self.extensions is not None:
                raise Malformed(f"{_WHAT} has a field with tag 0x{field.tag:02x} after its key")
            self.extensions = _parse_extensions(field.content)
        self._index()

    def _index(self) -> None:
        self._by_oid = {extension.oid: extension for extension in reversed(self.extensions or ())}

    def find(self, oid: str) -> ExtensionView | None:
        """The first extension of that kind."""
        return self._by_oid.get(oid)

    @property
    def has_subject(self) -> bool:
        return len(self.subject) > 2

    @cached_property
    def basic_constraints(self) -> BasicConstraints | None:
        extension = self.find(oids.BASIC_CONSTRAINTS)
        return parse_basic_constraints(extension.value) if extension else None

    @property
    def is_authority(self) -> bool:
        return self.basic_constraints is not None and self.basic_constraints.ca

    @cached_property
    def key_usage(self) -> frozenset[KeyUsage] | None:
        extension = self.find(oids.KEY_USAGE)
        return parse_key_usage(extension.value) if extension else None

    @cached_property
    def extended_key_usage(self) -> tuple[str, ...] | None:
        extension = self.find(oids.EXTENDED_KEY_USAGE)
        return parse_oids(extension.value) if extension else None

    @cached_property
    def key_algorithm(self) -> str:
        """The OID in the SubjectPublicKeyInfo."""
        start, _ = read_header(self.spki, 0, "the key")
        _, end = read_header(self.spki, start, "the key")
        if self.spki[start] != SEQUENCE or self.spki[end : end + 1] != bytes((BIT_STRING,)):
            raise Malformed("the key is not a SubjectPublicKeyInfo")
        return _first_oid(self.spki[start:end])

    @property
    def standing_octets(self) -> Hashable:
        """All that `StandingView` shows, octet for octet."""
        extensions = self.extensions
        if extensions is not None:
            extensions = tuple([one[:2] if one.oid in _OF_ONE else one for one in extensions])  # type: ignore[misc]
        return self.version, self.signature, self.issuer, self.key_algorithm, extensions


class StandingView(CertificateView):
    """What a certificate has in common with thousands of others: without serial number, validity, subject and key, and
    of the extensions that belong to it alone only that they are there. A lint that looks for more gets AttributeError
    or Malformed."""

    def __init__(self, view: CertificateView) -> None:
        self.version = view.version
        self.signature = view.signature
        self.issuer = view.issuer
        self.key_algorithm = view.key_algorithm
        self.extensions = view.extensions
        if view.extensions is not None:
            self.extensions = tuple(one._replace(value=b"") if one.oid in _OF_ONE else one for one in view.extensions)
        self._index()


def _parse_extensions(content: bytes) -> tuple[ExtensionView, ...]:
    sequence = read_element(content, "the extensions", SEQUENCE)
    return tuple([_parse_extension(element.der) for element in read_elements(sequence.content, "the extensions")])


@lru_cache(maxsize=1024)  # most extensions of a certificate stand in thousands of others, octet for octet
def _parse_extension(der: bytes) -> ExtensionView:
    parts = read_elements(read_element(der, "an extension", SEQUENCE).content, "an extension")
    tags = [part.tag for part in parts]
    if tags == [OBJECT_IDENTIFIER, OCTET_STRING]:
        return ExtensionView(parse_oid(parts[0].der), None, parts[1].content)
    if tags == [OBJECT_IDENTIFIER, BOOLEAN, OCTET_STRING]:
        return ExtensionView(parse_oid(parts[0].der), parts[1], parts[2].content)
    raise Malformed("an extension is not an identifier, a critical flag and an OCTET STRING")


@lru_cache(maxsize=512)
def parse_oid(der: bytes) -> str:
    return oids.decode_oid(der, "an object identifier")


@lru_cache(maxsize=64)
def _first_oid(sequence: bytes) -> str:
    return parse_oid(read_elements(read_element(sequence, "an algorithm").content, "an algorithm")[0].der)


@lru_cache(maxsize=64)
def parse_basic_constraints(value: bytes) -> BasicConstraints:
    parts = read_elements(read_element(value, "basicConstraints", SEQUENCE).content, "basicConstraints")
    flag = parts.pop(0).content if parts and parts[0].tag == BOOLEAN else None
    length = int.from_bytes(parts.pop(0).content, "big", signed=True) if parts and parts[0].tag == INTEGER else None
    if parts:
        raise Malformed("basicConstraints holds something else than cA and pathLenConstraint")
    return BasicConstraints(flag is not None and flag != b"\x00", length, flag == b"\x00")


@lru_cache(maxsize=64)
def parse_key_usage(value: bytes) -> frozenset[KeyUsage]:
    """The set bits. Raises Malformed for bits that RFC 5280 does not name."""
    content = read_element(value, "keyUsage", BIT_STRING).content
    if not content:
        raise Malformed("keyUsage is an empty BIT STRING")
    bits = "".join(f"{octet:08b}" for octet in content[1:])
    numbers = [number for number, bit in enumerate(bits) if bit == "1"]
    if numbers and numbers[-1] >= len(_BITS):
        raise Malformed(f"keyUsage has bit {numbers[-1]} set")
    return frozenset(_BITS[number] for number in numbers)


@lru_cache(maxsize=128)
def parse_oids(value: bytes) -> tuple[str, ...]:
    """A SEQUENCE OF OBJECT IDENTIFIER."""
    sequence = read_element(value, "a list of usages", SEQUENCE)
    return tuple(parse_oid(element.der) for element in read_elements(sequence.content, "a list of usages"))
