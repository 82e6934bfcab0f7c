"""Private keys as files hold them: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC 1 (RFC 5915), ML-DSA (RFC 9881 §6)."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm as EngineUnsupported
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from pkiconf.der import oids
from pkiconf.der.keys import parse_public_key
from pkiconf.der.ml_dsa import expand_seed, expanded_key_size
from pkiconf.der.pbes2 import decrypt_private_key_info
from pkiconf.der.pem import pem_blocks
from pkiconf.der.reader import Reader
from pkiconf.der.sec1 import check_point, parse_ec_private_key
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    read_element,
    read_sequence,
)
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType
from pkiconf.model.secret import Secret

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)

MAX_KEY_SIZE: Final = 64 * 1024
PEM_LABELS: Final = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")

_ML_DSA: Final = {
    row.oid: (row.key_bits, row.name)
    for row in SIGNATURE_ALGORITHMS.values()
    if row.key_type is KeyType.ML_DSA and row.key_bits
}
_ML_DSA_KEYS: Final[dict[int, type[mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey]]] = {
    44: mldsa.MLDSA44PrivateKey,
    65: mldsa.MLDSA65PrivateKey,
    87: mldsa.MLDSA87PrivateKey,
}
_SEED_SIZE: Final = 32
_SEED: Final = CONTEXT | 0
_ATTRIBUTES: Final = CONTEXT | CONSTRUCTED | 0
_PUBLIC_KEY: Final = CONTEXT | 1
_PKCS8_VERSIONS: Final = (b"\x02\x01\x00", b"\x02\x01\x01")


def parse_private_key(data: bytes, passphrase: Secret | None = None) -> PrivateKey:
    """The key in a PEM or DER file of at most 64 KiB, decrypted if need be.

    ML-DSA keys are read as a seed, or as seed and expanded key if the two agree. Raises Unverified for a wrong
    passphrase or for parts of a key that do not belong together; UnsupportedAlgorithm for a kind of key that is
    not in the table, or an ML-DSA key without its seed; Malformed for all else, also for a passphrase that is
    missing or not needed.
    """
    if len(data) > MAX_KEY_SIZE:
        raise Malformed(f"the private key has {len(data)} octets, more than {MAX_KEY_SIZE}")
    if b"Proc-Type: 4,ENCRYPTED" in data:
        return _checked(_load_old_pem(data, passphrase))
    der = data if data[:1] == b"\x30" else _find_block(data)
    members = read_sequence(der, "the private key")
    if members and members[0].tag == SEQUENCE:
        return _checked(_load_encrypted(der, _needed(passphrase)))
    if passphrase is not None:
        raise Malformed("the private key is not encrypted, yet a passphrase is given", "Leave the passphrase out")
    return _checked(_load_plain(der, members))


def _find_block(data: bytes) -> bytes:
    """The one private key among the PEM blocks; parameters and certificates may stand beside it."""
    blocks = pem_blocks(data)
    keys = [der for label, der in blocks if label in PEM_LABELS]
    if len(keys) == 1:
        return keys[0]
    if keys:
        raise Malformed(f"{len(keys)} private keys where one belongs")
    labels = ", ".join(label for label, _ in blocks) or "nothing"
    hint = "Convert it: ssh-keygen -p -m PKCS8 -f FILE" if "OPENSSH" in labels else ""
    raise Malformed(f"neither DER nor a PEM block with a private key; found {labels}", hint)


def _needed(passphrase: Secret | None) -> Secret:
    if passphrase is None:
        raise Malformed("the private key is encrypted", "Give its passphrase")
    return passphrase


def _load_old_pem(data: bytes, passphrase: Secret | None) -> object:
    """OpenSSL's own encryption inside PEM headers, as it wrote before version 3."""
    secret = _needed(passphrase)
    try:
        return load_pem_private_key(data, secret.reveal())
    except EngineUnsupported:
        raise UnsupportedAlgorithm("the private key's old PEM encryption is not supported") from None
    except (ValueError, TypeError):
        raise Unverified("the passphrase does not open the private key, or the key is damaged") from None


def _load_encrypted(der: bytes, passphrase: Secret) -> object:
    try:
        plain = decrypt_private_key_info(der, passphrase)
    except UnsupportedAlgorithm as unsupported:
        # Schemes older than PBES2: what the engine can do with them, it may.
        try:
            return load_der_private_key(der, passphrase.reveal())
        except (ValueError, TypeError, EngineUnsupported):
            raise unsupported from None
    return _load_plain(plain, read_sequence(plain, "the private key"))


def _load_plain(der: bytes, members: list[Element]) -> object:
    tags = [member.tag for member in members[:3]]
    if tags[1:2] == [OCTET_STRING]:
        return parse_ec_private_key(der)
    if tags == [INTEGER, SEQUENCE, OCTET_STRING]:
        algorithm = read_sequence(members[1].der, "the algorithm of the private key")
        oid = oids.decode_oid(algorithm[0].der, "the algorithm of the private key") if algorithm else ""
        if oid in _ML_DSA:
            return _load_ml_dsa(der, oid, len(algorithm) == 1)
        if oid == oids.EC_PUBLIC_KEY:
            return _load_ec(der, algorithm[1:])
    try:
        return load_der_private_key(der, None)
    except EngineUnsupported as error:
        raise UnsupportedAlgorithm(f"a private key of this kind is not supported: {error}") from None
    except (ValueError, TypeError):
        raise Malformed("the private key cannot be read", "It may be damaged, or of a kind that is not known") from None


def _take_pkcs8(der: bytes, what: str) -> tuple[bytes, Element | None]:
    """The content of privateKey, and publicKey if it is there (RFC 5958 §2)."""
    reader = Reader.over(der, what)
    version = reader.take(INTEGER)
    reader.take(SEQUENCE)
    private = reader.take(OCTET_STRING).content
    reader.take_optional(_ATTRIBUTES)
    public = reader.take_optional(_PUBLIC_KEY)
    reader.close()
    if version.der not in _PKCS8_VERSIONS:
        raise Malformed(f"{what} has another version than 0 or 1")
    return private, public


def _load_ec(der: bytes, parameters: list[Element]) -> object:
    if len(parameters) != 1:
        raise Malformed("the EC private key does not name its curve")
    private, public = _take_pkcs8(der, "the EC private key")
    key = parse_ec_private_key(private, parameters[0])
    if public is not None:
        check_point(key, public.content[1:])
    return key


def _load_ml_dsa(der: bytes, oid: str, parameters_absent: bool) -> object:
    bits, name = _ML_DSA[oid]
    private, public = _take_pkcs8(der, f"the {name} key")
    if not parameters_absent:
        raise Malformed(f"the {name} key has parameters, which must be absent (RFC 9881 §2)")
    key = _ML_DSA_KEYS[bits].from_seed_bytes(_seed(private, bits, name))
    if public is not None and public.content != b"\0" + key.public_key().public_bytes_raw():
        raise Unverified(f"the public key in the {name} file is not the one of its private key")
    return key


def _seed(private: bytes, bits: int, name: str) -> bytes:
    """RFC 9881 §6: seed, expanded key, or both. A bare seed and one in an OCTET STRING were written before it."""
    if len(private) == _SEED_SIZE:
        return private
    sizes = (expanded_key_size(bits), _SEED_SIZE)
    choice = None if len(private) == sizes[0] else read_element(private, f"the {name} private key")
    if choice is None or (choice.tag == OCTET_STRING and len(choice.content) == sizes[0]):
        raise UnsupportedAlgorithm(
            f"the {name} key holds only the expanded form, from which its seed cannot be had",
            "Use a file with the seed, as OpenSSL 3.5 and later write by default",
        )
    if choice.tag == SEQUENCE:
        return _seed_of_both(choice, bits, name)
    if choice.tag in (_SEED, OCTET_STRING) and len(choice.content) == _SEED_SIZE:
        return choice.content
    raise Malformed(f"the {name} private key is neither a seed nor an expanded key of {sizes[0]} octets")


def _seed_of_both(both: Element, bits: int, name: str) -> bytes:
    reader = Reader(both, f"the {name} private key")
    seed, expanded = reader.take(OCTET_STRING).content, reader.take(OCTET_STRING).content
    reader.close()
    if len(seed) != _SEED_SIZE:
        raise Malformed(f"the seed of the {name} key has {len(seed)} octets where {_SEED_SIZE} belong")
    # RFC 9881 §6: two that disagree must be refused, or one file would be two keys to two programs.
    if not hmac.compare_digest(expand_seed(seed, bits), expanded):
        raise Unverified(f"the seed and the expanded key in the {name} file do not belong together")
    return seed


def _checked(key: object) -> PrivateKey:
    if not isinstance(key, PrivateKey):
        raise UnsupportedAlgorithm(
            f"a private key of kind {type(key).__name__} is not supported",
            "Use RSA, EC on P-256, P-384 or P-521, Ed25519, Ed448 or ML-DSA",
        )
    parse_public_key(spki_of(key))  # raises for the curves and sizes that are not in the table
    return key


def encode_private_key(key: PrivateKey, passphrase: Secret | None = None) -> bytes:
    """PKCS#8 DER, encrypted if there is a passphrase; ML-DSA keys as their seed (RFC 9881 §6)."""
    encryption = BestAvailableEncryption(passphrase.reveal()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, encryption)


def spki_of(key: PrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of the key's public half, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
