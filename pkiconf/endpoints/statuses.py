"""What errors by meaning are in HTTP, and what every protocol says with them."""

from __future__ import annotations

from typing import Final

from pkiconf.errors import (
    Conflict,
    Malformed,
    NotFound,
    PkiconfError,
    Refused,
    SigningUnavailable,
    Unavailable,
    UnsupportedAlgorithm,
    Unverified,
)

RETRY_AFTER: Final = 30
"""Seconds after which to come back when something that is needed cannot be had."""

_STATUS: Final[tuple[tuple[type[PkiconfError], int], ...]] = (
    (Malformed, 400),
    (Unverified, 400),
    (UnsupportedAlgorithm, 400),
    (Refused, 403),
    (NotFound, 404),
    (Conflict, 409),
    (SigningUnavailable, 503),
    (Unavailable, 503),
)


def status_of(error: PkiconfError) -> int:
    """500 for one that has no meaning to a client. What 500 and 503 are about is the operator's business alone."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
