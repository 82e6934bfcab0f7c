"""The one table of key and signature algorithms. A new algorithm is a row here and a backend that can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pkiconf.errors import UnsupportedAlgorithm


class KeyType(StrEnum):
    RSA = "rsa"
    EC = "ec"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA = "ml-dsa"


class Hash(StrEnum):
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Padding(StrEnum):
    """RSA signature padding (RFC 8017): `PKCS1V15` is RSASSA-PKCS1-v1_5, `PSS` is RSASSA-PSS."""

    PKCS1V15 = "pkcs1v15"
    PSS = "pss"


@dataclass(frozen=True, slots=True)
class KeyAlgorithm:
    """A kind of key that can be generated. `bits` is the RSA modulus, the EC field, or the ML-DSA set. `quick`: to sign
    and to check the signature takes about a millisecond at most, so that a server's main loop may."""

    name: str
    type: KeyType
    bits: int
    security_bits: int
    quick: bool = False


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """`hash` is None where the algorithm fixes it; `padding` is set for RSA only."""

    name: str
    oid: str
    key_type: KeyType
    key_bits: int | None = None  # set where the OID implies the key's size
    hash: Hash | None = None
    padding: Padding | None = None


_KEYS = (
    KeyAlgorithm("rsa-2048", KeyType.RSA, 2048, 112, quick=True),
    KeyAlgorithm("rsa-3072", KeyType.RSA, 3072, 128),
    KeyAlgorithm("rsa-4096", KeyType.RSA, 4096, 140),
    KeyAlgorithm("ec-p256", KeyType.EC, 256, 128, quick=True),
    KeyAlgorithm("ec-p384", KeyType.EC, 384, 192, quick=True),
    KeyAlgorithm("ec-p521", KeyType.EC, 521, 256),
    KeyAlgorithm("ed25519", KeyType.ED25519, 256, 128, quick=True),
    KeyAlgorithm("ed448", KeyType.ED448, 456, 224, quick=True),
    KeyAlgorithm("ml-dsa-44", KeyType.ML_DSA, 44, 128),
    KeyAlgorithm("ml-dsa-65", KeyType.ML_DSA, 65, 192),
    KeyAlgorithm("ml-dsa-87", KeyType.ML_DSA, 87, 256),
)

_SIGNATURES = (
    SignatureAlgorithm("sha256WithRSAEncryption", "1.2.840.113549.1.1.11", KeyType.RSA, hash=Hash.SHA256, padding=Padding.PKCS1V15),  # noqa: E501
    SignatureAlgorithm("sha384WithRSAEncryption", "1.2.840.113549.1.1.12", KeyType.RSA, hash=Hash.SHA384, padding=Padding.PKCS1V15),  # noqa: E501
    SignatureAlgorithm("sha512WithRSAEncryption", "1.2.840.113549.1.1.13", KeyType.RSA, hash=Hash.SHA512, padding=Padding.PKCS1V15),  # noqa: E501
    SignatureAlgorithm("rsassaPss-sha256", "1.2.840.113549.1.1.10", KeyType.RSA, hash=Hash.SHA256, padding=Padding.PSS),
    SignatureAlgorithm("rsassaPss-sha384", "1.2.840.113549.1.1.10", KeyType.RSA, hash=Hash.SHA384, padding=Padding.PSS),
    SignatureAlgorithm("rsassaPss-sha512", "1.2.840.113549.1.1.10", KeyType.RSA, hash=Hash.SHA512, padding=Padding.PSS),
    SignatureAlgorithm("ecdsa-with-SHA256", "1.2.840.10045.4.3.2", KeyType.EC, hash=Hash.SHA256),
    SignatureAlgorithm("ecdsa-with-SHA384", "1.2.840.10045.4.3.3", KeyType.EC, hash=Hash.SHA384),
    SignatureAlgorithm("ecdsa-with-SHA512", "1.2.840.10045.4.3.4", KeyType.EC, hash=Hash.SHA512),
    SignatureAlgorithm("Ed25519", "1.3.101.112", KeyType.ED25519, 256),
    SignatureAlgorithm("Ed448", "1.3.101.113", KeyType.ED448, 456),
    SignatureAlgorithm("ML-DSA-44", "2.16.840.1.101.3.4.3.17", KeyType.ML_DSA, 44),
    SignatureAlgorithm("ML-DSA-65", "2.16.840.1.101.3.4.3.18", KeyType.ML_DSA, 65),
    SignatureAlgorithm("ML-DSA-87", "2.16.840.1.101.3.4.3.19", KeyType.ML_DSA, 87),
)  # fmt: skip

KEY_ALGORITHMS: Mapping[str, KeyAlgorithm] = MappingProxyType({row.name: row for row in _KEYS})
SIGNATURE_ALGORITHMS: Mapping[str, SignatureAlgorithm] = MappingProxyType({row.name: row for row in _SIGNATURES})

_DEFAULT_HASH = {("ec", 384): Hash.SHA384, ("ec", 521): Hash.SHA512}


def get_key_algorithm(name: str) -> KeyAlgorithm:
    try:
        return KEY_ALGORITHMS[name]
    except KeyError:
        raise UnsupportedAlgorithm(
            f"key algorithm {name!r} is not known", f"Use one of {', '.join(KEY_ALGORITHMS)}"
        ) from None


def signature_algorithms_for(key: KeyAlgorithm) -> tuple[SignatureAlgorithm, ...]:
    """What a key can sign with, its default first: the hash that matches the curve's strength, PKCS#1 v1.5 for RSA."""
    fitting = [row for row in _SIGNATURES if row.key_type is key.type and row.key_bits in (None, key.bits)]
    wanted = _DEFAULT_HASH.get((key.type.value, key.bits), Hash.SHA256)
    return tuple(sorted(fitting, key=lambda row: (row.padding is Padding.PSS, row.hash not in (wanted, None))))


def get_signature_algorithm(
    key: KeyAlgorithm, hash: Hash | None = None, padding: Padding | None = None
) -> SignatureAlgorithm:
    """The row for a key with the wished hash and padding; None takes the key's default.

    Raises UnsupportedAlgorithm for a hash with a key that fixes its own (EdDSA, ML-DSA), or a padding without RSA.
    """
    for row in signature_algorithms_for(key):
        if hash in (None, row.hash) and padding in (None, row.padding):
            return row
    wish = " and ".join(word for word in (hash, padding) if word)
    known = ", ".join(row.name for row in signature_algorithms_for(key))
    raise UnsupportedAlgorithm(f"a key of type {key.name} does not sign with {wish}", f"It signs with {known}")
