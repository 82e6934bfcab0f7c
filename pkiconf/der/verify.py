"""Signatures are checked here, and nothing is released before."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa

from pkiconf.der.certificate import Certificate
from pkiconf.der.digests import HASHES
from pkiconf.der.keys import load_public_key
from pkiconf.errors import Unverified
from pkiconf.model.keys import KeyType, Padding, SignatureAlgorithm

_ECDSA: Final = {name: ec.ECDSA(algorithm) for name, algorithm in HASHES.items()}
_FixedKey = (
    ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
# Algorithms that leave nothing to choose, and the one kind of key that each goes with.
_FIXED: Final[Mapping[str, type[_FixedKey]]] = MappingProxyType(
    {
        "Ed25519": ed25519.Ed25519PublicKey,
        "Ed448": ed448.Ed448PublicKey,
        "ML-DSA-44": mldsa.MLDSA44PublicKey,
        "ML-DSA-65": mldsa.MLDSA65PublicKey,
        "ML-DSA-87": mldsa.MLDSA87PublicKey,
    }
)


def verify_signature(spki: bytes, algorithm: SignatureAlgorithm, message: bytes, signature: bytes) -> None:
    """Raise Unverified unless `signature` over `message` was made with the key of `spki`, by `algorithm`.

    Raises Malformed or UnsupportedAlgorithm for a key that cannot be read. A PSS salt may have any length.
    """
    key = load_public_key(spki)
    try:
        if algorithm.key_type is KeyType.RSA and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, _padding(algorithm), _hash(algorithm))
        elif algorithm.key_type is KeyType.EC and isinstance(key, ec.EllipticCurvePublicKey):
            assert algorithm.hash is not None
            key.verify(signature, message, _ECDSA[algorithm.hash])
        elif isinstance(key, _FixedKey) and isinstance(key, _FIXED.get(algorithm.name, ())):
            key.verify(signature, message)
        else:
            raise Unverified(f"a signature by {algorithm.name} cannot come from this kind of key")
    except InvalidSignature:
        raise Unverified("the signature does not hold") from None
    except ValueError as error:
        # A modulus too small for the hash and its padding, for one.
        raise Unverified(f"the signature does not hold: {error}") from None


def verify_rsa_sha1(spki: bytes, message: bytes, signature: bytes) -> None:
    """RSASSA-PKCS1-v1_5 with SHA-1, which some devices have and nothing better: only for what proves that a key is held
    and need not withstand a collision. Raises Unverified."""
    key = load_public_key(spki)
    if not isinstance(key, rsa.RSAPublicKey):
        raise Unverified("a signature by RSA cannot come from this kind of key")
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    except (InvalidSignature, ValueError):
        raise Unverified("the signature does not hold") from None


def _hash(algorithm: SignatureAlgorithm) -> hashes.HashAlgorithm:
    assert algorithm.hash is not None
    return HASHES[algorithm.hash]


def _padding(algorithm: SignatureAlgorithm) -> padding.AsymmetricPadding:
    if algorithm.padding is Padding.PKCS1V15:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(_hash(algorithm)), padding.PSS.AUTO)


def check_issued_by(child: Certificate, parent: Certificate) -> None:
    """Raise Unverified unless `parent`'s name is `child`'s issuer, byte for byte, and its key signed `child`.
    Validity, constraints and usages are policy's to judge."""
    if child.issuer != parent.subject:
        raise Unverified("a certificate names another issuer than the one it is checked against")
    verify_signature(parent.spki, child.algorithm, child.tbs, child.signature)
