"""One apply at a time: a lease row with a fencing number, which every change's transaction checks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.errors import Refused, Unavailable
from pkiconf.issuance.parts import Parts
from pkiconf.steps import Step
from pkiconf.store import leases
from pkiconf.store.database import Connection

NAME: Final = "apply"
SECONDS: Final = 30
"""How long a holder may be silent before another may take over; each change renews it."""

_PAUSE: Final = 0.25


class ApplyLease:
    """Held between `acquire` and `release`. Losing it is noticed in the transaction of the next change."""

    def __init__(self, parts: Parts, fencing: int) -> None:
        self._parts = parts
        self._fencing = fencing

    def guard(self, c: Connection) -> None:
        """Raises Conflict if another apply has taken over. Runs first in every change's transaction."""
        leases.check_fencing(c, NAME, self._fencing)

    def renew(self) -> None:
        until = to_epoch(self._parts.now()) + SECONDS
        self._parts.db.write(Step.APPLY_LEASE, lambda c: leases.renew(c, NAME, self._fencing, until))

    def is_held(self) -> bool:
        row = self._parts.db.read(lambda c: leases.find_lease(c, NAME))
        return row is not None and row.fencing == self._fencing

    def release(self) -> None:
        self._parts.db.write(Step.APPLY_LEASE, lambda c: leases.release(c, NAME, self._fencing))


@contextmanager
def hold(parts: Parts, patience: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[ApplyLease]:
    """The lease, for as long as the block runs. Waits up to `patience` seconds for another apply to end.

    Raises Refused when it has not ended by then.
    """
    lease = _acquire(parts, patience, sleep)
    try:
        yield lease
    finally:
        # A database that is gone by now takes nothing back of what was done; the lease ends by itself.
        with suppress(Unavailable):
            lease.release()


def _acquire(parts: Parts, patience: float, sleep: Callable[[float], None]) -> ApplyLease:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    waited = 0.0
    while True:
        now = to_epoch(parts.now())
        fencing = parts.db.write(Step.APPLY_LEASE, lambda c, now=now: _take(c, holder, now))  # type: ignore[misc]
        if fencing is not None:
            return ApplyLease(parts, fencing)
        if waited >= patience:
            row = parts.db.read(lambda c: leases.find_lease(c, NAME))
            who = row.holder if row else "another process"
            raise Refused(f"another apply is running ({who})", "Wait for it to end, then apply again")
        sleep(_PAUSE)
        waited += _PAUSE


def _take(c: Connection, holder: str, now: int) -> int | None:
    row = leases.find_lease(c, NAME)
    if row is not None and _is_dead(row.holder):
        leases.release(c, NAME, row.fencing)
    return leases.acquire(c, NAME, holder, now, now + SECONDS)


def _is_dead(holder: str) -> bool:
    """Whether the holder was a process of this host that is gone, so that nobody need wait out its time.

    Should this ever err, the fencing number still keeps the two apart.
    """
    host, _, process = holder.rpartition(":")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
