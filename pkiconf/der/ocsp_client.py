"""The asking side of OCSP (RFC 6960 §4): requests made, responses read. Nothing is believed here: see
`pkiconf.revocation.inquiry` for what makes an answer count."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.der import oids
from pkiconf.der.algorithms import parse_algorithm
from pkiconf.der.extension_list import encode_extension, parse_extensions
from pkiconf.der.keys import key_bits
from pkiconf.der.ocsp import CertStatus, Good, ResponseStatus, Revoked, Unknown
from pkiconf.der.reader import Reader, parse_bit_string, parse_integer, unwrap
from pkiconf.der.times import GENERALIZED_TIME, parse_time
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    encode_sequence,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SignatureAlgorithm
from pkiconf.model.revocation import RevocationReason

HASH_OIDS: Final = {"sha1": oids.SHA1, "sha256": oids.SHA256}

_ENUMERATED: Final = 0x0A
_NULL: Final = encode_tlv(NULL, b"")
_EXPLICIT: Final = tuple(CONTEXT | CONSTRUCTED | number for number in range(4))
_WHAT: Final = "the OCSP response"


@dataclass(frozen=True, slots=True)
class SingleAnswer:
    """What a responder says of one certificate. `cert_id` is the CertID as it came, DER."""

    cert_id: bytes
    status: CertStatus
    this_update: datetime
    next_update: datetime | None


@dataclass(frozen=True, slots=True)
class OCSPResponse:
    """A successful response taken apart. `tbs` is what was signed; `responder_name` (DER) or `responder_key_hash`
    says who signed; `certificates` are DER; `nonce` is the content of the extension's extnValue."""

    tbs: bytes
    algorithm: SignatureAlgorithm
    signature: bytes
    certificates: tuple[bytes, ...]
    responder_name: bytes | None
    responder_key_hash: bytes | None
    produced_at: datetime
    answers: tuple[SingleAnswer, ...]
    nonce: bytes | None


def encode_cert_id(issuer_name: bytes, issuer_spki: bytes, serial_number: int, hash_algorithm: str = "sha1") -> bytes:
    """CertID, DER. `issuer_name` is the issuer's DER Name, `hash_algorithm` sha1 or sha256."""
    if hash_algorithm not in HASH_OIDS:
        raise UnsupportedAlgorithm(f"no CertID is made with {hash_algorithm}", f"Use one of {', '.join(HASH_OIDS)}")
    algorithm = encode_sequence((oids.encode_oid(HASH_OIDS[hash_algorithm]), _NULL))
    hashes = [hashlib.new(hash_algorithm, part, usedforsecurity=False).digest() for part in
              (issuer_name, key_bits(issuer_spki))]  # fmt: skip
    serial = serial_number.to_bytes(serial_number.bit_length() // 8 + 1, "big")
    return encode_sequence(
        (algorithm, *(encode_tlv(OCTET_STRING, hash) for hash in hashes), encode_tlv(INTEGER, serial))
    )


def encode_ocsp_request(cert_id: bytes, nonce: bytes | None = None) -> bytes:
    """An unsigned OCSPRequest about one certificate; `nonce` is the bare octets, 1 to 128 (RFC 9654 §2.1)."""
    extensions = b""
    if nonce is not None:
        wrapped = encode_tlv(OCTET_STRING, nonce)
        extensions = encode_tlv(
            _EXPLICIT[2], encode_sequence((encode_extension(Extension(oids.OCSP_NONCE, False, wrapped)),))
        )
    requests = encode_sequence((encode_sequence((cert_id,)),))
    return encode_sequence((encode_sequence((requests, extensions)),))


def parse_ocsp_response(der: bytes) -> OCSPResponse | ResponseStatus:
    """The response, or the status that says why there is none.

    Raises Malformed, also for a critical extension that is not understood; UnsupportedAlgorithm for a signature
    algorithm that is not in the table.
    """
    outer = Reader.over(der, _WHAT)
    status = _response_status(outer.take(_ENUMERATED))
    wrapped = outer.take_optional(_EXPLICIT[0])
    outer.close()
    if status is not ResponseStatus.SUCCESSFUL:
        return status
    if wrapped is None:
        raise Malformed("the OCSP response says successful, yet holds no answer")
    body = Reader(unwrap(wrapped, _WHAT), _WHAT)
    if oids.decode_oid(body.take(OBJECT_IDENTIFIER).der, _WHAT) != oids.OCSP_BASIC:
        raise Malformed("the OCSP response is not a basic one (RFC 6960 §4.2.1)")
    basic = Reader.over(body.take(OCTET_STRING).content, _WHAT)
    body.close()
    tbs, algorithm, signature = basic.take(SEQUENCE), basic.take(SEQUENCE), basic.take(BIT_STRING)
    included = basic.take_optional(_EXPLICIT[0])
    basic.close()
    certificates = read_elements(unwrap(included, _WHAT).content, _WHAT) if included else []
    return _parse_data(
        tbs,
        parse_algorithm(algorithm.der),
        parse_bit_string(signature, "the signature of the OCSP response"),
        tuple(certificate.der for certificate in certificates),
    )


def _response_status(element: Element) -> ResponseStatus:
    try:
        return ResponseStatus(int.from_bytes(element.content, "big"))
    except ValueError:
        raise Malformed(f"the OCSP response has the status 0x{element.content.hex()}, which does not exist") from None


def _parse_data(
    tbs: Element, algorithm: SignatureAlgorithm, signature: bytes, certificates: tuple[bytes, ...]
) -> OCSPResponse:
    reader = Reader(tbs, _WHAT)
    if (version := reader.take_optional(_EXPLICIT[0])) is not None and unwrap(version, _WHAT).content != b"\0":
        raise Malformed("the OCSP response is not of version 1")
    responder = reader.take(_EXPLICIT[1], _EXPLICIT[2])
    named = unwrap(responder, _WHAT)
    produced_at = parse_time(reader.take(GENERALIZED_TIME), _WHAT)
    singles = read_elements(reader.take(SEQUENCE).content, _WHAT)
    extensions = _extensions(reader.take_optional(_EXPLICIT[1]), oids.OCSP_NONCE)
    reader.close()
    return OCSPResponse(
        tbs=tbs.der,
        algorithm=algorithm,
        signature=signature,
        certificates=certificates,
        responder_name=named.der if responder.tag == _EXPLICIT[1] else None,
        responder_key_hash=named.content if responder.tag == _EXPLICIT[2] else None,
        produced_at=produced_at,
        answers=tuple(_parse_single(single) for single in singles),
        nonce=extensions.get(oids.OCSP_NONCE),
    )


def _parse_single(element: Element) -> SingleAnswer:
    reader = Reader(element, _WHAT)
    cert_id = reader.take(SEQUENCE)
    status = _cert_status(reader.take())
    this_update = parse_time(reader.take(GENERALIZED_TIME), _WHAT)
    until = reader.take_optional(_EXPLICIT[0])
    _extensions(reader.take_optional(_EXPLICIT[1]))
    reader.close()
    next_update = parse_time(unwrap(until, _WHAT), _WHAT) if until else None
    return SingleAnswer(cert_id.der, status, this_update, next_update)


def _cert_status(element: Element) -> CertStatus:
    if element.tag == CONTEXT and not element.content:
        return Good()
    if element.tag == CONTEXT | 2:
        return Unknown()
    if element.tag != _EXPLICIT[1]:
        raise Malformed(f"the OCSP response has a certificate status with ASN.1 tag 0x{element.tag:02x}")
    fields = read_elements(element.content, _WHAT)
    if not 1 <= len(fields) <= 2:
        raise Malformed("the OCSP response revokes without a time, or with more than a reason")
    reason = RevocationReason.UNSPECIFIED
    if len(fields) == 2:
        code = int.from_bytes(read_element(fields[1].content, _WHAT, _ENUMERATED).content, "big")
        try:
            reason = RevocationReason.from_code(code)
        except ValueError:
            raise Malformed(f"the OCSP response gives the reason {code}, which RFC 5280 does not know") from None
    return Revoked(parse_time(fields[0], _WHAT), reason)


def _extensions(wrapped: Element | None, *known: str) -> dict[str, bytes]:
    if wrapped is None:
        return {}
    found = parse_extensions(unwrap(wrapped, _WHAT), _WHAT)
    for extension in found:
        if extension.critical and extension.oid not in known:
            raise Malformed(f"the OCSP response has the critical extension {extension.oid}, which is not understood")
    return {extension.oid: extension.value for extension in found}


def same_certificate(cert_id: bytes, other: bytes) -> bool:
    """Whether two CertIDs ask about one certificate with one hash: parameters of the hash may be NULL or absent."""
    return _cert_id_parts(cert_id) == _cert_id_parts(other)


def _cert_id_parts(der: bytes) -> tuple[str, bytes, bytes, int]:
    reader = Reader.over(der, "a CertID")
    algorithm = Reader(reader.take(SEQUENCE), "a CertID")
    oid = oids.decode_oid(algorithm.take(OBJECT_IDENTIFIER).der, "a CertID")
    name, key = reader.take(OCTET_STRING).content, reader.take(OCTET_STRING).content
    serial = parse_integer(reader.take(INTEGER), "a CertID")
    reader.close()
    return oid, name, key, serial
