"""Password-based decryption of PKCS#8 (RFC 8018 §6.2): PBKDF2 or scrypt with AES-CBC.

The engine decrypts and parses in one step, and so cannot open an encrypted ML-DSA key in the form OpenSSL writes;
here the two steps are apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from asn1crypto.algos import KdfAlgorithm
from asn1crypto.keys import EncryptedPrivateKeyInfo
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pkiconf.der.tlv import SEQUENCE, read_element
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.secret import Secret

MAX_ITERATIONS: Final = 10_000_000
MAX_SCRYPT_MEMORY: Final = 512 * 1024 * 1024

_KEY_SIZES: Final[Mapping[str, int]] = MappingProxyType({"aes128_cbc": 16, "aes192_cbc": 24, "aes256_cbc": 32})
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        "sha1": hashes.SHA1(),  # noqa: S303 - the default of RFC 8018, inside HMAC
        "sha224": hashes.SHA224(),
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
)


def decrypt_private_key_info(der: bytes, passphrase: Secret) -> bytes:
    """The PrivateKeyInfo inside an EncryptedPrivateKeyInfo.

    Raises Unverified for a wrong passphrase, UnsupportedAlgorithm for other schemes than PBES2 with AES-CBC, and
    Malformed.
    """
    try:
        info = EncryptedPrivateKeyInfo.load(der, strict=True)
        scheme = info["encryption_algorithm"]
        name = scheme["algorithm"].native
        if name == "pbes2":
            cipher = scheme["parameters"]["encryption_scheme"]
            name = cipher["algorithm"].native
        size = _KEY_SIZES.get(name)
        if size is None:
            raise UnsupportedAlgorithm(
                f"the private key is encrypted with {name}, which is not supported",
                "Convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW",
            )
        key = _derive(scheme["parameters"]["key_derivation_func"], size, passphrase)
        return _decrypt(key, cipher["parameters"].native, info["encrypted_data"].native)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        raise Malformed(f"the encrypted private key cannot be read: {type(error).__name__}") from None


def _derive(function: KdfAlgorithm, size: int, passphrase: Secret) -> bytes:
    name, parameters = function["algorithm"].native, function["parameters"]
    if name == "pbkdf2":
        digest, iterations = parameters["prf"]["algorithm"].native, parameters["iteration_count"].native
        if digest not in _HASHES or not 1 <= iterations <= MAX_ITERATIONS:
            raise UnsupportedAlgorithm(f"the private key is encrypted by PBKDF2 with {digest}, {iterations} iterations")
        salt = parameters["salt"].chosen.native
        return PBKDF2HMAC(_HASHES[digest], size, salt, iterations).derive(passphrase.reveal())
    if name == "scrypt":
        n, r, p = (parameters[field].native for field in ("cost_parameter", "block_size", "parallelization_parameter"))
        if not 0 < 128 * n * r <= MAX_SCRYPT_MEMORY or not 0 < p <= 64:
            raise UnsupportedAlgorithm(f"the private key is encrypted by scrypt with N={n}, r={r}, p={p}")
        return Scrypt(parameters["salt"].native, size, n, r, p).derive(passphrase.reveal())
    raise UnsupportedAlgorithm(f"the private key is encrypted with the key derivation {name}")


def _decrypt(key: bytes, initial: bytes, encrypted: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(initial)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    wrong = Unverified("the passphrase does not open the private key")
    try:
        plain = unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
        read_element(plain, "the decrypted key", SEQUENCE)
    except (ValueError, Malformed):
        # The padding is right by chance once in 256 times; a SEQUENCE that fits is not.
        raise wrong from None
    return plain
