"""How an issuer's CRL is divided, and where its parts are.

A certificate belongs to a part for its whole life: the number is worked out from its serial number when it is made,
recorded with it, and written into it as a URL. So the number of parts may change at any time, for new certificates.
"""

from __future__ import annotations

from typing import Final

_LAST_OCTETS: Final = (1 << 64) - 1


def part_of(serial_number: int, partitions: int) -> int:
    """1 to `partitions`; 0, no part, where the list is not divided. Only the serial number's last octets count: they
    are random, and drawn before the others are known."""
    return (serial_number & _LAST_OCTETS) % partitions + 1 if partitions else 0


def part_url(crl_url: str, part: int) -> str:
    """`…/1.crl` is the full list, `…/1/7.crl` its part 7. `part` 0 or below is the full list."""
    return _below(crl_url, str(part)) if part > 0 else crl_url


def delta_url(crl_url: str, part: int) -> str:
    """`…/1/delta.crl` belongs to the full list, `…/1/7-delta.crl` to part 7."""
    return _below(crl_url, f"{part}-delta" if part > 0 else "delta")


def _below(url: str, name: str) -> str:
    folder, slash, file = url.rpartition("/")
    stem, dot, form = file.rpartition(".")
    return f"{folder}{slash}{stem}/{name}.{form}" if dot else f"{url.rstrip('/')}/{name}.crl"
