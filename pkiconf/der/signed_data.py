"""CMS SignedData, written (RFC 5652 §5): timestamps, SCEP messages, signed profiles.

As with everything that is signed, there are three steps: encode the signed attributes, sign those octets, assemble.
What is the same in every message of one signer is encoded once, in a `SignerIdentity`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.algorithms import encode_algorithm
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.frames import Part, wrap
from pkiconf.der.times import encode_time
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, OCTET_STRING, SEQUENCE, SET, encode_sequence, encode_set, encode_tlv
from pkiconf.model.keys import Hash, KeyType, Padding, SignatureAlgorithm

_EXPLICIT_0: Final = CONTEXT | CONSTRUCTED | 0
_IMPLICIT_0: Final = CONTEXT | CONSTRUCTED | 0
_IMPLICIT_1: Final = CONTEXT | CONSTRUCTED | 1
_VERSIONS: Final = {1: b"\x02\x01\x01", 3: b"\x02\x01\x03"}
_SIGNED_DATA: Final = oids.encode_oid(oids.PKCS7_SIGNED_DATA)
_RSA: Final = encode_sequence((oids.encode_oid(oids.RSA_ENCRYPTION), b"\x05\x00"))


@dataclass(frozen=True, slots=True)
class DigestAlgorithm:
    """`encoded` is the AlgorithmIdentifier; RFC 5754 §2 leaves the parameters of SHA-2 out."""

    name: str
    encoded: bytes
    digest: Callable[[bytes], bytes]


def _sha2(name: str, oid: str) -> DigestAlgorithm:
    constructor = getattr(hashlib, name)
    return DigestAlgorithm(name, encode_sequence((oids.encode_oid(oid),)), lambda data: constructor(data).digest())


SHA1: Final = DigestAlgorithm(
    # Some who ask for SCEP know nothing better, and see whether they can check an answer to them.
    "sha1",
    encode_sequence((oids.encode_oid(oids.SHA1),)),
    lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
)
SHA256: Final = _sha2("sha256", oids.SHA256)
SHA384: Final = _sha2("sha384", oids.SHA384)
SHA512: Final = _sha2("sha512", oids.SHA512)
SHAKE256: Final = DigestAlgorithm(
    "shake256",
    encode_sequence((oids.encode_oid(oids.SHAKE256_LEN), asn1.encode_der(512))),
    lambda data: hashlib.shake_256(data).digest(64),
)

_OF_HASH: Final = {Hash.SHA256: SHA256, Hash.SHA384: SHA384, Hash.SHA512: SHA512}


def digest_for(algorithm: SignatureAlgorithm) -> DigestAlgorithm:
    """What the message is hashed with for the message-digest attribute: the signature's own hash; for algorithms that
    fix theirs SHA-512 (RFC 8419 §3.1 for Ed25519, RFC 9882 §3.3 for ML-DSA), or SHAKE256 (RFC 8419 §3.1 for Ed448)."""
    if algorithm.hash is not None:
        return _OF_HASH[algorithm.hash]
    return SHAKE256 if algorithm.key_type is KeyType.ED448 else SHA512


@dataclass(frozen=True, slots=True)
class SignerIdentity:
    """What a SignerInfo says of its signer, encoded: `identifier` is an issuerAndSerialNumber."""

    identifier: bytes
    digest: DigestAlgorithm
    signature_algorithm: bytes

    @classmethod
    def of(
        cls, certificate: bytes, algorithm: SignatureAlgorithm, digest: DigestAlgorithm | None = None
    ) -> SignerIdentity:
        """Of whoever has this DER certificate and signs with this algorithm. Raises Malformed."""
        return cls(issuer_and_serial(certificate), digest or digest_for(algorithm), encode_cms_algorithm(algorithm))


@lru_cache(maxsize=256)
def issuer_and_serial(certificate: bytes) -> bytes:
    """IssuerAndSerialNumber (RFC 5652 §10.2.4), the issuer as the certificate spells it. Raises Malformed."""
    parsed = parse_certificate(certificate)
    return encode_sequence((parsed.issuer, asn1.encode_der(parsed.serial_number)))


def encode_cms_algorithm(algorithm: SignatureAlgorithm) -> bytes:
    """RSA with PKCS#1 v1.5 is named by its key alone: the one form that every reader must take (RFC 5754 §3.2)."""
    return _RSA if algorithm.padding is Padding.PKCS1V15 else encode_algorithm(algorithm)


def encode_attribute(oid: str, *values: bytes) -> bytes:
    """`values` are DER elements."""
    return encode_sequence((oids.encode_oid(oid), encode_set(values)))


def content_type(oid: str) -> bytes:
    """RFC 5652 §11.1."""
    return encode_attribute(oids.CONTENT_TYPE, oids.encode_oid(oid))


def message_digest(digest: bytes) -> bytes:
    """RFC 5652 §11.2: the hash of the content's octets."""
    return encode_attribute(oids.MESSAGE_DIGEST, encode_tlv(OCTET_STRING, digest))


def signing_time(moment: datetime) -> bytes:
    """RFC 5652 §11.3: UTCTime until 2049."""
    return encode_attribute(oids.SIGNING_TIME, encode_time(moment))


def encode_signed_attributes(attributes: Iterable[bytes]) -> bytes:
    """The octets to sign (RFC 5652 §5.4): a DER SET OF, although it lies in the SignerInfo under another tag."""
    return encode_set(attributes)


def encode_signer_info(
    signer: SignerIdentity, signed_attributes: bytes, signature: bytes, unsigned_attributes: Iterable[bytes] = ()
) -> bytes:
    """`signed_attributes` are the octets that were signed."""
    unsigned = b"".join(sorted(unsigned_attributes))
    return encode_sequence(
        (
            _VERSIONS[1],
            signer.identifier,
            signer.digest.encoded,
            b"\xa0" + signed_attributes[1:],
            signer.signature_algorithm,
            encode_tlv(OCTET_STRING, signature),
            encode_tlv(_IMPLICIT_1, unsigned) if unsigned else b"",
        )
    )


def encode_certificates(certificates: Iterable[bytes]) -> bytes:
    """The field `certificates`, each once. DER orders a SET OF by octets; readers find theirs by issuer and serial."""
    bag = b"".join(sorted(set(certificates)))
    return encode_tlv(_IMPLICIT_0, bag) if bag else b""


def encode_crls(crls: Iterable[bytes]) -> bytes:
    """The field `crls`."""
    bag = b"".join(sorted(set(crls)))
    return encode_tlv(_IMPLICIT_1, bag) if bag else b""


def encode_content(oid: str, content: bytes | None) -> bytes:
    """EncapsulatedContentInfo; `content` None leaves it out, because it lies elsewhere or there is none."""
    inside = b"" if content is None else encode_tlv(_EXPLICIT_0, encode_tlv(OCTET_STRING, content))
    return encode_sequence((oids.encode_oid(oid), inside))


def assemble_signed_data(
    oid: str,
    content: bytes | None,
    signer_infos: Iterable[tuple[SignerIdentity, bytes]] = (),
    certificates: bytes = b"",
    crls: bytes = b"",
) -> bytes:
    """A ContentInfo around all of it. `signer_infos` are identities with what `encode_signer_info` made for each;
    `certificates` and `crls` are those two fields, encoded. The version follows from the type of the content
    (RFC 5652 §5.1)."""
    infos = tuple(signer_infos)
    signed_data = encode_sequence(
        (
            _VERSIONS[1 if oid == oids.PKCS7_DATA else 3],
            encode_set({identity.digest.encoded for identity, _ in infos}),
            encode_content(oid, content),
            certificates,
            crls,
            encode_tlv(SET, b"".join(sorted(info for _, info in infos))),
        )
    )
    return encode_sequence((_SIGNED_DATA, encode_tlv(_EXPLICIT_0, signed_data)))


def frame_signed_data(
    oid: str, identity: SignerIdentity, *, content: int, certificates: int, attributes: int, signature: int
) -> tuple[Part, ...]:
    """What `assemble_signed_data` makes around one signer, with four holes of these sizes: the content's octets, the
    field `certificates`, the signed attributes without the tag under which they were signed, and the signature. For a
    content that has a type of its own (version 3)."""
    signer_info = wrap(
        SEQUENCE,
        *(_VERSIONS[1], identity.identifier, identity.digest.encoded, b"\xa0", attributes),
        *(identity.signature_algorithm, *wrap(OCTET_STRING, signature)),
    )
    encapsulated = wrap(SEQUENCE, oids.encode_oid(oid), *wrap(_EXPLICIT_0, *wrap(OCTET_STRING, content)))
    digests = encode_set((identity.digest.encoded,))
    signed_data = wrap(SEQUENCE, _VERSIONS[3], digests, *encapsulated, certificates, *wrap(SET, *signer_info))
    return wrap(SEQUENCE, _SIGNED_DATA, *wrap(_EXPLICIT_0, *signed_data))
