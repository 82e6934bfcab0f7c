"""Keys in this process's memory."""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm as BackendUnsupported
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from pkiconf.der.digests import DIGESTS, HASHES
from pkiconf.errors import Malformed, NotSigned, UnsupportedAlgorithm, Unverified
from pkiconf.model.cms import Digest, KeyTransport
from pkiconf.model.keys import (
    KEY_ALGORITHMS,
    KeyAlgorithm,
    KeyType,
    Padding,
    SignatureAlgorithm,
    signature_algorithms_for,
)
from pkiconf.signing.signer import SigningOrder

SigningKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)

_ECDSA: Final = {name: ec.ECDSA(algorithm) for name, algorithm in HASHES.items()}
_PKCS1V15: Final = padding.PKCS1v15()
# RFC 4055 §3.1: MGF1 with the same hash, and a salt as long as the hash.
_PSS: Final = {name: padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) for name, algorithm in HASHES.items()}
_CURVES: Final[dict[int, ec.EllipticCurve]] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
_CURVE_NAMES: Final = frozenset(curve.name for curve in _CURVES.values())


class LocalSigner:
    """A `Signer`, and with an RSA key a `Decrypter`, over a private key that was already checked; `immediate`, and
    indifferent to the order's id.

    Raises UnsupportedAlgorithm for a key of a kind that no row of `model.keys` describes.
    """

    immediate: Final = True

    def __init__(self, private_key: PrivateKeyTypes) -> None:
        self._key: Final = _signing_key(private_key)
        self._key_algorithm: Final = key_algorithm_of(private_key)
        self._algorithms: Final = signature_algorithms_for(self._key_algorithm)
        self._public_key: Final = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def public_key(self) -> bytes:
        return self._public_key

    @property
    def key_algorithm(self) -> KeyAlgorithm:
        return self._key_algorithm

    @property
    def algorithms(self) -> tuple[SignatureAlgorithm, ...]:
        return self._algorithms

    def sign(self, order: SigningOrder) -> bytes:
        if order.algorithm not in self._algorithms:
            raise NotSigned(
                f"this key cannot sign with {order.algorithm.name}",
                f"It signs with {', '.join(row.name for row in self._algorithms)}",
            )
        return self.sign_bytes(order.tbs, order.algorithm)

    def sign_bytes(self, message: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The raw signature value over a whole message. `algorithm` must be one of `algorithms`; raises NotSigned."""
        key = self._key
        try:
            if isinstance(key, rsa.RSAPrivateKey):
                assert algorithm.hash is not None
                pad = _PSS[algorithm.hash] if algorithm.padding is Padding.PSS else _PKCS1V15
                return key.sign(message, pad, HASHES[algorithm.hash])
            if isinstance(key, ec.EllipticCurvePrivateKey):
                assert algorithm.hash is not None
                return key.sign(message, _ECDSA[algorithm.hash])
            return key.sign(message)
        except (ValueError, TypeError, BackendUnsupported) as error:
            raise NotSigned(f"signing with {algorithm.name} failed: {type(error).__name__}") from None

    def sign_rsa(self, message: bytes, digest: Digest) -> bytes:
        """RSASSA-PKCS1-v1_5 with the digest that whoever asked can check, be it SHA-1. Raises NotSigned."""
        if not isinstance(self._key, rsa.RSAPrivateKey):
            raise NotSigned("this key is not RSA")
        return self._key.sign(message, _PKCS1V15, DIGESTS[digest])

    def unwrap(self, transport: KeyTransport, encrypted_key: bytes) -> bytes:
        if not isinstance(self._key, rsa.RSAPrivateKey):
            raise UnsupportedAlgorithm("only an RSA key decrypts")
        try:
            return self._key.decrypt(encrypted_key, _transport_padding(transport))
        except ValueError:
            raise Unverified("the content key cannot be unwrapped") from None

    def __repr__(self) -> str:
        return f"LocalSigner({self._algorithms[0].name}, …)"


def _transport_padding(transport: KeyTransport) -> padding.AsymmetricPadding:
    if transport.oaep is None or transport.mask is None:
        return _PKCS1V15
    return padding.OAEP(padding.MGF1(DIGESTS[transport.mask]), DIGESTS[transport.oaep], label=None)


def key_algorithm_of(private_key: PrivateKeyTypes) -> KeyAlgorithm:
    """The row of `model.keys` that describes a key.

    An RSA key of a size without a row of its own (an imported one) is described by its own bits and the strength of the
    next smaller row. Raises UnsupportedAlgorithm.
    """
    key = _signing_key(private_key)
    if isinstance(key, rsa.RSAPrivateKey):
        return _rsa_algorithm(key.key_size)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _row(KeyType.EC, key.key_size)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _row(KeyType.ED25519, 256)
    if isinstance(key, ed448.Ed448PrivateKey):
        return _row(KeyType.ED448, 456)
    return _row(KeyType.ML_DSA, _ml_dsa_set(key))


def generate(algorithm: KeyAlgorithm) -> tuple[bytes, bytes]:
    """A new key pair: (PKCS#8 DER in the clear, SubjectPublicKeyInfo DER). ML-DSA keys are in seed form (RFC 9881 §6).

    The first is a secret: seal it, and let go of it.
    """
    key = _generate(algorithm)
    return (
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def load_sealed(pkcs8: bytes) -> LocalSigner:
    """A signer over PKCS#8 that this program sealed itself.

    RSA's primes were checked when the key was made or imported and cannot have changed under the seal, so the check,
    tens of milliseconds for a large key, is not repeated. Raises Malformed and UnsupportedAlgorithm.
    """
    try:
        key = load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    except BackendUnsupported:
        raise UnsupportedAlgorithm("the sealed private key is of a kind this machine cannot use") from None
    except (ValueError, TypeError):
        raise Malformed("the sealed private key is not PKCS#8 in DER") from None
    return LocalSigner(key)


def _generate(algorithm: KeyAlgorithm) -> SigningKey:
    match algorithm.type, algorithm.bits:
        case KeyType.RSA, bits:
            return rsa.generate_private_key(65537, bits)
        case KeyType.EC, (256 | 384 | 521) as bits:
            return ec.generate_private_key(_CURVES[bits])
        case KeyType.ED25519, _:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.ED448, _:
            return ed448.Ed448PrivateKey.generate()
        case KeyType.ML_DSA, 44:
            return mldsa.MLDSA44PrivateKey.generate()
        case KeyType.ML_DSA, 65:
            return mldsa.MLDSA65PrivateKey.generate()
        case KeyType.ML_DSA, 87:
            return mldsa.MLDSA87PrivateKey.generate()
    raise UnsupportedAlgorithm(f"keys of type {algorithm.name} cannot be generated here")


def _signing_key(key: PrivateKeyTypes) -> SigningKey:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in _CURVE_NAMES:
        raise UnsupportedAlgorithm(f"keys on curve {key.curve.name} are not supported", "Use P-256, P-384 or P-521")
    if not isinstance(key, SigningKey):
        raise UnsupportedAlgorithm("this kind of private key cannot sign certificates")
    return key


def _rsa_algorithm(bits: int) -> KeyAlgorithm:
    rows = [row for row in KEY_ALGORITHMS.values() if row.type is KeyType.RSA and row.bits <= bits]
    if not rows:
        raise UnsupportedAlgorithm(f"RSA keys of {bits} bits are too short", "Use 2048 bits or more")
    nearest = max(rows, key=lambda row: row.bits)
    if nearest.bits == bits:
        return nearest
    return KeyAlgorithm(f"rsa-{bits}", KeyType.RSA, bits, nearest.security_bits)


def _row(type: KeyType, bits: int) -> KeyAlgorithm:
    return next(row for row in KEY_ALGORITHMS.values() if row.type is type and row.bits == bits)


def _ml_dsa_set(key: mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey) -> int:
    if isinstance(key, mldsa.MLDSA44PrivateKey):
        return 44
    return 65 if isinstance(key, mldsa.MLDSA65PrivateKey) else 87
