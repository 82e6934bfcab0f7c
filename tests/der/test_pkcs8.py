from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dh, dsa, ec, ed448, ed25519, mldsa, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.keys import parse_public_key
from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs8 import MAX_KEY_SIZE, PrivateKey, encode_private_key, parse_private_key, spki_of
from pkiconf.errors import Malformed, PkiconfError, UnsupportedAlgorithm, Unverified
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.secret import Secret
from tests.keys import ML_DSA_ORACLES, SEED, ec_key, key_for, rsa_key
from tests.tools import accepted, run_tool
from tests.vectors.construct import ML_DSA, oid, tlv

PASSPHRASE = Secret("pässphrase".encode())
KEYS: dict[str, PrivateKey] = {
    "rsa": rsa_key(),
    "p256": ec_key("secp256r1"),
    "p384": ec_key("secp384r1"),
    "p521": ec_key("secp521r1"),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.from_seed_bytes(SEED),
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.from_seed_bytes(SEED),
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.from_seed_bytes(SEED),
}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
every_set = pytest.mark.parametrize("bits", [44, 65, 87])


def same(one: PrivateKey, other: PrivateKey) -> bool:
    raw = [key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) for key in (one, other)]
    return bool(raw[0] == raw[1])


@pytest.mark.row("F35")
@every_key
def test_what_is_encoded_is_read_again(key: PrivateKey) -> None:
    der = encode_private_key(key)
    assert same(parse_private_key(der), key)
    assert same(parse_private_key(pem_encode("PRIVATE KEY", der).encode()), key)
    assert same(load_der_private_key(der, None), key)  # type: ignore[arg-type]


@pytest.mark.row("F35")
@every_key
def test_encrypted_keys_open_with_their_passphrase_only(key: PrivateKey) -> None:
    der = encode_private_key(key, PASSPHRASE)
    assert same(parse_private_key(der, PASSPHRASE), key)
    assert same(parse_private_key(pem_encode("ENCRYPTED PRIVATE KEY", der).encode(), PASSPHRASE), key)
    for wrong in (b"", b"passphrase", b"p" * 2000):
        with pytest.raises(Unverified, match="passphrase") as caught:
            parse_private_key(der, Secret(wrong))
        assert not wrong or wrong.decode() not in str(caught.value).replace("the passphrase does not", "")
    with pytest.raises(Malformed, match="encrypted"):
        parse_private_key(der)


def test_a_passphrase_for_a_key_in_the_clear_is_refused() -> None:
    with pytest.raises(Malformed, match="not encrypted"):
        parse_private_key(encode_private_key(KEYS["p256"]), PASSPHRASE)


@every_key
def test_the_public_half_is_a_key_of_the_table(key: PrivateKey) -> None:
    spki = spki_of(key)
    parse_public_key(spki)
    assert spki == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# Files of others


@pytest.mark.row("F35")
@pytest.mark.parametrize("name", ["rsa", "p256", "p384", "p521"])
def test_pkcs1_and_sec1_are_read(name: str) -> None:
    key = KEYS[name]
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    for encoding in (Encoding.PEM, Encoding.DER):
        data = key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert same(parse_private_key(data), key)


@pytest.mark.parametrize("name", ["rsa", "p256"])
def test_old_encrypted_pem_is_read(name: str) -> None:
    key = KEYS[name]
    data = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    assert b"DEK-Info" in data
    assert same(parse_private_key(data, Secret(b"secret")), key)
    with pytest.raises(Unverified):
        parse_private_key(data, Secret(b"wrong"))
    with pytest.raises(Malformed, match="encrypted"):
        parse_private_key(data)


SCHEMES = {
    "AES-256, SHA-256": ("-v2", "aes-256-cbc"),
    "AES-192, SHA-1": ("-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"),
    "AES-128, SHA-512": ("-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"),
    "scrypt": ("-scrypt",),
    "3DES in PBES2": ("-v2", "des3"),
    "3DES of PKCS#12": ("-v1", "PBE-SHA1-3DES"),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_keys_encrypted_by_openssl_are_read(scheme: tuple[str, ...], tmp_path: Path) -> None:
    plain, sealed, key = tmp_path / "plain.pem", tmp_path / "sealed.pem", ec_key()
    plain.write_text(pem_encode("PRIVATE KEY", encode_private_key(key)))
    accepted(run_tool("openssl", "pkcs8", "-topk8", "-in", plain, "-out", sealed, *scheme, "-passout", "pass:secret"))
    assert same(parse_private_key(sealed.read_bytes(), Secret(b"secret")), key)
    with pytest.raises((Unverified, UnsupportedAlgorithm)):
        parse_private_key(sealed.read_bytes(), Secret(b"wrong"))


def test_openssl_reads_our_keys(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    for name in ("rsa", "p384", "ed448"):
        file.write_text(pem_encode("ENCRYPTED PRIVATE KEY", encode_private_key(KEYS[name], Secret(b"secret"))))
        accepted(run_tool("openssl", "pkey", "-in", file, "-passin", "pass:secret", "-noout", "-check"))


def test_keys_of_gnutls_are_read(tmp_path: Path) -> None:
    ecdsa = ("ecdsa", "--curve=secp384r1")  # several: half of them have a sign octet before the number
    for count, kind in enumerate((("rsa", "--bits=2048"), *[ecdsa] * 6, ("ed25519",))):
        file = tmp_path / str(count)
        accepted(run_tool("certtool", "--generate-privkey", f"--key-type={kind[0]}", *kind[1:], "--outfile", file))
        parse_private_key(file.read_bytes())


def test_parameters_before_the_key_are_passed_over() -> None:
    made = run_tool("openssl", "ecparam", "-name", "secp384r1", "-genkey").stdout
    assert b"EC PARAMETERS" in made
    key = parse_private_key(made)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


def sec1(number: bytes, curve: str = "1.2.840.10045.3.1.7", public: bytes = b"") -> bytes:
    point = tlv(0xA1, tlv(0x03, b"\0", public)) if public else b""
    return tlv(0x30, b"\x02\x01\x01", tlv(0x04, number), tlv(0xA0, oid(curve)), point)


@pytest.mark.parametrize("octets", [b"\0" + b"\xab" * 32, b"\xab" * 31, b"\x01"], ids=["sign octet", "short", "one"])
def test_private_numbers_of_any_length_are_read(octets: bytes) -> None:
    """GnuTLS writes the first two; the engine refuses them."""
    key = ec.derive_private_key(int.from_bytes(octets, "big"), ec.SECP256R1())
    public = key.public_key()
    compressed = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for der in (sec1(octets), sec1(octets, public=compressed)):
        assert same(parse_private_key(der), key)
        wrapped = tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
        assert same(parse_private_key(tlv(0x30, b"\x02\x01\x00", wrapped, tlv(0x04, der))), key)


def ec_pkcs8(*algorithm: bytes, private: bytes = sec1(b"\x05"), after: bytes = b"") -> bytes:
    return tlv(0x30, b"\x02\x01\x01", tlv(0x30, oid("1.2.840.10045.2.1"), *algorithm), tlv(0x04, private), after)


P256, P384 = oid("1.2.840.10045.3.1.7"), oid("1.3.132.0.34")
BROKEN_EC = {
    "zero": sec1(bytes(32)),
    "the order": sec1(ec.SECP256R1().group_order.to_bytes(32, "big")),
    "no curve": tlv(0x30, b"\x02\x01\x01", tlv(0x04, b"\x05")),
    "version 2": tlv(0x30, b"\x02\x01\x02", tlv(0x04, b"\x05"), tlv(0xA0, P256)),
    "two curves": ec_pkcs8(P384),
    "no curve in PKCS#8": ec_pkcs8(),
    "two parameters": ec_pkcs8(P256, P256),
    "field too many": ec_pkcs8(P256, after=b"\x05\x00"),
    "infinity": sec1(b"\x05", public=b"\0"),
    "another's point in PKCS#8": ec_pkcs8(P256, after=tlv(0x81, b"\0\x04", bytes(64))),
}


@pytest.mark.parametrize("der", BROKEN_EC.values(), ids=BROKEN_EC)
def test_broken_ec_keys_are_refused(der: bytes) -> None:
    with pytest.raises((Malformed, Unverified)):
        parse_private_key(der)


def test_a_curve_spelled_out_is_refused_with_the_way_out(tmp_path: Path) -> None:
    made = run_tool("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit").stdout
    with pytest.raises(UnsupportedAlgorithm, match="spells its curve out"):
        parse_private_key(made)


# ML-DSA


def pkcs8(bits: int, private: bytes, version: int = 0, parameters: bytes = b"", after: bytes = b"") -> bytes:
    algorithm = tlv(0x30, oid(f"2.16.840.1.101.3.4.3.{ML_DSA[bits][1]}"), parameters)
    return tlv(0x30, bytes((2, 1, version)), algorithm, tlv(0x04, private), after)


def expanded(bits: int, seed: bytes = SEED) -> bytes:
    return bytes(ML_DSA_ORACLES[bits].key_derive(seed)[1])


def both(bits: int, seed: bytes = SEED, private: bytes | None = None) -> bytes:
    return tlv(0x30, tlv(0x04, seed), tlv(0x04, private or expanded(bits)))


@pytest.mark.row("F28")
@every_set
def test_every_form_with_a_seed_is_read(bits: int) -> None:
    key = KEYS[f"ml-dsa-{bits}"]
    forms = (tlv(0x80, SEED), both(bits), SEED, tlv(0x04, SEED))
    for form in forms:
        der = pkcs8(bits, form)
        assert same(parse_private_key(der), key)
        assert same(parse_private_key(pem_encode("PRIVATE KEY", der).encode()), key)
    assert encode_private_key(key) == pkcs8(bits, tlv(0x80, SEED))


@every_set
def test_openssls_form_is_read_under_encryption_too(bits: int) -> None:
    assert same(parse_private_key(encrypt(pkcs8(bits, both(bits))), PASSPHRASE), KEYS[f"ml-dsa-{bits}"])


def envelope(*fields: bytes, encrypted: bytes = bytes(16)) -> bytes:
    return tlv(0x30, tlv(0x30, *fields), tlv(0x04, encrypted))


PBES2, PBKDF2 = oid("1.2.840.113549.1.5.13"), oid("1.2.840.113549.1.5.12")
SCRYPT = oid("1.3.6.1.4.1.11591.4.11")
HMAC_SHA256 = tlv(0x30, oid("1.2.840.113549.2.9"), b"\x05\x00")
AES_256 = tlv(0x30, oid("2.16.840.1.101.3.4.1.42"), tlv(0x04, bytes(16)))
TRIPLE_DES = tlv(0x30, oid("1.2.840.113549.3.7"), tlv(0x04, bytes(8)))
SALT = tlv(0x04, b"salt" * 4)


def number(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pbes2(*kdf_parameters: bytes, kdf: bytes = PBKDF2, cipher: bytes = AES_256, encrypted: bytes = bytes(16)) -> bytes:
    function = tlv(0x30, kdf, tlv(0x30, *kdf_parameters))
    return envelope(PBES2, tlv(0x30, function, cipher), encrypted=encrypted)


def encrypt(der: bytes) -> bytes:
    """PBES2 put together here: PBKDF2 with HMAC-SHA-256 and AES-256-CBC."""
    key = PBKDF2HMAC(hashes.SHA256(), 32, b"salt" * 4, 1000).derive(PASSPHRASE.reveal())
    size = 16 - len(der) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    encrypted = encryptor.update(der + bytes((size,)) * size) + encryptor.finalize()
    return pbes2(SALT, number(1000), number(32), HMAC_SHA256, encrypted=encrypted)


@every_set
def test_a_public_key_beside_the_private_one_must_be_its_own(bits: int) -> None:
    public = key_for(SIGNATURE_ALGORITHMS[f"ML-DSA-{bits}"]).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert parse_private_key(pkcs8(bits, tlv(0x80, SEED), 1, after=tlv(0x81, b"\0", public)))
    with pytest.raises(Unverified, match="public key"):
        parse_private_key(pkcs8(bits, tlv(0x80, SEED), 1, after=tlv(0x81, b"\0", public[:-1], b"x")))


@every_set
def test_an_expanded_key_alone_is_refused_with_the_way_out(bits: int) -> None:
    for form in (tlv(0x04, expanded(bits)), expanded(bits)):
        with pytest.raises(UnsupportedAlgorithm, match="only the expanded form") as caught:
            parse_private_key(pkcs8(bits, form))
        assert "seed" in caught.value.hint


@every_set
@pytest.mark.parametrize("where", ["rho", "K", "tr", "s1", "t0"])
def test_a_seed_and_an_expanded_key_that_disagree_are_refused(bits: int, where: str) -> None:
    private = bytearray(expanded(bits))
    private[{"rho": 0, "K": 40, "tr": 100, "s1": 130, "t0": len(private) - 1}[where]] ^= 1
    with pytest.raises(Unverified, match="do not belong together"):
        parse_private_key(pkcs8(bits, both(bits, private=bytes(private))))


def test_a_foreign_seed_beside_an_expanded_key_is_refused() -> None:
    with pytest.raises(Unverified):
        parse_private_key(pkcs8(44, both(44, seed=bytes(32))))


BROKEN_ML_DSA = {
    "seed of 31": pkcs8(44, tlv(0x80, bytes(31))),
    "seed of 33": pkcs8(44, tlv(0x80, bytes(33))),
    "seed of 64 in both": pkcs8(44, both(44, seed=bytes(64))),
    "both without expanded": pkcs8(44, tlv(0x30, tlv(0x04, SEED))),
    "both with more": pkcs8(44, tlv(0x30, tlv(0x04, SEED), tlv(0x04, expanded(44)), b"\x05\x00")),
    "both of another set": pkcs8(65, tlv(0x04, expanded(44))),
    "trailing data in the choice": pkcs8(44, tlv(0x80, SEED) + b"\0"),
    "empty": pkcs8(44, b""),
    "another choice": pkcs8(44, tlv(0x82, SEED)),
    "parameters": pkcs8(44, tlv(0x80, SEED), parameters=b"\x05\x00"),
    "version 2": pkcs8(44, tlv(0x80, SEED), version=2),
    "field too many": pkcs8(44, tlv(0x80, SEED), after=b"\x05\x00"),
    "trailing data": pkcs8(44, tlv(0x80, SEED)) + b"\0",
}


@pytest.mark.parametrize("der", BROKEN_ML_DSA.values(), ids=BROKEN_ML_DSA)
def test_broken_ml_dsa_keys_are_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_private_key(der)


# What is refused


def raw(key: dsa.DSAPrivateKey | x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey | dh.DHPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def slh_dsa() -> bytes:
    return tlv(0x30, b"\x02\x01\x00", tlv(0x30, oid("2.16.840.1.101.3.4.3.20")), tlv(0x04, bytes(64)))


UNSUPPORTED = {
    "dsa": raw(dsa.generate_private_key(2048)),
    "x25519": raw(x25519.X25519PrivateKey.generate()),
    "secp256k1": raw(ec.generate_private_key(ec.SECP256K1())),
    "p224": raw(ec.generate_private_key(ec.SECP224R1())),
}


@pytest.mark.parametrize("der", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_keys_outside_the_table_are_refused(der: bytes) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        parse_private_key(der)


def test_old_encryption_opens_no_other_kinds() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    data = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    with pytest.raises(UnsupportedAlgorithm):
        parse_private_key(data, Secret(b"secret"))


def test_kinds_that_the_engine_does_not_know_are_refused() -> None:
    with pytest.raises((UnsupportedAlgorithm, Malformed)):
        parse_private_key(slh_dsa())


def mismatched_ec() -> bytes:
    """A private key with another key's public point."""
    one = raw(ec_key("secp256r1"))
    other = raw(ec.generate_private_key(ec.SECP256R1()))
    return one[:-64] + other[-64:]


def mismatched_rsa() -> bytes:
    der = encode_private_key(rsa_key())
    numbers = rsa_key().private_numbers()
    size = (numbers.p.bit_length() + 7) // 8
    p, q = numbers.p.to_bytes(size, "big"), numbers.q.to_bytes(size, "big")
    assert der.count(p) == 1
    return der.replace(p, q)


PEM_KEY = pem_encode("PRIVATE KEY", encode_private_key(ec_key()))
BROKEN = {
    "empty": b"",
    "text": b"no key",
    "a lonely header": b"\x30",
    "empty sequence": b"\x30\x00",
    "too long": b"text\n" * (MAX_KEY_SIZE // 5) + PEM_KEY.encode(),
    "truncated": encode_private_key(rsa_key())[:-5],
    "trailing data": encode_private_key(ec_key()) + b"\0",
    "BER": b"\x30\x80" + encode_private_key(ed25519.Ed25519PrivateKey.generate())[2:] + b"\0\0",
    "two keys": (PEM_KEY + PEM_KEY).encode(),
    "a certificate": pem_encode("CERTIFICATE", b"\x30\x00").encode(),
    "a public key": pem_encode("PUBLIC KEY", spki_of(ec_key())).encode(),
    "an OpenSSH key": pem_encode("OPENSSH PRIVATE KEY", b"openssh-key-v1\0").encode(),
    "PEM without its end": PEM_KEY[:-20].encode(),
    "EC with another's point": mismatched_ec(),
    "RSA with p for q": mismatched_rsa(),
    "PKCS#12": pkcs12.serialize_key_and_certificates(None, ec_key(), None, None, NoEncryption()),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_keys_are_refused(data: bytes) -> None:
    with pytest.raises((Malformed, Unverified)):
        parse_private_key(data)


def test_what_was_found_instead_is_named() -> None:
    with pytest.raises(Malformed, match="CERTIFICATE"):
        parse_private_key(BROKEN["a certificate"])
    with pytest.raises(Malformed, match="OPENSSH") as caught:
        parse_private_key(BROKEN["an OpenSSH key"])
    assert "ssh-keygen" in caught.value.hint


SEALED = encode_private_key(KEYS["ed25519"], PASSPHRASE)


OLD_DES = oid("1.2.840.113549.1.12.1.3")
ABSURD = {
    "PBKDF2 for years": pbes2(SALT, number(2**31), HMAC_SHA256),
    "PBKDF2 over 32 bits": pbes2(SALT, number(2**40), HMAC_SHA256),
    "PBKDF2 without work": pbes2(SALT, number(0), HMAC_SHA256),
    "negative count": pbes2(SALT, b"\x02\x01\xff", HMAC_SHA256),
    "scheme of the engine": pbes2(SALT, number(2**40), HMAC_SHA256, cipher=TRIPLE_DES),
    "scheme of PKCS#12": envelope(OLD_DES, tlv(0x30, SALT, number(2**40))),
    "scrypt of a terabyte": pbes2(SALT, number(2**30), number(8), number(1), kdf=SCRYPT),
    "scrypt for years": pbes2(SALT, number(2**14), number(8), number(2**20), kdf=SCRYPT),
    "scrypt with a crooked N": pbes2(SALT, number(3), number(8), number(1), kdf=SCRYPT),
    "scrypt without work": pbes2(SALT, number(0), number(0), number(0), kdf=SCRYPT),
    "initial vector of 8": pbes2(SALT, number(1), cipher=AES_256.replace(tlv(4, bytes(16)), b"\x05\x00" * 9)),
    "salt elsewhere": pbes2(HMAC_SHA256, number(1)),
    "no parameters": envelope(PBES2),
    "a field too many": pbes2(SALT, number(1), HMAC_SHA256, b"\x05\x00"),
}  # fmt: skip


@pytest.mark.parametrize("der", ABSURD.values(), ids=ABSURD)
def test_absurd_encryption_is_refused_at_once(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_private_key(der, PASSPHRASE)


UNKNOWN_SCHEMES = {
    "cipher": pbes2(SALT, number(1), cipher=tlv(0x30, oid("1.2.3.4"), b"\x05\x00")),
    "key derivation": pbes2(SALT, number(1), kdf=oid("1.2.3.4")),
    "pseudo-random function": pbes2(SALT, number(1), tlv(0x30, oid("1.2.3.4"), b"\x05\x00")),
    "scheme": envelope(oid("1.2.840.113549.1.5.3"), tlv(0x30, SALT, number(1))),
}


@pytest.mark.parametrize("der", UNKNOWN_SCHEMES.values(), ids=UNKNOWN_SCHEMES)
def test_unknown_encryption_is_refused_with_the_way_out(der: bytes) -> None:
    with pytest.raises(UnsupportedAlgorithm) as caught:
        parse_private_key(der, PASSPHRASE)
    assert "openssl pkcs8" in caught.value.hint


def test_damaged_ciphertext_is_refused() -> None:
    with pytest.raises((Unverified, Malformed)):
        parse_private_key(SEALED[:-1] + bytes((SEALED[-1] ^ 1,)), PASSPHRASE)
    with pytest.raises((Unverified, Malformed)):
        parse_private_key(SEALED[:-16], PASSPHRASE)


def read(data: bytes, passphrase: Secret | None = None) -> None:
    with contextlib.suppress(PkiconfError):
        parse_private_key(data, passphrase)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    read(data)
    read(b"\x30" + data)
    read(b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n")


SEEDS = [encode_private_key(KEYS[name]) for name in ("p256", "ed25519", "ml-dsa-44")]


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_raises_only_our_errors(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    read(der[:at] + data.draw(st.binary(max_size=3)) + der[at + data.draw(st.integers(0, 3)) :])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_of_the_envelope_raises_only_our_errors(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 60))
    read(SEALED[:at] + data.draw(st.binary(max_size=3)) + SEALED[at + data.draw(st.integers(0, 3)) :], PASSPHRASE)
