"""Which public keys may appear in a certificate: weak, short and known-compromised ones are refused on every path.

Arithmetic on numbers that were already parsed; that an EC point lies on its curve was checked when it was parsed.
Costs 60 µs for RSA-2048 and 3 µs for the others, so that nothing is tempted to go around it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Container, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.keys import KeyType
from pkiconf.model.request import PublicKeyFacts
from pkiconf.policy.debian import is_debian_weak

_NEW_KEY: Final = "Generate a new key with current software and make a new request"

MINIMUM_MODULUS: Final = 2048
MAXIMUM_MODULUS: Final = 8192
MINIMUM_EXPONENT: Final = 65537
MAXIMUM_EXPONENT: Final = 1 << 256  # FIPS 186-5 §5.1: 2^16 < e < 2^256
FERMAT_ROUNDS: Final = 100


def check_public_key(
    spki: bytes,
    facts: PublicKeyFacts,
    compromised: Container[bytes] = frozenset(),
    issuer_spki: bytes | None = None,
) -> None:
    """Raise Refused unless the key may be certified.

    `spki` is the SubjectPublicKeyInfo in DER and `facts` what was parsed from it. `compromised` holds SHA-256
    digests of SubjectPublicKeyInfos whose private keys are known to strangers (a certificate revoked for
    keyCompromise, a published list). `issuer_spki` is the key of the issuer, which none but its own CA
    certificates may carry: leave it out for those.
    """
    if issuer_spki is not None and spki == issuer_spki:
        raise Refused("the public key is the issuer's own", "Every certificate needs a key of its own")
    check_not_compromised(spki, compromised)
    _CHECKS[facts.type](spki, facts)


def check_not_compromised(spki: bytes, compromised: Container[bytes]) -> None:
    """The part of `check_public_key` whose answer changes with time. Raises Refused."""
    if hashlib.sha256(spki).digest() in compromised:
        raise Refused("the public key is known to be compromised", _NEW_KEY)


# --- RSA ---------------------------------------------------------------------------------------------------------


def _check_rsa(spki: bytes, facts: PublicKeyFacts) -> None:
    modulus, exponent = facts.modulus, facts.exponent
    if modulus is None or exponent is None:
        raise Refused("the RSA key has no modulus or no exponent", _NEW_KEY)
    _check_modulus_size(modulus)
    _check_exponent(exponent)
    if has_small_factor(modulus):
        raise Refused("the RSA modulus is divisible by a small prime", _NEW_KEY)
    if has_roca_fingerprint(modulus):
        raise Refused("the RSA key carries the ROCA fingerprint (CVE-2017-15361) and can be factored", _NEW_KEY)
    if is_debian_weak(modulus):
        raise Refused("the RSA key is one of those that Debian's OpenSSL made predictably (CVE-2008-0166)", _NEW_KEY)
    if has_close_primes(modulus):
        raise Refused("the RSA modulus is the product of two primes that lie too close (CVE-2022-26320)", _NEW_KEY)


def _check_modulus_size(modulus: int) -> None:
    bits = modulus.bit_length()
    if bits < MINIMUM_MODULUS:
        raise Refused(f"an RSA key of {bits} bits is too short", f"Use at least {MINIMUM_MODULUS} bits")
    if bits > MAXIMUM_MODULUS:
        raise Refused(f"an RSA key of {bits} bits is too long", f"Use at most {MAXIMUM_MODULUS} bits")
    # Two primes of half the size each, multiplied, fill whole octets; other sizes come from faulty generators.
    if bits % 8:
        raise Refused(f"an RSA key of {bits} bits does not fill whole octets", "Use 2048, 3072 or 4096 bits")


def _check_exponent(exponent: int) -> None:
    if exponent % 2 == 0:
        raise Refused("the RSA public exponent is even", _NEW_KEY)
    if exponent < MINIMUM_EXPONENT:
        raise Refused(f"the RSA public exponent {exponent} is too small", f"Use {MINIMUM_EXPONENT}")
    if exponent >= MAXIMUM_EXPONENT:
        raise Refused(f"the RSA public exponent has {exponent.bit_length()} bits", f"Use {MINIMUM_EXPONENT}")


def _primes_below(limit: int) -> list[int]:
    sieve = bytearray(b"\x01") * limit
    for candidate in range(2, math.isqrt(limit) + 1):
        if sieve[candidate]:
            sieve[candidate * candidate :: candidate] = bytes(len(range(candidate * candidate, limit, candidate)))
    return [number for number in range(2, limit) if sieve[number]]


_SMALL_PRIMES_PRODUCT: Final = math.prod(_primes_below(2000))


def has_small_factor(modulus: int) -> bool:
    """Whether a prime below 2000 divides `modulus`: no honest generator makes such a number."""
    return math.gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1


def _roca_residues() -> tuple[tuple[int, frozenset[int]], ...]:
    # Primes of the faulty library are k·M + (65537^a mod M), M being the product of the first primes; so its moduli,
    # taken modulo any of those primes, are powers of 65537 (Nemec et al., ACM CCS 2017, §3.1). Only primes for which
    # 65537 does not generate everything tell anything; together an honest key passes once in 2^27.
    rows = []
    for prime in _primes_below(168)[1:]:
        powers = {pow(65537, exponent, prime) for exponent in range(prime - 1)}
        if len(powers) < prime - 1:
            rows.append((prime, frozenset(powers)))
    return tuple(rows)


_ROCA: Final = _roca_residues()
_ROCA_PRODUCT: Final = math.prod(prime for prime, _ in _ROCA)


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether every residue of `modulus` is what Infineon's RSALib would have left (CVE-2017-15361)."""
    rest = modulus % _ROCA_PRODUCT
    return all(rest % prime in powers for prime, powers in _ROCA)


# Few squares lie in each, so that of `FERMAT_ROUNDS` candidates one in six keys leaves one to be computed.
_SQUARE_MODULI: Final = (16, 9, 5, 7, 11, 13, 17, 19, 23)
_SQUARE_BASE: Final = math.prod(_SQUARE_MODULI)


def has_close_primes(modulus: int) -> bool:
    """Whether Fermat's method finds the two factors within `FERMAT_ROUNDS` (Böck 2023, CVE-2022-26320).

    Tries a = ⌈√n⌉, a+1, …: if a² − n is a square b², then n = (a − b)(a + b). Bit k of `possible` is for ⌈√n⌉ + k: it
    stays where the difference may be a square modulo each of some small numbers. Only those are computed in full.
    """
    start = math.isqrt(modulus - 1) + 1
    first, rest = start % _SQUARE_BASE, modulus % _SQUARE_BASE
    possible = (1 << FERMAT_ROUNDS) - 1
    for base in _SQUARE_MODULI:
        possible &= _possible_squares(base, first % base, rest % base)
    while possible:
        lowest = possible & -possible
        candidate = (start + lowest.bit_length() - 1) ** 2 - modulus
        if math.isqrt(candidate) ** 2 == candidate:
            return True
        possible ^= lowest
    return False


@cache
def _possible_squares(base: int, first: int, rest: int) -> int:
    """Bit k, for k below `FERMAT_ROUNDS`, says whether (first + k)² − rest is a square modulo `base`."""
    squares = {number * number % base for number in range(base)}
    return sum(1 << k for k in range(FERMAT_ROUNDS) if ((first + k) ** 2 - rest) % base in squares)


# --- elliptic curves ---------------------------------------------------------------------------------------------

# The abscissa of each curve's generator (SEC 2 §2.4–2.6): a key with it has the private key 1 or −1.
_GENERATOR_X: Final[Mapping[str, int]] = MappingProxyType(
    {
        "p256": 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        "p384": 0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        "p521": int(
            "C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3"
            "C1856A429BF97E7E31C2E5BD66",
            16,
        ),
    }
)  # fmt: skip
_COORDINATE_SIZE: Final[Mapping[str, int]] = MappingProxyType({"p256": 32, "p384": 48, "p521": 66})


def _check_ec(spki: bytes, facts: PublicKeyFacts) -> None:
    size = _COORDINATE_SIZE.get(facts.curve or "")
    if facts.curve is None or size is None:
        raise Refused(f"EC keys on the curve {facts.curve} are not accepted", "Use P-256, P-384 or P-521")
    abscissa = _abscissa(spki, size)
    if abscissa is None:  # also the point at infinity, which is a single zero octet
        raise Refused("the EC public key is not a point in uncompressed or compressed form", _NEW_KEY)
    if int.from_bytes(abscissa, "big") == _GENERATOR_X[facts.curve]:
        raise Refused("the EC public key is the curve's generator: its private key is 1", _NEW_KEY)


def _abscissa(spki: bytes, size: int) -> bytes | None:
    """SubjectPublicKeyInfo ends with its BIT STRING: an octet of unused bits, the point's form, its coordinates."""
    if spki[-2 * size - 2 : -2 * size] == b"\x00\x04":
        return spki[-2 * size : -size]
    if spki[-size - 2 : -size] in (b"\x00\x02", b"\x00\x03"):
        return spki[-size:]
    return None


# --- Edwards curves ----------------------------------------------------------------------------------------------

# Points of small order: whoever sees such a "key" can sign with it, so its proof of possession proves nothing
# (RFC 8032 §8; Chalkias et al. 2020, table 1). Ordinates modulo the field prime; the sign bit is left out.
_P25519: Final = 2**255 - 19
_P448: Final = 2**448 - 2**224 - 1
_ORDER_EIGHT_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_25519: Final = frozenset({0, 1, _P25519 - 1, _ORDER_EIGHT_Y, _P25519 - _ORDER_EIGHT_Y})
_SMALL_ORDER_448: Final = frozenset({0, 1, _P448 - 1})


def _check_ed25519(spki: bytes, facts: PublicKeyFacts) -> None:
    ordinate = int.from_bytes(spki[-32:], "little") & ((1 << 255) - 1)
    _check_edwards(ordinate, _P25519, _SMALL_ORDER_25519)


def _check_ed448(spki: bytes, facts: PublicKeyFacts) -> None:
    ordinate = int.from_bytes(spki[-57:], "little") & ((1 << 455) - 1)
    _check_edwards(ordinate, _P448, _SMALL_ORDER_448)


def _check_edwards(ordinate: int, prime: int, small_order: frozenset[int]) -> None:
    if ordinate % prime in small_order:
        raise Refused("the public key is a point of small order, for which anybody can sign", _NEW_KEY)
    if ordinate >= prime:
        raise Refused("the public key is not canonically encoded (RFC 8032 §5.1.3)", _NEW_KEY)


# --- ML-DSA ------------------------------------------------------------------------------------------------------

_ML_DSA_SIZE: Final[Mapping[int, int]] = MappingProxyType({44: 1312, 65: 1952, 87: 2592})  # FIPS 204 table 2


def _check_ml_dsa(spki: bytes, facts: PublicKeyFacts) -> None:
    size = _ML_DSA_SIZE.get(facts.bits)
    if size is None or len(spki) <= size:
        raise Refused(f"ML-DSA-{facts.bits} keys are not accepted", "Use ML-DSA-44, ML-DSA-65 or ML-DSA-87")
    # pk = rho (32 octets) and t1; with t1 = 0 verification asks for a small z alone, which anybody can choose.
    if not spki[-size + 32 :].strip(b"\x00"):
        raise Refused("the ML-DSA public key is zero", _NEW_KEY)


_CHECKS: Final[Mapping[KeyType, Callable[[bytes, PublicKeyFacts], None]]] = MappingProxyType(
    {
        KeyType.RSA: _check_rsa,
        KeyType.EC: _check_ec,
        KeyType.ED25519: _check_ed25519,
        KeyType.ED448: _check_ed448,
        KeyType.ML_DSA: _check_ml_dsa,
    }
)
