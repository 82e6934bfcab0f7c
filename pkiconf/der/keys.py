"""SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 3279, RFC 5480, RFC 8410, RFC 9881)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm as EngineUnsupported
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pkiconf.der import oids
from pkiconf.der.algorithms import unsupported_hint
from pkiconf.der.tlv import BIT_STRING, INTEGER, OBJECT_IDENTIFIER, Element, read_sequence
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.keys import KEY_ALGORITHMS, KeyType
from pkiconf.model.request import PublicKeyFacts

# OpenSSL computes with no larger modulus, and an attacker's would only cost time.
RSA_BITS_LIMIT: Final = 16384

_CURVES: Final = {
    oids.SECP256R1: ("p256", 256),
    oids.SECP384R1: ("p384", 384),
    oids.SECP521R1: ("p521", 521),
}
_NO_PARAMETERS: Final = {
    "1.3.101.112": (KeyType.ED25519, 256, 32),
    "1.3.101.113": (KeyType.ED448, 456, 57),
    "2.16.840.1.101.3.4.3.17": (KeyType.ML_DSA, 44, 1312),
    "2.16.840.1.101.3.4.3.18": (KeyType.ML_DSA, 65, 1952),
    "2.16.840.1.101.3.4.3.19": (KeyType.ML_DSA, 87, 2592),
}  # fmt: skip


def parse_public_key(spki: bytes) -> PublicKeyFacts:
    """What kind of key it is. Whether it is good enough is not judged here.

    Raises UnsupportedAlgorithm for a kind of key that is not ours, Malformed for bytes that are no such key:
    a point off its curve, a key of the wrong length, a negative modulus, BER.
    """
    algorithm, bits = _read(spki)
    oid, parameters = _parse_algorithm(algorithm)
    match oid:
        case oids.RSA_ENCRYPTION:
            return _rsa_facts(bits, parameters)
        case oids.EC_PUBLIC_KEY:
            return _ec_facts(spki, bits, parameters)
        case _ if oid in _NO_PARAMETERS:
            return _raw_facts(oid, bits, parameters)
    raise _unsupported(oid)


def _read(spki: bytes) -> tuple[bytes, bytes]:
    """The AlgorithmIdentifier, and the octets in the BIT STRING subjectPublicKey. Raises Malformed."""
    members = read_sequence(spki, "a SubjectPublicKeyInfo")
    if len(members) != 2 or members[1].tag != BIT_STRING:
        raise Malformed("a SubjectPublicKeyInfo is not an algorithm and a BIT STRING")
    bits = members[1].content
    if bits[:1] != b"\0":
        raise Malformed("the bits of a public key are not whole octets")
    return members[0].der, bits[1:]


@lru_cache(maxsize=64)
def _parse_algorithm(der: bytes) -> tuple[str, tuple[Element, ...]]:
    """Dotted OID and parameters."""
    members = read_sequence(der, "the algorithm of a public key")
    if not 1 <= len(members) <= 2 or members[0].tag != OBJECT_IDENTIFIER:
        raise Malformed("the algorithm of a public key is not an object identifier and its parameters")
    return oids.decode_oid(members[0].der, "the object identifier of a public key"), tuple(members[1:])


def _rsa_facts(bits: bytes, parameters: tuple[Element, ...]) -> PublicKeyFacts:
    if [parameter.der for parameter in parameters] != [b"\x05\x00"]:
        raise Malformed("the parameters of an RSA key are not NULL, as RFC 3279 asks")
    numbers = read_sequence(bits, "an RSAPublicKey")
    if [number.tag for number in numbers] != [INTEGER, INTEGER]:
        raise Malformed("an RSAPublicKey is not a modulus and an exponent")
    modulus, exponent = (_positive(number.content) for number in numbers)
    size = modulus.bit_length()
    if size > RSA_BITS_LIMIT or exponent >= modulus:
        raise Malformed(f"an RSAPublicKey has {size} bits, or an exponent as large as its modulus")
    return PublicKeyFacts(KeyType.RSA, size, modulus=modulus, exponent=exponent)


def _positive(content: bytes) -> int:
    if not content or content[0] >= 0x80 or content == b"\0":
        raise Malformed("an RSAPublicKey holds a number that is not positive")
    if content[0] == 0 and content[1] < 0x80:
        raise Malformed("an RSAPublicKey holds a number that is not in its shortest form")
    return int.from_bytes(content)


def _ec_facts(spki: bytes, point: bytes, parameters: tuple[Element, ...]) -> PublicKeyFacts:
    if len(parameters) != 1 or parameters[0].tag != OBJECT_IDENTIFIER:
        raise UnsupportedAlgorithm(
            "the curve of an EC key is not given by name", "Use a named curve: P-256, P-384 or P-521"
        )
    oid = oids.decode_oid(parameters[0].der, "the curve of an EC key")
    if oid not in _CURVES:
        raise UnsupportedAlgorithm(f"EC curve {oid} is not supported", "Use P-256, P-384 or P-521")
    if point[:1] in (b"\x02", b"\x03"):
        raise UnsupportedAlgorithm(
            "the point of an EC key is compressed", "Make it uncompressed, which everybody reads (RFC 5480 §2.2)"
        )
    curve, size = _CURVES[oid]
    # The engine reads hybrid points (X9.62, first octet 6 or 7) too; RFC 5480 does not know them.
    if point[:1] != b"\x04" or len(point) != 1 + 2 * ((size + 7) // 8):
        raise Malformed(f"an EC key of curve {curve} does not hold an uncompressed point")
    load_public_key(spki)
    return PublicKeyFacts(KeyType.EC, size, curve=curve)


def _raw_facts(oid: str, bits: bytes, parameters: tuple[Element, ...]) -> PublicKeyFacts:
    kind, size, length = _NO_PARAMETERS[oid]
    if parameters:
        raise Malformed(f"a key of type {kind} has algorithm parameters, which must be absent")
    if len(bits) != length:
        raise Malformed(f"a key of type {kind} has {len(bits)} octets where {length} belong")
    return PublicKeyFacts(kind, size)


def _unsupported(oid: str) -> UnsupportedAlgorithm:
    if oid == oids.RSASSA_PSS:
        return UnsupportedAlgorithm(
            "a key bound to RSASSA-PSS is not supported", "Use a plain RSA key; it can sign with PSS too"
        )
    hint = unsupported_hint(oid)
    if hint.startswith("Use one of"):
        hint = f"Use one of {', '.join(KEY_ALGORITHMS)}"
    return UnsupportedAlgorithm(f"public key algorithm {oid} is not supported", hint)


@lru_cache(maxsize=128)
def load_public_key(spki: bytes) -> PublicKeyTypes:
    """The engine's key; issuers' keys come here again and again, so that the last ones are kept.
    Raises Malformed or UnsupportedAlgorithm."""
    try:
        return load_der_public_key(spki)
    except EngineUnsupported as error:
        raise UnsupportedAlgorithm(f"a public key is not supported: {error}") from None
    except (ValueError, TypeError) as error:
        raise Malformed(f"a public key is malformed: {error}") from None


def is_same_key(spki: bytes, other: bytes) -> bool:
    """However each is encoded. Raises Malformed or UnsupportedAlgorithm for one that cannot be read."""
    return spki == other or load_public_key(spki) == load_public_key(other)


def key_bits(spki: bytes) -> bytes:
    """The content of the BIT STRING subjectPublicKey, without its count of unused bits."""
    return _read(spki)[1]


def key_identifier(spki: bytes) -> bytes:
    """RFC 5280 §4.2.1.2 method 1: SHA-1 of `key_bits`. A name for the key; no security rests on it."""
    return hashlib.sha1(key_bits(spki), usedforsecurity=False).digest()
