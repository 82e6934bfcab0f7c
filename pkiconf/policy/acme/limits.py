"""So many within so long: the arithmetic of declared rate limits."""

from __future__ import annotations

from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.spec.acme import RateLimit


def window_start(limit: RateLimit, now: int) -> int:
    """What happened after this moment (epoch seconds) counts."""
    return now - limit.per.seconds


def check_rate(limit: RateLimit, marking: int | None, now: int, what: str) -> None:
    """Raise ACMEProblem `rateLimited` when another one would be too many.

    `marking` is when the `limit.count`-th newest happened, None if there were not that many: as long as it lies within
    the window, the window is full.
    """
    if marking is None or marking <= window_start(limit, now):
        return
    wait = max(marking + limit.per.seconds - now, 1)
    raise ACMEProblem(
        ProblemType.RATE_LIMITED,
        f"{what}: {limit.count} within {limit.per} is the limit; come back in {wait} seconds",
        retry_after=wait,
    )
