"""RSA keys that Debian's OpenSSL made between 2006 and 2008 (CVE-2008-0166, DSA-1571).

Its generator was seeded with the process number alone, so each architecture and key size has 32,767 of them for each
way of starting; whoever lists them has the private keys. The file beside this module lists fingerprints of 2,048-bit
keys, the size that was usual then and is still accepted. It is not complete: it holds 83,688 of about 294,900, those
of the lowest process numbers of each architecture; `scripts/debian_weak_keys/` makes the rest and other sizes, in
about three hours of one core.

Layout: for each of the 65,536 values of a fingerprint's first two octets, one octet with the number of
fingerprints that begin so; then the remaining four octets of every fingerprint, sorted.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Final

from pkiconf.errors import Unavailable

FINGERPRINT_SIZE: Final = 6
_BUCKETS: Final = 1 << 16
_REST: Final = FINGERPRINT_SIZE - 2


def debian_fingerprint(modulus: int) -> bytes:
    """The last six octets of SHA-1 over `openssl rsa -noout -modulus` text: the end of an openssl-blacklist line."""
    text = b"Modulus=%X\n" % modulus
    return hashlib.sha1(text, usedforsecurity=False).digest()[-FINGERPRINT_SIZE:]


def is_debian_weak(modulus: int) -> bool:
    """Whether `modulus` is on the list. One honest key in 10^9 is taken for a weak one."""
    starts, rests = _load()
    fingerprint = debian_fingerprint(modulus)
    bucket = int.from_bytes(fingerprint[:2], "big")
    wanted = fingerprint[2:]
    return any(
        rests[position : position + _REST] == wanted for position in range(starts[bucket], starts[bucket + 1], _REST)
    )


def encode_list(fingerprints: set[bytes]) -> bytes:
    """The list as a file. Raises ValueError when more than 255 fingerprints share their first two octets."""
    counts = [0] * _BUCKETS
    for fingerprint in fingerprints:
        counts[int.from_bytes(fingerprint[:2], "big")] += 1
    return bytes(counts) + b"".join(fingerprint[2:] for fingerprint in sorted(fingerprints))


@cache
def _load() -> tuple[tuple[int, ...], bytes]:
    return parse_list((files("pkiconf.policy") / "debian-weak-rsa.bin").read_bytes())


def parse_list(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """Where each bucket starts (one more than there are buckets), and the octets they index.

    Raises Unavailable when the file is not whole: a list that is cut off must not let keys pass.
    """
    starts = tuple(accumulate((count * _REST for count in data[:_BUCKETS]), initial=0))
    rests = data[_BUCKETS:]
    if len(starts) != _BUCKETS + 1 or len(rests) != starts[-1]:
        raise Unavailable("the list of Debian's weak keys is damaged", "Install pkiconf again")
    return starts, rests
