"""Password-based decryption of PKCS#8 (RFC 8018 §6.2): PBKDF2 or scrypt with AES-CBC.

The engine decrypts and parses in one step, and so cannot open an encrypted ML-DSA key in the form OpenSSL writes;
here the two steps are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pkiconf.der.oids import decode_oid
from pkiconf.der.reader import Reader, parse_integer
from pkiconf.der.tlv import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Element, read_element
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.secret import Secret

MAX_ITERATIONS: Final = 10_000_000
MAX_SCRYPT_MEMORY: Final = 512 * 1024 * 1024
MAX_SCRYPT_PARALLEL: Final = 64

_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"  # RFC 7914 §7
_HMAC_SHA1: Final = "1.2.840.113549.2.7"
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        _HMAC_SHA1: hashes.SHA1(),  # noqa: S303 - the default of RFC 8018, and sound inside HMAC
        "1.2.840.113549.2.8": hashes.SHA224(),
        "1.2.840.113549.2.9": hashes.SHA256(),
        "1.2.840.113549.2.10": hashes.SHA384(),
        "1.2.840.113549.2.11": hashes.SHA512(),
    }
)
_AES_CBC_KEY_SIZES: Final[Mapping[str, int]] = MappingProxyType(
    {"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
)
_WHAT: Final = "the encrypted private key"


def decrypt_private_key_info(der: bytes, passphrase: Secret) -> bytes:
    """The PrivateKeyInfo inside an EncryptedPrivateKeyInfo.

    Raises Unverified for a wrong passphrase; UnsupportedAlgorithm for schemes other than PBES2 with AES-CBC, after
    it made sure that their iterations are within reach; and Malformed.
    """
    reader = Reader.over(der, _WHAT)
    scheme, encrypted = reader.take(SEQUENCE), reader.take(OCTET_STRING).content
    reader.close()
    oid, parameters = _take_algorithm(scheme)
    if oid != _PBES2:
        older = Reader(parameters, _WHAT)  # PBEParameter of PKCS#5 and PKCS#12: salt and count
        older.take(OCTET_STRING)
        _check_iterations(parse_integer(older.take(INTEGER), _WHAT))
        raise _unsupported(f"scheme {oid}")
    inner = Reader(parameters, _WHAT)
    derive = _derivation(inner.take(SEQUENCE), passphrase)
    cipher, initial = _take_algorithm(inner.take(SEQUENCE))
    inner.close()
    if cipher not in _AES_CBC_KEY_SIZES:
        raise _unsupported(f"cipher {cipher}")
    if initial.tag != OCTET_STRING or len(initial.content) != 16:
        raise Malformed(f"{_WHAT} has no initial vector of 16 octets")
    return _decrypt(derive(_AES_CBC_KEY_SIZES[cipher]), initial.content, encrypted)


def _take_algorithm(identifier: Element) -> tuple[str, Element]:
    reader = Reader(identifier, _WHAT)
    oid, parameters = decode_oid(reader.take(OBJECT_IDENTIFIER).der, _WHAT), reader.take()
    reader.close()
    return oid, parameters


def _unsupported(what: str) -> UnsupportedAlgorithm:
    return UnsupportedAlgorithm(
        f"the private key is encrypted with {what}, which is not supported",
        "Convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW",
    )


def _check_iterations(count: int) -> None:
    # A file must not keep us busy for years; the engine even crashes over a count of more than 31 bits.
    if not 1 <= count <= MAX_ITERATIONS:
        raise Malformed(f"{_WHAT} asks for {count} iterations, which is out of reach")


def _derivation(function: Element, passphrase: Secret) -> Callable[[int], bytes]:
    """Passphrase to key, of as many octets as it is then asked for."""
    oid, parameters = _take_algorithm(function)
    reader = Reader(parameters, _WHAT)
    if oid == _PBKDF2:
        return _pbkdf2(reader, passphrase)
    if oid == _SCRYPT:
        return _scrypt(reader, passphrase)
    raise _unsupported(f"key derivation {oid}")


def _pbkdf2(reader: Reader, passphrase: Secret) -> Callable[[int], bytes]:
    salt, count = reader.take(OCTET_STRING).content, parse_integer(reader.take(INTEGER), _WHAT)
    reader.take_optional(INTEGER)  # keyLength, which follows from the cipher
    prf = reader.take_optional(SEQUENCE)
    reader.close()
    _check_iterations(count)
    oid = _take_algorithm(prf)[0] if prf else _HMAC_SHA1
    if oid not in _HASHES:
        raise _unsupported(f"pseudo-random function {oid}")
    return lambda size: PBKDF2HMAC(_HASHES[oid], size, salt, count).derive(passphrase.reveal())


def _scrypt(reader: Reader, passphrase: Secret) -> Callable[[int], bytes]:
    salt = reader.take(OCTET_STRING).content
    n, r, p = (parse_integer(reader.take(INTEGER), _WHAT) for _ in range(3))
    reader.take_optional(INTEGER)
    reader.close()
    if n < 2 or n & (n - 1) or min(r, p) < 1 or 128 * n * r > MAX_SCRYPT_MEMORY or p > MAX_SCRYPT_PARALLEL:
        raise Malformed(f"{_WHAT} asks for scrypt with N={n}, r={r}, p={p}, which is wrong or out of reach")
    return lambda size: Scrypt(salt, size, n, r, p).derive(passphrase.reveal())


def _decrypt(key: bytes, initial: bytes, encrypted: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(initial)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        plain = unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
        read_element(plain, "the decrypted key", SEQUENCE)
    except (ValueError, Malformed):
        # The padding is right by chance once in 256 times; a SEQUENCE that fits is not.
        raise Unverified("the passphrase does not open the private key") from None
    return plain
