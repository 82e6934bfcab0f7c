"""Weak, short and known-compromised keys, each made here the way its flaw was."""

from __future__ import annotations

import hashlib
import math
import random
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.der.csr import parse_csr
from pkiconf.der.keys import parse_public_key
from pkiconf.errors import Refused, Unavailable
from pkiconf.model.keys import KeyType
from pkiconf.model.request import PublicKeyFacts
from pkiconf.policy.debian import FINGERPRINT_SIZE, debian_fingerprint, encode_list, is_debian_weak, parse_list
from pkiconf.policy.keys import (
    check_public_key,
    has_close_primes,
    has_roca_fingerprint,
    has_small_factor,
)
from scripts.debian_weak_keys.build import read_fingerprints
from tests.keys import AnyKey, ec_key, rsa_key

CHANCE = random.Random(2026)
WEAK = Path(__file__).parent.parent / "vectors" / "weak"


def spki_of(key: AnyKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


PRIMES = [2, *(number for number in range(3, 2000, 2) if all(number % d for d in range(3, math.isqrt(number) + 1, 2)))]


def is_rough(number: int) -> bool:
    """No prime below 2000 divides it: for what is tested here such a number serves as well as a prime."""
    return math.gcd(number, math.prod(PRIMES)) == 1


def rough_from(start: int) -> int:
    return next(number for number in count(start) if is_rough(number))


def random_rough(bits: int) -> int:
    return rough_from(CHANCE.getrandbits(bits) | 3 << (bits - 2))


def check_rsa(modulus: int, exponent: int = 65537) -> None:
    facts = PublicKeyFacts(KeyType.RSA, modulus.bit_length(), modulus=modulus, exponent=exponent)
    check_public_key(b"spki", facts)


def refusal(modulus: int, exponent: int = 65537) -> str:
    with pytest.raises(Refused) as refused:
        check_rsa(modulus, exponent)
    return refused.value.detail


HONEST = rsa_key().public_key().public_numbers().n


@pytest.mark.parametrize(
    "key",
    [
        rsa_key(),
        rsa_key(3072),
        ec_key("secp256r1"),
        ec_key("secp384r1"),
        ec_key("secp521r1"),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        mldsa.MLDSA44PrivateKey.generate(),
        mldsa.MLDSA65PrivateKey.generate(),
        mldsa.MLDSA87PrivateKey.generate(),
    ],
    ids=lambda key: str(parse_public_key(spki_of(key))),
)
def test_honest_keys_pass(key: AnyKey) -> None:
    check_public_key(spki_of(key), parse_public_key(spki_of(key)))


# --- RSA


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047])
def test_a_short_modulus_is_refused(bits: int) -> None:
    assert "too short" in refusal(CHANCE.getrandbits(bits) | 1 << (bits - 1) | 1)


@pytest.mark.parametrize("bits", [8193, 8200, 16384])
def test_a_long_modulus_is_refused(bits: int) -> None:
    assert "too long" in refusal(CHANCE.getrandbits(bits) | 1 << (bits - 1) | 1)


@pytest.mark.parametrize("bits", [2049, 2050, 3071, 4095])
def test_a_modulus_of_an_odd_size_is_refused(bits: int) -> None:
    assert "whole octets" in refusal(CHANCE.getrandbits(bits) | 1 << (bits - 1) | 1)


@pytest.mark.parametrize("exponent", [0, 2, 65536, 65538, 1 << 64])
def test_an_even_exponent_is_refused(exponent: int) -> None:
    assert "even" in refusal(HONEST, exponent)


@pytest.mark.parametrize("exponent", [-1, 1, 3, 17, 257, 65535])
def test_a_small_exponent_is_refused(exponent: int) -> None:
    assert "too small" in refusal(HONEST, exponent)


@pytest.mark.parametrize("exponent", [(1 << 256) + 1, (1 << 2047) + 1])
def test_an_absurd_exponent_is_refused(exponent: int) -> None:
    assert "bits" in refusal(HONEST, exponent)


@pytest.mark.parametrize("exponent", [65537, 65539, (1 << 256) - 1])
def test_odd_exponents_in_between_pass(exponent: int) -> None:
    check_rsa(HONEST, exponent)


@pytest.mark.parametrize("factor", [2, 3, 5, 743, 751, 1999])
def test_a_small_factor_is_refused(factor: int) -> None:
    modulus = factor * ((7 << 2045) // factor + 2 * CHANCE.getrandbits(64))
    assert has_small_factor(modulus)
    assert "small prime" in refusal(modulus)


def roca_factor(bits: int) -> int:
    """k·M + (65537^a mod M), M the product of the first 126 primes, as for 2048-bit keys (Nemec et al., §3.1)."""
    product = math.prod(PRIMES[:126])
    while True:
        remainder = pow(65537, CHANCE.getrandbits(64), product)
        low, high = 3 << (bits - 2), 1 << bits
        candidate = CHANCE.randrange(low // product + 1, high // product) * product + remainder
        if is_rough(candidate):
            return candidate


def test_roca_is_refused() -> None:
    modulus = roca_factor(1024) * roca_factor(1024)
    assert has_roca_fingerprint(modulus)
    assert "ROCA" in refusal(modulus)


def test_one_roca_factor_alone_is_no_fingerprint() -> None:
    assert not has_roca_fingerprint(roca_factor(1024) * random_rough(1024))


def test_honest_moduli_carry_no_fingerprint() -> None:
    assert not any(has_roca_fingerprint(CHANCE.getrandbits(2048) | 1) for _ in range(5000))


@pytest.mark.parametrize("rounds", [0, 1, 50, 99])
def test_close_primes_are_refused(rounds: int) -> None:
    """Fermat's method needs (√q − √p)² / 2 rounds for p < q."""
    p = random_rough(1024)
    q = rough_from(p + 2 + math.isqrt(8 * p * rounds))
    steps = (p + q) // 2 - math.isqrt(p * q - 1) - 1
    assert steps <= 99
    assert has_close_primes(p * q)
    assert "too close" in refusal(p * q)


def test_a_square_is_refused() -> None:
    assert "too close" in refusal(random_rough(1024) ** 2)


def test_primes_beyond_the_rounds_are_left_alone() -> None:
    p = random_rough(1024)
    q = rough_from(p + math.isqrt(8 * p * 110))
    assert (p + q) // 2 - math.isqrt(p * q - 1) - 1 > 99
    assert not has_close_primes(p * q)


def test_a_key_without_numbers_is_refused() -> None:
    with pytest.raises(Refused):
        check_public_key(b"spki", PublicKeyFacts(KeyType.RSA, 2048))


# --- Debian

# Process 32767 of Debian's OpenSSL 0.9.8g on x86-64, started without a seed file.
DEBIAN_FINGERPRINT = "8ce7da3d728628f4e5767b94fbb6ad839a5c6e69"


def debian_modulus() -> int:
    csr = x509.load_pem_x509_csr((WEAK / "debian.pem").read_bytes())
    public = csr.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    return public.public_numbers().n


def test_a_key_of_debians_is_refused() -> None:
    assert hashlib.sha1(b"Modulus=%X\n" % debian_modulus()).hexdigest() == DEBIAN_FINGERPRINT
    assert is_debian_weak(debian_modulus())
    assert "Debian" in refusal(debian_modulus())


def test_a_list_gives_back_what_was_put_in() -> None:
    fingerprints = {CHANCE.randbytes(FINGERPRINT_SIZE) for _ in range(5000)}
    starts, rests = parse_list(encode_list(fingerprints))
    found = {
        bucket.to_bytes(2, "big") + rests[position : position + 4]
        for bucket in range(1 << 16)
        for position in range(starts[bucket], starts[bucket + 1], 4)
    }
    assert found == fingerprints


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 100), slice(0, 65536), slice(0, -1), slice(1, None)])
def test_a_damaged_list_lets_nothing_pass(cut: slice) -> None:
    with pytest.raises(Unavailable):
        parse_list(encode_list({b"abcdef", b"abcxyz", b"qwerty"})[cut])


def test_a_fingerprint_is_the_end_of_a_blacklist_line() -> None:
    digest = hashlib.sha1(b"Modulus=ABCDEF\n").digest()
    assert debian_fingerprint(0xABCDEF) == digest[-FINGERPRINT_SIZE:]


def test_lines_of_both_sources_are_read_alike() -> None:
    digest = hashlib.sha1(b"Modulus=ABCDEF\n").hexdigest()
    lines = ["# a comment", "", digest, digest[20:] + "\n"]
    assert read_fingerprints(lines) == {debian_fingerprint(0xABCDEF)}


@pytest.mark.parametrize("line", ["abcdef", "not hex at all", "-----BEGIN"])
def test_a_line_that_is_no_fingerprint_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        read_fingerprints([line])


def test_honest_keys_are_not_on_the_list() -> None:
    assert not any(is_debian_weak(CHANCE.getrandbits(2048) | 1 << 2047) for _ in range(2000))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rsa-1024", "too short"),
        ("exponent-3", "too small"),
        ("small-factor", "small prime"),
        ("roca", "ROCA"),
        ("close-primes", "too close"),
        ("debian", "Debian"),
    ],
)
def test_a_request_with_a_weak_key_is_refused(name: str, reason: str) -> None:
    request = parse_csr((WEAK / f"{name}.pem").read_bytes())
    with pytest.raises(Refused, match=reason):
        check_public_key(request.spki, request.key)


# --- other keys


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
@pytest.mark.parametrize("scalar", [1, -1])
def test_the_generator_of_a_curve_is_refused(curve: ec.EllipticCurve, scalar: int) -> None:
    order = curve.group_order
    spki = spki_of(ec.derive_private_key(scalar % order, curve))
    with pytest.raises(Refused, match="its private key is 1"):
        check_public_key(spki, parse_public_key(spki))


def test_the_point_at_infinity_is_refused() -> None:
    spki = spki_of(ec_key("secp256r1"))
    infinity = spki[: -(1 + 65)] + b"\x00\x00"
    with pytest.raises(Refused, match="not a point"):
        check_public_key(infinity, PublicKeyFacts(KeyType.EC, 256, curve="p256"))


def test_a_compressed_point_passes() -> None:
    public = ec_key("secp256r1").public_key()
    spki = spki_of(ec_key("secp256r1"))
    compressed = spki[: -(1 + 65)] + b"\x00" + public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    check_public_key(compressed, PublicKeyFacts(KeyType.EC, 256, curve="p256"))


@pytest.mark.parametrize("curve", [None, "p192", "p224", "secp256k1"])
def test_other_curves_are_refused(curve: str | None) -> None:
    with pytest.raises(Refused, match="curve"):
        check_public_key(spki_of(ec_key()), PublicKeyFacts(KeyType.EC, 256, curve=curve))


P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
D25519 = -121665 * pow(121666, -1, P25519) % P25519


def order_of(y: int) -> int | None:
    """The order of the point of edwards25519 with this ordinate; None for more than 8, or if there is none."""
    square = (y * y - 1) * pow(D25519 * y * y + 1, -1, P25519) % P25519
    x = pow(square, (P25519 + 3) // 8, P25519)
    if x * x % P25519 != square:
        x = x * pow(2, (P25519 - 1) // 4, P25519) % P25519
    if x * x % P25519 != square:
        return None
    point, order = (x, y), 1
    while point != (0, 1):
        order += 1
        product = D25519 * x * point[0] * y * point[1]
        point = (
            (x * point[1] + y * point[0]) * pow(1 + product, -1, P25519) % P25519,
            (y * point[1] + x * point[0]) * pow(1 - product, -1, P25519) % P25519,
        )
        if order > 8:
            return None
    return order


ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def test_the_points_of_small_order_are_what_they_are_taken_for() -> None:
    assert [order_of(y) for y in (1, P25519 - 1, 0, ORDER_8, P25519 - ORDER_8)] == [1, 2, 4, 8, 8]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [0, 1, P25519 - 1, ORDER_8, P25519 - ORDER_8, P25519, P25519 + 1])
def test_ed25519_points_of_small_order_are_refused(y: int, sign: int) -> None:
    spki = bytes.fromhex("302a300506032b6570032100") + (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(Refused, match="small order"):
        check_public_key(spki, PublicKeyFacts(KeyType.ED25519, 256))


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [0, 1, P448 - 1, P448, P448 + 1])
def test_ed448_points_of_small_order_are_refused(y: int, sign: int) -> None:
    spki = bytes.fromhex("3043300506032b6571033a00") + (y | sign << 455).to_bytes(57, "little")
    with pytest.raises(Refused, match="small order"):
        check_public_key(spki, PublicKeyFacts(KeyType.ED448, 456))


def test_an_ordinate_beyond_the_field_is_refused() -> None:
    spki = bytes.fromhex("302a300506032b6570032100") + (P25519 + 3).to_bytes(32, "little")
    with pytest.raises(Refused, match="canonically"):
        check_public_key(spki, PublicKeyFacts(KeyType.ED25519, 256))


@pytest.mark.parametrize(("bits", "size"), [(44, 1312), (65, 1952), (87, 2592)])
def test_a_zero_ml_dsa_key_is_refused(bits: int, size: int) -> None:
    spki = b"\x30" * 22 + b"rho" * 10 + b"rh" + bytes(size - 32)
    with pytest.raises(Refused, match="zero"):
        check_public_key(spki, PublicKeyFacts(KeyType.ML_DSA, bits))


def test_another_ml_dsa_set_is_refused() -> None:
    with pytest.raises(Refused, match="ML-DSA-99"):
        check_public_key(bytes(3000), PublicKeyFacts(KeyType.ML_DSA, 99))


# --- keys of others


def test_the_issuers_own_key_is_refused() -> None:
    spki = spki_of(ec_key())
    with pytest.raises(Refused, match="issuer's own"):
        check_public_key(spki, parse_public_key(spki), issuer_spki=spki)


def test_a_compromised_key_is_refused() -> None:
    spki = spki_of(ec_key())
    with pytest.raises(Refused, match="compromised"):
        check_public_key(spki, parse_public_key(spki), compromised={hashlib.sha256(spki).digest()})
    check_public_key(spki, parse_public_key(spki), compromised={hashlib.sha256(b"another").digest()})
