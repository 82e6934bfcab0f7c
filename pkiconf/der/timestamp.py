"""Timestamp requests, and responses that refuse them (RFC 3161 §2.4). Tokens are in `timestamp_token`."""

from __future__ import annotations

from typing import Final, NamedTuple

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.tlv import (
    BIT_STRING,
    BOOLEAN,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    encode_sequence,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.errors import PkiconfError
from pkiconf.model.timestamps import FailureInfo, PKIStatus

MAX_REQUEST_SIZE: Final = 16 * 1024
_LONGEST_NONCE: Final = 64  # octets: four times what any client sends

_VERSION_1: Final = b"\x02\x01\x01"
_UTF8_STRING: Final = 0x0C
_IMPLICIT_0: Final = CONTEXT | CONSTRUCTED | 0

_HASHES: Final = (
    (oids.SHA1, "sha1", 20),
    (oids.SHA256, "sha256", 32),
    (oids.SHA384, "sha384", 48),
    (oids.SHA512, "sha512", 64),
    (oids.SHA3_256, "sha3-256", 32),
    (oids.SHA3_384, "sha3-384", 48),
    (oids.SHA3_512, "sha3-512", 64),
)
# RFC 5754 §2: parameters are absent, though many write NULL.
_ALGORITHMS: Final = {
    encode_sequence((oids.encode_oid(oid), parameters)): (name, size)
    for oid, name, size in _HASHES
    for parameters in (b"", b"\x05\x00")
}
# What nearly every request has between its own header and the hash: the version, and the headers around the hash.
_USUAL: Final = {
    b"%b%c%c%b%c%c" % (_VERSION_1, SEQUENCE, len(algorithm) + 2 + known[1], algorithm, OCTET_STRING, known[1]): known
    for algorithm, known in _ALGORITHMS.items()
}
_SHORTEST: Final = min(map(len, _USUAL)) + 2
_FIRST_LONG: Final = 2 + 0x80
"""Octets from which on a length takes more than one."""


class Rejected(PkiconfError):
    """A request that gets no token, and which failure that is in RFC 3161's words."""

    def __init__(self, failure: FailureInfo, detail: str, hint: str = "") -> None:
        super().__init__(detail, hint)
        self.failure = failure


class TimestampRequest(NamedTuple):
    """`imprint` and `nonce` are elements as they came: they are given back byte for byte. `policy` is an encoded
    object identifier; `nonce` and `policy` are empty when there is none."""

    digest: str
    hashed: bytes
    imprint: bytes
    policy: bytes
    nonce: bytes
    cert_req: bool


def parse_timestamp_request(der: bytes) -> TimestampRequest:
    """Read a TimeStampReq. Raises Rejected: for octets that are none, a hash that is not known or has another length
    than it should, and any extension, because none is understood."""
    if len(der) > MAX_REQUEST_SIZE:
        raise _malformed(f"the request has more than {MAX_REQUEST_SIZE} octets")
    try:
        digest, hashed, imprint, more = _read_usual_beginning(der) or _read_beginning(der)
        policy, nonce, cert_req = _read_options(more)
    except Rejected:
        raise
    except PkiconfError as error:
        raise _malformed(str(error)) from None
    return TimestampRequest(digest, hashed, imprint, policy, nonce, cert_req)


_Beginning = tuple[str, bytes, bytes, list[Element]]
"""Digest, hash, messageImprint as it came, and the elements that follow."""


def _read_beginning(der: bytes) -> _Beginning:
    members = read_elements(read_element(der, "the request", SEQUENCE).content, "the request")
    if len(members) < 2 or members[0].tag != INTEGER:
        raise _malformed("the request is no TimeStampReq: version and messageImprint are missing")
    if members[0].der != _VERSION_1:
        raise Rejected(FailureInfo.BAD_REQUEST, "the request is not version 1", "Send version 1 (RFC 3161)")
    return *_read_imprint(members[1]), members[1].der, members[2:]


def _read_usual_beginning(der: bytes) -> _Beginning | None:
    """The same in one look, of a request that begins as nearly all do. None for any other, be it well formed or not."""
    size = len(der)
    if not _SHORTEST <= size < _FIRST_LONG or der[0] != SEQUENCE or der[1] != size - 2:
        return None
    start = 11 + der[8]  # behind hashAlgorithm's length and octets, and the header of the hash
    known = _USUAL.get(der[2:start])
    if known is None:
        return None
    end = start + known[1]
    if end > size:
        return None
    return known[0], der[start:end], der[5:end], read_elements(der[end:], "the request")


def encode_timestamp_request(digest: str, hashed: bytes, nonce: bytes) -> bytes:
    """A TimeStampReq with a positive nonce, for a token with its certificates. Raises ValueError for a digest that has
    no name here."""
    oid = next((oid for oid, name, _ in _HASHES if name == digest), None)
    if oid is None:
        raise ValueError(f"{digest!r} is no digest")
    imprint = encode_sequence((encode_sequence((oids.encode_oid(oid),)), encode_tlv(OCTET_STRING, hashed)))
    return encode_sequence((_VERSION_1, imprint, asn1.encode_der(int.from_bytes(nonce)), b"\x01\x01\xff"))


def _read_imprint(imprint: Element) -> tuple[str, bytes]:
    members = read_elements(imprint.content, "messageImprint")
    if imprint.tag != SEQUENCE or len(members) != 2 or (members[0].tag, members[1].tag) != (SEQUENCE, OCTET_STRING):
        raise _malformed("messageImprint is not an algorithm and a hash")
    found = _ALGORITHMS.get(members[0].der)
    if found is None:
        read_elements(members[0].content, "hashAlgorithm")
        raise Rejected(
            FailureInfo.BAD_ALG, "the hash algorithm is not known here, or has parameters", "Send a SHA-256 hash"
        )
    if len(members[1].content) != found[1]:
        said = f"the hash has {len(members[1].content)} octets, but {found[0]} gives {found[1]}"
        raise _malformed(said, "Send the hash of the data, not the data")
    return found[0], members[1].content


def _read_options(members: list[Element]) -> tuple[bytes, bytes, bool]:
    """What may follow, each at most once and in this order: reqPolicy, nonce, certReq, extensions."""
    policy, nonce, cert_req, last = b"", b"", False, -1
    for member in members:
        place = _PLACES.get(member.tag, -1)
        if place <= last:
            raise _malformed(f"the request has a field with ASN.1 tag 0x{member.tag:02x} where none belongs")
        last = place
        if member.tag == OBJECT_IDENTIFIER:
            oids.decode_oid(member.der, "reqPolicy")
            policy = member.der
        elif member.tag == INTEGER:
            nonce = _checked_nonce(member)
        elif member.tag == BOOLEAN:
            cert_req = _read_boolean(member)
        else:
            _refuse_extensions(member)
    return policy, nonce, cert_req


_PLACES: Final = {OBJECT_IDENTIFIER: 0, INTEGER: 1, BOOLEAN: 2, _IMPLICIT_0: 3}


def _checked_nonce(nonce: Element) -> bytes:
    """It may be longer than 64 bits (RFC 3161 §2.4.1), and becomes part of the token, which is DER."""
    content = nonce.content
    padded = len(content) > 1 and (content[0], content[1] >> 7) in ((0x00, 0), (0xFF, 1))
    if not content or padded or len(content) > _LONGEST_NONCE:
        raise _malformed(f"the nonce is no INTEGER in its shortest form of at most {_LONGEST_NONCE} octets")
    return nonce.der


def _read_boolean(element: Element) -> bool:
    if element.content not in (b"\x00", b"\xff"):
        raise _malformed("certReq is no BOOLEAN")
    return element.content == b"\xff"


def _refuse_extensions(extensions: Element) -> None:
    found = read_elements(extensions.content, "extensions")
    if not found or any(one.tag != SEQUENCE for one in found):
        raise _malformed("the extensions of the request are none")
    for one in found:
        members = read_elements(one.content, "an extension")
        if not 2 <= len(members) <= 3 or members[0].tag != OBJECT_IDENTIFIER or members[-1].tag != OCTET_STRING:
            raise _malformed("an extension of the request is none")
        oid = oids.decode_oid(members[0].der, "an extension's identifier")
        raise Rejected(
            FailureInfo.UNACCEPTED_EXTENSION, f"extension {oid} is not understood", "Send a request without extensions"
        )


def _malformed(detail: str, hint: str = "") -> Rejected:
    return Rejected(FailureInfo.BAD_DATA_FORMAT, detail, hint)


def encode_rejection(failure: FailureInfo, text: str, status: PKIStatus = PKIStatus.REJECTION) -> bytes:
    """A TimeStampResp without a token. Raises ValueError for a status that comes with one."""
    if status in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        raise ValueError("a token is granted, and this response has none")
    said = encode_sequence((encode_tlv(_UTF8_STRING, text.encode()),))
    return encode_sequence((encode_sequence((asn1.encode_der(int(status)), said, _encode_failure(failure))),))


def _encode_failure(failure: FailureInfo) -> bytes:
    """A named bit list: zeros at its end are left out (X.690 §11.2.2)."""
    octets = bytearray(failure // 8 + 1)
    octets[-1] = 0x80 >> failure % 8
    return encode_tlv(BIT_STRING, bytes((7 - failure % 8,)) + octets)
