"""SignedData as others send it (RFC 5652 §5): read leniently, verified over the attributes as they came.

DER is read at once. What is no DER is made definite first (`ber`): so only those pay for BER who send it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pkiconf.der import oids
from pkiconf.der.ber import make_definite
from pkiconf.der.certificate_head import CertificateHead, IssuerAndSerial, parse_head, parse_issuer_and_serial
from pkiconf.der.digests import DIGESTS
from pkiconf.der.keys import load_public_key
from pkiconf.der.reader import Reader, unwrap
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.cms import DIGEST_OIDS, Digest

_FIRST: Final = CONTEXT | CONSTRUCTED | 0
_SECOND: Final = CONTEXT | CONSTRUCTED | 1
_KEY_IDENTIFIER: Final = CONTEXT | 0

_PADDING: Final = padding.PKCS1v15()

# rsaEncryption leaves the hash to digestAlgorithm; the others must agree with it (RFC 5754 §3.2).
_RSA_SIGNATURES: Final[Mapping[str, Digest | None]] = {
    oids.RSA_ENCRYPTION: None,
    "1.2.840.113549.1.1.5": Digest.SHA1,
    "1.2.840.113549.1.1.14": Digest.SHA224,
    "1.2.840.113549.1.1.11": Digest.SHA256,
    "1.2.840.113549.1.1.12": Digest.SHA384,
    "1.2.840.113549.1.1.13": Digest.SHA512,
}


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """`attributes` maps each type to its values, as DER elements; `signed` is what was signed: the attributes as they
    came, tagged as a SET (§5.4). `digest` and `signature_algorithm` are dotted OIDs."""

    signer: IssuerAndSerial | bytes
    digest: str
    attributes: Mapping[str, tuple[Element, ...]]
    signed: bytes
    signature_algorithm: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedData:
    """`content` is None where none lies inside; certificates are octets as they came."""

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def parse_signed_data(data: bytes) -> SignedData:
    """A ContentInfo with SignedData, DER or BER. Nothing is verified. Raises Malformed."""
    try:
        return _parse(data)
    except Malformed:
        return _parse(make_definite(data, "the signed message"))


def content_of(data: bytes, content_type: str, what: str) -> Element:
    """What a ContentInfo of this type holds. Raises Malformed."""
    info = Reader.over(data, what)
    found = oids.decode_oid(info.take(OBJECT_IDENTIFIER).der, what)
    if found != content_type:
        raise Malformed(f"{what} has content type {found} where {content_type} belongs")
    return unwrap(info.take(_FIRST), what)


def _parse(data: bytes) -> SignedData:
    what = "the signed message"
    reader = Reader(content_of(data, oids.PKCS7_SIGNED_DATA, what), what)
    reader.take(INTEGER)
    reader.take(SET)
    content_type, content = _parse_content(reader.take(SEQUENCE))
    certificates = reader.take_optional(_FIRST)
    crls = reader.take_optional(_SECOND)
    signers = reader.take(SET)
    reader.close()
    return SignedData(
        content_type=content_type,
        content=content,
        # Attribute certificates and what else may lie there has tags of its own.
        certificates=_members(certificates),
        crls=_members(crls),
        signers=tuple(_parse_signer(element) for element in read_elements(signers.content, what)),
    )


def _members(implicit: Element | None) -> tuple[bytes, ...]:
    if implicit is None:
        return ()
    return tuple(found.der for found in read_elements(implicit.content, "the signed message") if found.tag == SEQUENCE)


def _parse_content(element: Element) -> tuple[str, bytes | None]:
    what = "the content of the signed message"
    reader = Reader(element, what)
    content_type = oids.decode_oid(reader.take(OBJECT_IDENTIFIER).der, what)
    explicit = reader.take_optional(_FIRST)
    reader.close()
    return content_type, read_element(explicit.content, what, OCTET_STRING).content if explicit else None


def _parse_signer(element: Element) -> SignerInfo:
    what = "the signer of the message"
    reader = Reader(element, what)
    reader.take(INTEGER)
    sid = reader.take(SEQUENCE, _KEY_IDENTIFIER)
    digest = parse_algorithm_oid(reader.take(SEQUENCE), what)
    attributes = reader.take_optional(_FIRST)
    algorithm = parse_algorithm_oid(reader.take(SEQUENCE), what)
    signature = reader.take(OCTET_STRING).content
    reader.take_optional(_SECOND)
    reader.close()
    return SignerInfo(
        signer=parse_issuer_and_serial(sid, what) if sid.tag == SEQUENCE else sid.content,
        digest=digest,
        attributes=_parse_attributes(attributes.content) if attributes else {},
        signed=encode_tlv(SET, attributes.content) if attributes else b"",
        signature_algorithm=algorithm,
        signature=signature,
    )


def _parse_attributes(content: bytes) -> dict[str, tuple[Element, ...]]:
    what = "a signed attribute"
    found: dict[str, tuple[Element, ...]] = {}
    for element in read_elements(content, what):
        members = read_elements(element.content, what)
        if element.tag != SEQUENCE or len(members) != 2 or members[1].tag != SET:
            raise Malformed(f"{what} is not a type with a set of values")
        oid = oids.decode_oid(members[0].der, what)
        if oid in found:
            raise Malformed(f"signed attribute {oid} stands there twice")
        found[oid] = tuple(read_elements(members[1].content, what))
    return found


def parse_algorithm_oid(element: Element, what: str) -> str:
    """The dotted OID of an AlgorithmIdentifier, whatever its parameters are. Raises Malformed."""
    members = read_elements(element.content, what)
    if not members or members[0].tag != OBJECT_IDENTIFIER:
        raise Malformed(f"{what} names no algorithm")
    return oids.decode_oid(members[0].der, what)


def find_signer(signer: SignerInfo, certificates: tuple[bytes, ...]) -> CertificateHead:
    """The certificate among these that the signer points to. Raises Malformed when none is."""
    heads = [head for head in map(_head_or_none, certificates) if head is not None]
    for head in heads:
        if head.is_meant_by(signer.signer):
            return head
    # Some write the issuer in another encoding than in their certificate; the signature tells whether it is the one.
    for head in heads:
        if head.has_serial(signer.signer):
            return head
    raise Malformed("the certificate of the signer is not in the message")


def _head_or_none(der: bytes) -> CertificateHead | None:
    """What nobody points to need not be readable."""
    try:
        return parse_head(der)
    except Malformed:
        return None


def digest_of(signer: SignerInfo) -> Digest:
    """Raises UnsupportedAlgorithm, also for MD5."""
    found = DIGEST_OIDS.get(signer.digest)
    if found is None:
        raise UnsupportedAlgorithm(f"digest algorithm {signer.digest} is not accepted", "Use SHA-256 or better")
    return found


def verify_signer(signer: SignerInfo, content: bytes, spki: bytes) -> None:
    """Raise Unverified unless the holder of an RSA key signed the attributes, and they hold the digest of the content
    (§5.4, §5.6). Raises UnsupportedAlgorithm for another kind of key, MD5, or a signature by another scheme."""
    digest = digest_of(signer)
    claimed = signer.attributes.get(oids.MESSAGE_DIGEST, ())
    actual = hashlib.new(digest.value, content, usedforsecurity=False).digest()
    if len(claimed) != 1 or not hmac.compare_digest(claimed[0].content, actual):
        raise Unverified("the message digest is not that of the content")
    if _RSA_SIGNATURES.get(signer.signature_algorithm, digest) not in (None, digest):
        raise Unverified("the signature algorithm and the digest algorithm of the message differ")
    if signer.signature_algorithm not in _RSA_SIGNATURES:
        raise UnsupportedAlgorithm(
            f"signature algorithm {signer.signature_algorithm} is not accepted", "Use RSA with SHA-256 or better"
        )
    verify_rsa(spki, digest, signer.signed, signer.signature)


def verify_rsa(spki: bytes, digest: Digest, message: bytes, signature: bytes) -> None:
    """RSASSA-PKCS1-v1_5. Raises Unverified; UnsupportedAlgorithm for another kind of key."""
    key = load_public_key(spki)
    if not isinstance(key, rsa.RSAPublicKey):
        raise UnsupportedAlgorithm("the message is signed with a key that is not RSA", "Use an RSA key")
    try:
        key.verify(signature, message, _PADDING, DIGESTS[digest])
    except (InvalidSignature, ValueError):
        raise Unverified("the signature of the message does not hold") from None
