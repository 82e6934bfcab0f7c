"""Certificates (RFC 5280 §4.1): where their bytes are made, and read.

Nearly all of a certificate is octets already when it is made, so they are joined; what is read is declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1

from pkiconf.der.algorithms import encode_algorithm, parse_algorithm
from pkiconf.der.extension_list import encode_extension
from pkiconf.der.times import encode_time
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    decode,
    encode_sequence,
    encode_tlv,
    read_element,
)
from pkiconf.errors import Malformed, Refused
from pkiconf.model.certificate import Extension, TBSCertificate
from pkiconf.model.keys import SignatureAlgorithm

SERIAL_OCTETS_LIMIT: Final = 20  # RFC 5280 §4.1.2.2
_V1, _V3 = 0, 2
_VERSION_3: Final = b"\xa0\x03\x02\x01\x02"
_EXTENSIONS: Final = CONTEXT | CONSTRUCTED | 3


@asn1.sequence
class _Extension:
    extn_id: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    extn_value: bytes


@asn1.sequence
class _Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _TBSCertificate:
    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial_number: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    subject_public_key_info: asn1.TLV
    issuer_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(3)]


@asn1.sequence
class _Certificate:
    tbs_certificate: asn1.TLV
    signature_algorithm: asn1.TLV
    signature_value: asn1.BitString


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it was read. `der` is all of it, `tbs` what was signed; `issuer`, `subject` and `spki`
    are DER, byte for byte."""

    der: bytes
    tbs: bytes
    algorithm: SignatureAlgorithm
    signature: bytes
    serial_number: int
    issuer: bytes
    subject: bytes
    spki: bytes
    not_before: datetime
    not_after: datetime
    extensions: tuple[Extension, ...]

    def extension(self, oid: str) -> Extension | None:
        return next((extension for extension in self.extensions if extension.oid == oid), None)


def encode_tbs_certificate(tbs: TBSCertificate) -> bytes:
    """The TBSCertificate of a v3 certificate; issuer, subject, key and extension values are copied byte for byte.

    Raises Refused for a serial number that is not positive or has more than 20 octets, for a time that carries
    fractions of a second or lies before 1950, and for an extension that comes twice; Malformed for a part that
    is not one DER element.
    """
    if not 0 < tbs.serial_number < 1 << (8 * SERIAL_OCTETS_LIMIT - 1):
        raise Refused("a serial number must be positive and have at most 20 octets (RFC 5280 §4.1.2.2)")
    if len({extension.oid for extension in tbs.extensions}) != len(tbs.extensions):
        raise Refused("a certificate must not hold an extension twice (RFC 5280 §4.2)")
    return encode_sequence(
        (
            _VERSION_3,
            _encode_positive(tbs.serial_number),
            encode_algorithm(tbs.signature),
            read_element(tbs.issuer, "an issuer").der,
            encode_sequence((_checked_time(tbs.not_before), _checked_time(tbs.not_after))),
            read_element(tbs.subject, "a subject").der,
            read_element(tbs.spki, "a SubjectPublicKeyInfo").der,
            *_extensions_field(tbs.extensions),
        )
    )


def _encode_positive(number: int) -> bytes:
    # One bit more than it has: the highest of an INTEGER is its sign.
    return encode_tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _extensions_field(extensions: Sequence[Extension]) -> tuple[bytes, ...]:
    """Left out where there are none: the list must not be empty."""
    if not extensions:
        return ()
    return (encode_tlv(_EXTENSIONS, encode_sequence(map(_encode_extension, extensions))),)


# All but two extensions of a certificate stand in thousands of others.
_encode_extension = lru_cache(maxsize=1024)(encode_extension)


def _checked_time(moment: datetime) -> bytes:
    """RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. Raises Refused."""
    if moment.tzinfo is None or moment.microsecond:
        raise Refused("a time in a certificate must be aware and in whole seconds")
    if moment.astimezone(UTC).year < 1950:
        raise Refused("a time in a certificate must not lie before 1950")
    return encode_time(moment)


def assemble_certificate(tbs: bytes, algorithm: SignatureAlgorithm, signature: bytes) -> bytes:
    """The Certificate over `tbs`, which is copied byte for byte."""
    signed = read_element(tbs, "a TBSCertificate").der
    return encode_sequence((signed, encode_algorithm(algorithm), encode_tlv(BIT_STRING, b"\0" + signature)))


def parse_certificate(der: bytes, *, any_serial: bool = False) -> Certificate:
    """Raises UnsupportedAlgorithm for a signature algorithm that is not ours; Malformed for BER, trailing octets,
    a negative serial number or one of more than 20 octets, two different signature algorithms, an extension
    that comes twice, and everything else that is no certificate. The signature is not verified here.

    `any_serial` is for a certificate that nobody will look up by its number: RFC 5280 §4.1.2.2 wants such numbers
    handled gracefully."""
    certificate = decode(_Certificate, der, "a certificate")
    tbs = decode(_TBSCertificate, tbs_der := asn1.encode_der(certificate.tbs_certificate), "a TBSCertificate")
    algorithm_der = asn1.encode_der(certificate.signature_algorithm)
    if asn1.encode_der(tbs.signature) != algorithm_der:
        raise Malformed("a certificate names two different signature algorithms")
    if certificate.signature_value.padding_bits():
        raise Malformed("the signature of a certificate is not whole octets")
    return Certificate(
        der=der,
        tbs=tbs_der,
        algorithm=parse_algorithm(algorithm_der),
        signature=certificate.signature_value.as_bytes(),
        serial_number=tbs.serial_number if any_serial else _checked_serial(tbs.serial_number),
        issuer=asn1.encode_der(tbs.issuer),
        subject=asn1.encode_der(tbs.subject),
        spki=asn1.encode_der(tbs.subject_public_key_info),
        not_before=_moment(tbs.validity.not_before),
        not_after=_moment(tbs.validity.not_after),
        extensions=_checked_extensions(tbs),
    )


def parse_public_key_info(tbs: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a TBSCertificate, byte for byte. Raises Malformed."""
    return asn1.encode_der(decode(_TBSCertificate, tbs, "a TBSCertificate").subject_public_key_info)


def parse_not_after(tbs: bytes) -> datetime:
    """When the certificate of a TBSCertificate ends. Raises Malformed."""
    return _moment(decode(_TBSCertificate, tbs, "a TBSCertificate").validity.not_after)


def _checked_serial(serial_number: int) -> int:
    # Zero is forbidden too, but old roots have it, and their subordinates may come to us.
    if serial_number < 0 or serial_number >> (8 * SERIAL_OCTETS_LIMIT - 1):
        raise Malformed("the serial number of a certificate is negative or has more than 20 octets")
    return serial_number


def _checked_extensions(tbs: _TBSCertificate) -> tuple[Extension, ...]:
    if tbs.version not in (_V1, 1, _V3):
        raise Malformed("a certificate has a version other than 1, 2 or 3")
    if tbs.extensions is None:
        return ()
    if tbs.version != _V3 or not tbs.extensions:
        raise Malformed("a certificate has an empty list of extensions, or has extensions without being version 3")
    seen: dict[str, Extension] = {}
    for parsed in tbs.extensions:
        oid = _dotted(parsed.extn_id)
        if oid in seen:
            raise Malformed(f"a certificate has extension {oid} twice")
        seen[oid] = Extension(oid, parsed.critical, parsed.extn_value)
    return tuple(seen.values())


@lru_cache(maxsize=512)
def _dotted(oid: x509.ObjectIdentifier) -> str:
    return oid.dotted_string


def _moment(time: asn1.UTCTime | asn1.GeneralizedTime) -> datetime:
    """RFC 5280 §4.1.2.5. Raises Malformed for a GeneralizedTime before 2050 or with fractions of a second."""
    moment = time.as_datetime()
    if isinstance(time, asn1.GeneralizedTime) and (moment.year < 2050 or moment.microsecond):
        raise Malformed("a GeneralizedTime lies before 2050 or has fractions of a second")
    return moment
