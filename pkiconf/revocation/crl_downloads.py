"""CRLs for whoever asks: what a download may cost is bounded, since nobody is asked who he is.

A short list is made by the request that needs it. A long one is the worker's: meanwhile the last one that is still
valid is given. And of a process's threads only some make CRLs or wait for them, so that the others can serve; but for
the first list of all, which there is no other for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import BoundedSemaphore, Lock
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.errors import PkiconfError, Unavailable
from pkiconf.issuance.parts import Parts
from pkiconf.revocation.crl import CRLs, PublishedCRL
from pkiconf.revocation.crl_contents import SKEW
from pkiconf.revocation.crl_schedule import Place
from pkiconf.revocation.revoke import CRL_JOB, crl_job
from pkiconf.steps import Step
from pkiconf.store import crls, jobs
from pkiconf.store.crls import FULL_LIST, Part

LARGEST: Final = 1 << 20
"""Octets, some 20,000 entries: what is longer is not made by a request while there is one that can be given."""

PLACES: Final = 2
"""How many threads may make CRLs or wait for them where nothing else is said."""

WAIT: Final = 5.0
"""Seconds that one waits for a place where there is no list at all yet: the first is mostly made at once."""

RESPITE: Final = timedelta(minutes=1)
"""A long list that nobody but downloads asks for is not made again sooner."""


class CRLDownloads:
    """`places` is how many threads of this process may make CRLs or wait for them at once."""

    def __init__(self, parts: Parts, made: CRLs, places: int = PLACES) -> None:
        self._parts = parts
        self._made = made
        self._places = BoundedSemaphore(max(1, places))
        self._asking = Lock()
        self._asked: dict[Place, datetime] = {}

    def current(self, issuer_id: int, part: Part = FULL_LIST) -> PublishedCRL:
        """As `CRLs.current`, but for long lists, which may be behind until the worker has made them anew, and for
        every list while too many threads are at CRLs already.

        Raises NotFound, Withheld, SigningUnavailable; Unavailable also when there is no valid one, and no place gets
        free to make it.
        """
        known, due = self._made.look(issuer_id, part)
        if known is not None and not due:
            return known
        valid = known if known is not None and self._parts.now() < known.next_update else None
        if valid is not None and self._is_long(issuer_id, part):
            self._leave_to_worker(issuer_id, part, valid)
            return valid
        if not self._places.acquire(timeout=0 if valid is not None else WAIT):
            if valid is None:
                raise Unavailable("too many requests wait for CRLs that are being made")
            return valid
        try:
            return self._made.current(issuer_id, part)
        finally:
            self._places.release()

    def _is_long(self, issuer_id: int, part: Part) -> bool:
        """Whether making one means to read that much: a delta is compared with complete ones."""
        return self._parts.db.look(lambda c: crls.size(c, issuer_id, part.shard)) > LARGEST

    def _leave_to_worker(self, issuer_id: int, part: Part, last: PublishedCRL) -> None:
        now, place = self._parts.now(), (issuer_id, part.complete)
        with self._asking:
            asked = self._asked.get(place)
            if last.this_update <= now < last.this_update + SKEW + RESPITE or (
                asked and asked <= now < asked + RESPITE
            ):
                return
            self._asked[place] = now
        dedupe = crl_job(issuer_id, part.shard)
        try:
            self._parts.db.write(
                Step.JOB_CLAIM, lambda c: jobs.queue_once(c, CRL_JOB, dedupe, "{}", to_epoch(now)), durable=False
            )
        except PkiconfError:
            return  # a full disk takes no job; what is valid is given all the same
        self._parts.wake()
