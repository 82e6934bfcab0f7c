"""One key of each kind a run, and signatures straight from the engine: no signer of ours has a part in them."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87

from pkiconf.model.keys import Hash, KeyType, Padding, SignatureAlgorithm

HASHES: dict[Hash | None, hashes.HashAlgorithm] = {
    Hash.SHA256: hashes.SHA256(),
    Hash.SHA384: hashes.SHA384(),
    Hash.SHA512: hashes.SHA512(),
}
SEED = bytes(range(32))
ML_DSA_ORACLES = {44: ML_DSA_44, 65: ML_DSA_65, 87: ML_DSA_87}

AnyKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    curves = {"secp256r1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1()}
    return ec.generate_private_key(curves[curve])


@cache
def key_for(algorithm: SignatureAlgorithm) -> AnyKey:
    match algorithm.key_type, algorithm.key_bits:
        case KeyType.RSA, _:
            return rsa_key()
        case KeyType.EC, _:
            curves = {Hash.SHA256: "secp256r1", Hash.SHA384: "secp384r1", Hash.SHA512: "secp521r1"}
            assert algorithm.hash is not None
            return ec_key(curves[algorithm.hash])
        case KeyType.ED25519, _:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.ED448, _:
            return ed448.Ed448PrivateKey.generate()
        case _, 44:
            return mldsa.MLDSA44PrivateKey.from_seed_bytes(SEED)
        case _, 65:
            return mldsa.MLDSA65PrivateKey.from_seed_bytes(SEED)
    return mldsa.MLDSA87PrivateKey.from_seed_bytes(SEED)


def sign(algorithm: SignatureAlgorithm, message: bytes) -> bytes:
    """With `key_for(algorithm)`."""
    key = key_for(algorithm)
    if isinstance(key, rsa.RSAPrivateKey):
        digest = HASHES[algorithm.hash]
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return key.sign(message, pss if algorithm.padding is Padding.PSS else padding.PKCS1v15(), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(HASHES[algorithm.hash]))
    return key.sign(message)


def spki_for(algorithm: SignatureAlgorithm) -> bytes:
    return key_for(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
