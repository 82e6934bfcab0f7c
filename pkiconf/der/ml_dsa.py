"""ML-DSA private keys in their three forms (FIPS 204, RFC 9881 §6).

Keys are kept as seeds. OpenSSL writes the seed and the expanded key side by side; RFC 9881 asks that two which do
not belong together be refused, so the expanded key is made from the seed once more and compared. This runs when a
key is imported, never when one signs: it is slow and its time depends on the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple

_Q: Final = 8380417
_N: Final = 256
_D: Final = 13


class _Parameters(NamedTuple):
    """FIPS 204 table 1: rows and columns of the matrix, and the largest coefficient of a secret."""

    k: int
    l: int  # noqa: E741 - the standard's letter
    eta: int


_SETS: Final[Mapping[int, _Parameters]] = MappingProxyType(
    {44: _Parameters(4, 4, 2), 65: _Parameters(6, 5, 4), 87: _Parameters(8, 7, 2)}
)
_BIT_REVERSED: Final = tuple(int(f"{number:08b}"[::-1], 2) for number in range(_N))
_ZETAS: Final = tuple(pow(1753, power, _Q) for power in _BIT_REVERSED)
_INVERSE_N: Final = pow(_N, -1, _Q)

Polynomial = list[int]


def expanded_key_size(bits: int) -> int:
    """Octets of the expanded private key of ML-DSA-`bits` (FIPS 204 table 2)."""
    k, l, eta = _SETS[bits]  # noqa: E741
    return 128 + 32 * ((k + l) * (2 * eta).bit_length() + _D * k)


def expand_seed(seed: bytes, bits: int) -> bytes:
    """The expanded private key that belongs to a 32-octet seed: FIPS 204 algorithms 6 and 24."""
    k, l, eta = _SETS[bits]  # noqa: E741
    stream = hashlib.shake_256(seed + bytes((k, l))).digest(128)
    rho, rho_prime, secret = stream[:32], stream[32:96], stream[96:]
    s1 = [_sample_bounded(rho_prime, index, eta) for index in range(l)]
    s2 = [_sample_bounded(rho_prime, l + index, eta) for index in range(k)]
    transformed = [_transform(polynomial) for polynomial in s1]
    high, low = [], []
    for row in range(k):
        product = _multiply_row(rho, row, transformed)
        split = [_power_2_round((a + b) % _Q) for a, b in zip(product, s2[row], strict=True)]
        high.append([t1 for t1, _ in split])
        low.append([t0 for _, t0 in split])
    public_key = rho + b"".join(_pack(polynomial, 10) for polynomial in high)
    packed = [_pack([eta - c for c in polynomial], (2 * eta).bit_length()) for polynomial in s1 + s2]
    packed += [_pack([(1 << _D - 1) - c for c in polynomial], _D) for polynomial in low]
    return rho + secret + hashlib.shake_256(public_key).digest(64) + b"".join(packed)


def _sample_bounded(rho_prime: bytes, nonce: int, eta: int) -> Polynomial:
    """RejBoundedPoly (algorithm 31): two coefficients in [-eta, eta] from an octet, some rejected."""
    stream = hashlib.shake_256(rho_prime + nonce.to_bytes(2, "little")).digest(1024)
    halves = (half for octet in stream for half in (octet & 15, octet >> 4))
    kept = (2 - half % 5 for half in halves if half < 15) if eta == 2 else (4 - half for half in halves if half < 9)
    return list(islice(kept, _N))


def _sample_uniform(rho: bytes, row: int, column: int) -> Polynomial:
    """RejNTTPoly (algorithm 30): coefficients below q from three octets each, some rejected."""
    stream = hashlib.shake_128(rho + bytes((column, row))).digest(1344)
    numbers = (int.from_bytes(stream[at : at + 3], "little") & 0x7FFFFF for at in range(0, len(stream), 3))
    return [number for number in numbers if number < _Q][:_N]


def _transform(polynomial: Polynomial) -> Polynomial:
    """NTT (algorithm 41)."""
    w = [coefficient % _Q for coefficient in polynomial]
    m, size = 0, 128
    while size:
        for start in range(0, _N, 2 * size):
            m += 1
            for j in range(start, start + size):
                t = _ZETAS[m] * w[j + size] % _Q
                w[j + size], w[j] = (w[j] - t) % _Q, (w[j] + t) % _Q
        size //= 2
    return w


def _transform_back(w: Polynomial) -> Polynomial:
    """The inverse NTT (algorithm 42)."""
    m, size = _N, 1
    while size < _N:
        for start in range(0, _N, 2 * size):
            m -= 1
            for j in range(start, start + size):
                t = w[j]
                w[j], w[j + size] = (t + w[j + size]) % _Q, -_ZETAS[m] * (t - w[j + size]) % _Q
        size *= 2
    return [coefficient * _INVERSE_N % _Q for coefficient in w]


def _multiply_row(rho: bytes, row: int, vector: Sequence[Polynomial]) -> Polynomial:
    total = [0] * _N
    for column, polynomial in enumerate(vector):
        matrix = _sample_uniform(rho, row, column)
        total = [c + a * b for c, a, b in zip(total, matrix, polynomial, strict=True)]
    return _transform_back([coefficient % _Q for coefficient in total])


def _power_2_round(coefficient: int) -> tuple[int, int]:
    """Power2Round (algorithm 35): the high bits, and the low ones in (-2^12, 2^12]."""
    low = coefficient % (1 << _D)
    if low > 1 << _D - 1:
        low -= 1 << _D
    return (coefficient - low) >> _D, low


def _pack(polynomial: Polynomial, width: int) -> bytes:
    """SimpleBitPack (algorithm 16): `width` bits a coefficient, the lowest first."""
    number = sum(coefficient << (width * index) for index, coefficient in enumerate(polynomial))
    return number.to_bytes(width * _N // 8, "little")
