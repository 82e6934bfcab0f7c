"""What identifies a certificate, read without judging the rest.

Clients sign their SCEP messages with certificates that they make for the moment: with SHA-1, with critical extensions
that must not be critical, with names nobody checks. None of it matters: such a certificate only carries a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkiconf.der.extension_list import parse_extensions
from pkiconf.der.keys import key_identifier
from pkiconf.der.oids import SUBJECT_KEY_IDENTIFIER
from pkiconf.der.reader import Reader, unwrap
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.errors import Malformed

_VERSION: Final = CONTEXT | CONSTRUCTED | 0
_EXTENSIONS: Final = CONTEXT | CONSTRUCTED | 3


@dataclass(frozen=True, slots=True)
class IssuerAndSerial:
    """RFC 5652 §10.2.4. `issuer` is a DER Name, `serial` the content of the INTEGER."""

    issuer: bytes
    serial: bytes

    @property
    def serial_number(self) -> int:
        return int.from_bytes(self.serial, "big", signed=True)

    def encode(self) -> bytes:
        return encode_tlv(SEQUENCE, self.issuer + encode_tlv(INTEGER, self.serial))


@dataclass(frozen=True, slots=True)
class CertificateHead:
    """`issuer`, `subject` and `spki` are DER, byte for byte; `serial` is the content of the INTEGER."""

    der: bytes
    serial: bytes
    issuer: bytes
    subject: bytes
    spki: bytes
    extensions: bytes
    """The SEQUENCE OF Extension, unread; empty where there is none."""

    @property
    def issuer_and_serial(self) -> IssuerAndSerial:
        return IssuerAndSerial(self.issuer, self.serial)

    @property
    def is_self_issued(self) -> bool:
        return self.issuer == self.subject

    def is_meant_by(self, signer: IssuerAndSerial | bytes) -> bool:
        """`signer` is an issuer with a serial number, or a subject key identifier."""
        if isinstance(signer, IssuerAndSerial):
            return (self.issuer, self.serial) == (signer.issuer, signer.serial)
        return signer in (_key_identifier(self.extensions), key_identifier(self.spki))

    def has_serial(self, signer: IssuerAndSerial | bytes) -> bool:
        """Whether the serial number is this one's, whoever the issuer is said to be."""
        return isinstance(signer, IssuerAndSerial) and signer.serial == self.serial


def _key_identifier(extensions: bytes) -> bytes | None:
    if not extensions:
        return None
    listed = parse_extensions(read_element(extensions, "the extensions of the signer"), "the signer's certificate")
    found = (extension.value for extension in listed if extension.oid == SUBJECT_KEY_IDENTIFIER)
    return next((read_element(value, "a subject key identifier", OCTET_STRING).content for value in found), None)


def parse_head(der: bytes) -> CertificateHead:
    """Raises Malformed for octets that are no certificate. Neither signature, validity nor extensions are looked at."""
    what = "a certificate in the message"
    whole = read_elements(read_element(der, what, SEQUENCE).content, what)
    if not whole:
        raise Malformed(f"{what} is empty")
    reader = Reader(whole[0], what)
    reader.take_optional(_VERSION)
    serial = reader.take(INTEGER).content
    reader.take(SEQUENCE)
    issuer = reader.take(SEQUENCE).der
    reader.take(SEQUENCE)
    subject = reader.take(SEQUENCE).der
    spki = reader.take(SEQUENCE).der
    extensions = b""
    while (member := reader.take_optional(CONTEXT | 1, CONTEXT | 2, _EXTENSIONS)) is not None:
        extensions = unwrap(member, what).der if member.tag == _EXTENSIONS else extensions
    reader.close()
    return CertificateHead(der, serial, issuer, subject, spki, extensions)


def parse_issuer_and_serial(element: Element, what: str) -> IssuerAndSerial:
    """Raises Malformed."""
    reader = Reader(element, what)
    issuer, serial = reader.take(SEQUENCE), reader.take(INTEGER)
    reader.close()
    return IssuerAndSerial(issuer.der, serial.content)
