"""OCSP requests and responses (RFC 6960 §4, RFC 9654, RFC 9919)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.algorithms import encode_algorithm
from pkiconf.der.times import encode_generalized_time
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    OCTET_STRING,
    SEQUENCE,
    decode,
    encode_sequence,
    encode_tlv,
    read_element,
)
from pkiconf.der.usual_ocsp_request import read_usual
from pkiconf.errors import Malformed
from pkiconf.model.keys import SignatureAlgorithm
from pkiconf.model.revocation import RevocationReason

MAX_REQUEST_SIZE: Final = 10 * 1024
MAX_CERT_IDS: Final = 32
MAX_NONCE_SIZE: Final = 128  # RFC 9654 §2.1

HASHES: Final = {oids.SHA1: "sha1", oids.SHA256: "sha256", oids.SHA384: "sha384", oids.SHA512: "sha512"}

_ENUMERATED: Final = 0x0A


# Explicit tags around one element that is only skipped or copied are declared as an implicit list of elements:
# the octets are the same, and the declarations have no optional element of unknown type.
# Defaults are declared optional: old clients write them out, which is not DER and does no harm.


@asn1.sequence
class _AlgorithmIdentifier:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _CertID:
    hash_algorithm: _AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@asn1.sequence
class _Extension:
    extn_id: x509.ObjectIdentifier
    critical: bool | None
    extn_value: bytes


@asn1.sequence
class _Request:
    req_cert: asn1.TLV
    single_request_extensions: Annotated[list[_Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class _TBSRequest:
    version: Annotated[int | None, asn1.Explicit(0)]
    requestor_name: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    request_list: list[_Request]
    request_extensions: Annotated[list[_Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class _OCSPRequest:
    tbs_request: _TBSRequest
    optional_signature: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


class CertID(NamedTuple):
    """What a client asks about. `der` is the CertID as it came, which is how it is answered; `hash_algorithm`
    is `sha1`, `sha256`, `sha384` or `sha512`, or the dotted OID of a hash that no issuer is listed under."""

    der: bytes
    hash_algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial_number: int


class OCSPRequest(NamedTuple):
    """`nonce` is the content of the extension's extnValue, to be echoed unchanged: old clients leave out the
    OCTET STRING that RFC 6960 §4.4.1 puts inside."""

    cert_ids: tuple[CertID, ...]
    nonce: bytes | None


class ResponseStatus(IntEnum):
    """OCSPResponseStatus (RFC 6960 §4.2.1)."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


def parse_ocsp_request(data: bytes) -> OCSPRequest:
    """Read a DER OCSPRequest of at most 10 KiB about 1 to 32 certificates.

    A requestor's name and signature are allowed and ignored. Raises Malformed, also for a negative serial number,
    an extension that stands twice or is critical and not understood, and a nonce that has not 1 to 128 octets.
    """
    if len(data) > MAX_REQUEST_SIZE:
        raise Malformed(f"the OCSP request has {len(data)} octets, more than {MAX_REQUEST_SIZE}")
    if (usual := read_usual(data)) is not None:
        cert_id, nonce = usual
        if nonce is not None:
            _check_nonce(nonce)
        return OCSPRequest((CertID(*cert_id),), nonce)
    tbs = decode(_OCSPRequest, data, "the OCSP request").tbs_request
    if tbs.version not in (None, 0):
        raise Malformed("the OCSP request is not of version 1")
    requests = tbs.request_list
    if not 1 <= len(requests) <= MAX_CERT_IDS:
        raise Malformed(f"the OCSP request asks about {len(requests)} certificates", f"Ask about 1 to {MAX_CERT_IDS}")
    for request in requests:
        if request.single_request_extensions is not None:
            _known_extensions(request.single_request_extensions)
    nonce = None
    if tbs.request_extensions is not None:
        nonce = _known_extensions(tbs.request_extensions, oids.OCSP_NONCE).get(oids.OCSP_NONCE)
        if nonce is not None:
            _check_nonce(nonce)
    return OCSPRequest(tuple([_parse_cert_id(request.req_cert) for request in requests]), nonce)


def _parse_cert_id(element: asn1.TLV) -> CertID:
    try:
        fields = element.parse(_CertID)
    except ValueError:
        raise Malformed("a CertID of the OCSP request cannot be read") from None
    oid = fields.hash_algorithm.algorithm.dotted_string
    if fields.serial_number < 0:
        raise Malformed("the OCSP request asks about a negative serial number (RFC 5280 §4.1.2.2)")
    return CertID(
        encode_tlv(SEQUENCE, bytes(element.data)),  # DER has one header for a length, so these are the octets received
        HASHES.get(oid, oid),
        fields.issuer_name_hash,
        fields.issuer_key_hash,
        fields.serial_number,
    )


def _known_extensions(extensions: Iterable[_Extension], *known: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for extension in extensions:
        oid = extension.extn_id.dotted_string
        if oid in found:
            raise Malformed(f"the OCSP request has extension {oid} twice")
        if extension.critical and oid not in known:
            raise Malformed(f"the OCSP request has the critical extension {oid}, which is not understood")
        found[oid] = extension.extn_value
    return found


def _check_nonce(value: bytes) -> None:
    """RFC 9654 §2.1: 1 to 128 octets, counted inside the OCTET STRING if there is one."""
    size = len(value)
    if size >= 2 and value[0] == OCTET_STRING:
        try:
            size = len(read_element(value, "the nonce", OCTET_STRING).content)
        except Malformed:  # a bare nonce that happens to begin like an OCTET STRING
            size = len(value)
    if not 1 <= size <= MAX_NONCE_SIZE:
        raise Malformed(f"the OCSP nonce has {size} octets", f"Send 1 to {MAX_NONCE_SIZE} (RFC 9654 §2.1)")


@dataclass(frozen=True, slots=True)
class Good:
    """Issued and not revoked."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """This issuer never issued the serial number."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """`UNSPECIFIED` is said by leaving the reason out (RFC 9919 §3.2.1 and RFC 5280 §5.3.1)."""

    at: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED


CertStatus = Good | Revoked | Unknown


class SingleResponse(NamedTuple):
    cert_id: CertID
    status: CertStatus
    this_update: datetime
    next_update: datetime


_GOOD: Final = b"\x80\x00"
_UNKNOWN: Final = b"\x82\x00"
_REASONS: Final = {
    reason: b"" if reason is RevocationReason.UNSPECIFIED else bytes((0xA0, 3, _ENUMERATED, 1, reason.code))
    for reason in RevocationReason
}
_BASIC: Final = oids.encode_oid(oids.OCSP_BASIC)
_NONCE: Final = oids.encode_oid(oids.OCSP_NONCE)
_SUCCESSFUL: Final = bytes((_ENUMERATED, 1, ResponseStatus.SUCCESSFUL))


def encode_response_data(
    responder_key_hash: bytes,
    produced_at: datetime,
    singles: Sequence[SingleResponse | tuple[CertID, CertStatus, datetime, datetime]],
    nonce: bytes | None = None,
) -> bytes:
    """ResponseData, which is what the responder signs (RFC 6960 §4.2.1).

    `responder_key_hash` is the SHA-1 of the responder's public key bits (RFC 9919: byKey); `nonce` is echoed as
    `parse_ocsp_request` gave it.
    """
    extensions = b""
    if nonce is not None:
        listed = encode_sequence((encode_sequence((_NONCE, encode_tlv(OCTET_STRING, nonce))),))
        extensions = encode_tlv(CONTEXT | CONSTRUCTED | 1, listed)
    fields = (
        encode_tlv(CONTEXT | CONSTRUCTED | 2, encode_tlv(OCTET_STRING, responder_key_hash)),
        encode_generalized_time(produced_at),
        encode_sequence(_encode_single(*single) for single in singles),
        extensions,
    )
    return encode_sequence(fields)


def _encode_single(cert_id: CertID, status: CertStatus, this_update: datetime, next_update: datetime) -> bytes:
    until = encode_tlv(CONTEXT | CONSTRUCTED | 0, encode_generalized_time(next_update))
    return encode_sequence((cert_id.der, _encode_status(status), encode_generalized_time(this_update), until))


def _encode_status(status: CertStatus) -> bytes:
    match status:
        case Good():
            return _GOOD
        case Unknown():
            return _UNKNOWN
        case Revoked(at, reason):
            return encode_tlv(CONTEXT | CONSTRUCTED | 1, encode_generalized_time(at) + _REASONS[reason])


def assemble_ocsp_response(
    response_data: bytes, algorithm: SignatureAlgorithm, signature: bytes, certificates: Sequence[bytes] = ()
) -> bytes:
    """A successful OCSPResponse around the signed octets. `certificates` are DER, the responder's own first."""
    included = encode_tlv(CONTEXT | CONSTRUCTED | 0, encode_sequence(certificates)) if certificates else b""
    signed = encode_tlv(BIT_STRING, b"\0" + signature)
    basic = encode_sequence((response_data, encode_algorithm(algorithm), signed, included))
    response_bytes = encode_sequence((_BASIC, encode_tlv(OCTET_STRING, basic)))
    return encode_sequence((_SUCCESSFUL, encode_tlv(CONTEXT | CONSTRUCTED | 0, response_bytes)))


def error_response(status: ResponseStatus | int) -> bytes:
    """An OCSPResponse that is nothing but its status: unsigned, without responseBytes. Raises ValueError for
    `successful` and for a number that is no OCSPResponseStatus."""
    status = ResponseStatus(status)
    if status is ResponseStatus.SUCCESSFUL:
        raise ValueError("a successful response has a signed answer")
    return encode_sequence((bytes((_ENUMERATED, 1, status)),))
