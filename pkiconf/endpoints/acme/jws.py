"""Keys and signatures of JOSE: JWK (RFC 7517, RFC 8037), JWA (RFC 7518), thumbprints (RFC 7638).

The only module of the endpoints that touches the cryptographic library. A key is read from its public members alone,
each in the one spelling that it has, so that a key has one thumbprint.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as EngineUnsupported
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.endpoints.acme.strict import JSONObject, decode_base64url, encode_base64url, malformed
from pkiconf.model.acme import AccountKey, ACMEProblem, ProblemType

_Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_Check = Callable[[_Key, bytes, bytes], None]

SMALLEST_RSA: Final = 2048
LARGEST_RSA: Final = 8192
"""Bits; beyond, a signature costs the server too much to check."""

_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")  # RFC 7518 §6
_CURVES: Final[Mapping[str, tuple[type[ec.EllipticCurve], int]]] = MappingProxyType(
    {"P-256": (ec.SECP256R1, 32), "P-384": (ec.SECP384R1, 48), "P-521": (ec.SECP521R1, 66)}
)
_EDWARDS: Final[Mapping[str, tuple[type[ed25519.Ed25519PublicKey | ed448.Ed448PublicKey], int]]] = MappingProxyType(
    {"Ed25519": (ed25519.Ed25519PublicKey, 32), "Ed448": (ed448.Ed448PublicKey, 57)}
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures can be checked with. `fits` are the algorithms it signs by."""

    account_key: AccountKey
    fits: tuple[str, ...]
    _key: _Key

    def verify(self, algorithm: str, message: bytes, signature: bytes) -> None:
        """Raises ACMEProblem: `badSignatureAlgorithm` for one that does not fit the key, `unauthorized` unless the
        signature holds."""
        if algorithm not in self.fits:
            raise bad_algorithm(f"{algorithm} does not fit the key, which signs by {' or '.join(self.fits)}")
        try:
            _SIGNATURES[algorithm](self._key, message, signature)
        except (InvalidSignature, ValueError):
            raise ACMEProblem(
                ProblemType.UNAUTHORIZED, "the signature of the JWS does not hold for the key that it names", status=403
            ) from None


def read_key(jwk: object, *, ignore_private: bool = False) -> PublicKey:
    """A public key (RFC 8555 §6.2). Whether it is weak or known to strangers is not looked at.

    Raises ACMEProblem: `malformed` for what is no JWK, or one with private members unless these are to be ignored;
    `badPublicKey` for a kind, size or curve that is not accepted, or a point that is not on its curve.
    """
    if not isinstance(jwk, dict):
        raise malformed("jwk is not a JSON object")
    private = [name for name in _PRIVATE if name in jwk]
    if private and not ignore_private:
        raise malformed(
            f"jwk holds the private member {private[0]!r}: send the public members only, and consider the key exposed"
        )
    reader = _KINDS.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if reader is None:
        raise _bad_key(f"keys of kty {_shown(jwk.get('kty'))} are not accepted: use EC, RSA or OKP")
    members, key, fits = reader(jwk)
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))  # RFC 7638 §3.3
    thumbprint = encode_base64url(hashlib.sha256(canonical.encode()).digest())
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(AccountKey(thumbprint, canonical, spki), fits, key)


@lru_cache(maxsize=4096)
def kept_key(canonical: str) -> PublicKey:
    """The key of an account, by the JWK that its row holds; the ones that sign most are kept ready."""
    return read_key(json.loads(canonical))


def check_mac(algorithm: str, key: bytes, message: bytes, mac: bytes) -> bool:
    """Whether `mac` is what one of `MAC_ALGORITHMS` (RFC 7518 §3.2) gives, in constant time."""
    return hmac.compare_digest(hmac.digest(key, message, _MACS[algorithm]), mac)


def bad_algorithm(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.BAD_SIGNATURE_ALGORITHM, detail)


# --- reading -----------------------------------------------------------------------------------------------------


def _read_rsa(jwk: JSONObject) -> tuple[dict[str, str], _Key, tuple[str, ...]]:
    modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
    bits = modulus.bit_length()
    if not SMALLEST_RSA <= bits <= LARGEST_RSA:
        raise _bad_key(f"an RSA key of {bits} bits is not accepted: use {SMALLEST_RSA} to {LARGEST_RSA} bits")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 256:
        raise _bad_key("the exponent of the RSA key is not accepted: use 65537")
    try:
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, EngineUnsupported):
        raise _bad_key("the RSA key is not one: its modulus or its exponent cannot be") from None
    members = {"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}
    return members, key, ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def _read_ec(jwk: JSONObject) -> tuple[dict[str, str], _Key, tuple[str, ...]]:
    name = jwk.get("crv")
    if not isinstance(name, str) or name not in _CURVES:
        raise _bad_key(f"EC keys of crv {_shown(name)} are not accepted: use {', '.join(_CURVES)}")
    curve, size = _CURVES[name]
    point = b"\x04" + _octets(jwk, "x", size) + _octets(jwk, "y", size)
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve(), point)
    except ValueError:
        raise _bad_key(f"the EC key is no point of the curve {name}") from None
    return {"kty": "EC", "crv": name, "x": jwk["x"], "y": jwk["y"]}, key, (_ES[name],)


def _read_okp(jwk: JSONObject) -> tuple[dict[str, str], _Key, tuple[str, ...]]:
    name = jwk.get("crv")
    if not isinstance(name, str) or name not in _EDWARDS:
        raise _bad_key(f"OKP keys of crv {_shown(name)} are not accepted: use {', '.join(_EDWARDS)}")
    kind, size = _EDWARDS[name]
    try:
        key = kind.from_public_bytes(_octets(jwk, "x", size))
    except (ValueError, EngineUnsupported):
        raise _bad_key(f"the {name} key is not one") from None
    return {"kty": "OKP", "crv": name, "x": jwk["x"]}, key, ("EdDSA",)


_KINDS: Final = MappingProxyType({"RSA": _read_rsa, "EC": _read_ec, "OKP": _read_okp})


def _octets(jwk: JSONObject, name: str, size: int) -> bytes:
    octets = decode_base64url(jwk.get(name), f"member {name!r} of the jwk")
    if len(octets) != size:
        raise _bad_key(f"member {name!r} of the jwk has {len(octets)} octets where {size} belong")
    return octets


def _number(jwk: JSONObject, name: str) -> int:
    """Base64urlUInt (RFC 7518 §2): without leading zero octets."""
    octets = decode_base64url(jwk.get(name), f"member {name!r} of the jwk")
    if not octets or octets[0] == 0:
        raise malformed(f"member {name!r} of the jwk is empty, or begins with a zero octet (RFC 7518 §2)")
    return int.from_bytes(octets, "big")


def _bad_key(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.BAD_PUBLIC_KEY, detail)


def _shown(value: object) -> str:
    return repr(value)[:40]


# --- checking ----------------------------------------------------------------------------------------------------


def _pkcs1(hash: hashes.HashAlgorithm) -> _Check:
    scheme = padding.PKCS1v15()

    def check(key: _Key, message: bytes, signature: bytes) -> None:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(signature, message, scheme, hash)

    return check


def _pss(hash: hashes.HashAlgorithm) -> _Check:
    scheme = padding.PSS(padding.MGF1(hash), hash.digest_size)  # RFC 7518 §3.5: the salt is as long as the hash

    def check(key: _Key, message: bytes, signature: bytes) -> None:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(signature, message, scheme, hash)

    return check


def _ecdsa(hash: hashes.HashAlgorithm, size: int) -> _Check:
    scheme = ec.ECDSA(hash)

    def check(key: _Key, message: bytes, signature: bytes) -> None:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        if len(signature) != 2 * size:  # RFC 7518 §3.4: R ‖ S
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), message, scheme)

    return check


def _eddsa(key: _Key, message: bytes, signature: bytes) -> None:
    assert isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    key.verify(signature, message)


_SIGNATURES: Final[Mapping[str, _Check]] = MappingProxyType(
    {
        "ES256": _ecdsa(hashes.SHA256(), 32),
        "ES384": _ecdsa(hashes.SHA384(), 48),
        "ES512": _ecdsa(hashes.SHA512(), 66),
        "EdDSA": _eddsa,
        "RS256": _pkcs1(hashes.SHA256()),
        "RS384": _pkcs1(hashes.SHA384()),
        "RS512": _pkcs1(hashes.SHA512()),
        "PS256": _pss(hashes.SHA256()),
        "PS384": _pss(hashes.SHA384()),
        "PS512": _pss(hashes.SHA512()),
    }
)
SIGNATURE_ALGORITHMS: Final = tuple(_SIGNATURES)
_ES: Final = MappingProxyType({"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"})
_MACS: Final = MappingProxyType({"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"})
MAC_ALGORITHMS: Final = tuple(_MACS)
