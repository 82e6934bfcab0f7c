"""The CRLs of an issuer, full, in parts and deltas: made on demand and ahead of time, never going back."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.crl import assemble_crl, encode_tbs_crl
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Conflict, NotFound, PkiconfError, SigningUnavailable, Unavailable
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.issuance.issuer import signature_algorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.durations import Duration
from pkiconf.policy.authorization import Action, check_may
from pkiconf.revocation.crl_comparison import Withheld
from pkiconf.revocation.crl_contents import SKEW, Contents, collect
from pkiconf.revocation.crl_schedule import Place, Schedule
from pkiconf.signing.signer import Kind, Signer, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, crls, keys, leases
from pkiconf.store.crls import FULL, FULL_LIST, Part
from pkiconf.store.database import Connection

KEPT: Final = 3
"""How many past CRLs of each part stay in the database."""

PATIENCE: Final = 5.0
"""Seconds to wait for another thread or process that is making the CRL, while there is an older one that is valid."""

TRIES: Final = 10
"""How often a CRL is made when others publish one meanwhile that covers less."""

LOOK: Final = 0.05
"""Seconds between two looks at what another process is making."""

LEASE: Final = 60
"""Seconds for which nobody else makes a CRL that somebody is making; whoever was killed over it is followed then."""

PAUSE: Final = timedelta(seconds=10)
"""After a CRL could not be made it is not tried again for so long: meanwhile each download would try."""

WITHHELD: Final = timedelta(minutes=1)
"""The same for one that contradicts the one before it: finding that out means reading all of it."""

Record = Callable[[Connection, int], None]
"""What is written together with a CRL, given its number."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedCRL:
    """`digest` is the SHA-256 of `der`, hex: a list of a million entries is hashed once, not at each download."""

    der: bytes
    digest: str
    number: int
    this_update: datetime
    next_update: datetime
    covers_epoch: int


class CRLs:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.schedule = Schedule(parts)
        self._making: defaultdict[Place, threading.Lock] = defaultdict(threading.Lock)
        self._latest: dict[Place, PublishedCRL] = {}
        self._failed: dict[Place, tuple[datetime, PkiconfError]] = {}
        self._name = parts.entropy.token(8).hex()

    def current(self, issuer_id: int, part: Part = FULL_LIST) -> PublishedCRL:
        """The CRL to serve now: one that covers every acknowledged revocation and is not past half its life. Where
        there are delta CRLs, that is the delta's task, and the complete list is only kept young.

        When it cannot be made now (the key or the disk is not to be had, the list contradicts the one before, or
        another thread or process takes long over it), the last one that is still valid. Raises NotFound for an issuer
        that never signed, a part that no certificate names and a delta that is not declared; Withheld,
        SigningUnavailable or Unavailable when there is no valid CRL at all.
        """
        known, due = self.look(issuer_id, part)
        if known is not None and not due:
            return known
        valid = known if known is not None and self._parts.now() < known.next_update else None
        making = self._making[issuer_id, part]  # single flight: those behind the first one find its work done
        if not making.acquire(timeout=PATIENCE if valid else -1):
            assert valid is not None
            return valid
        try:
            known, due = self.look(issuer_id, part)
            return known if known is not None and not due else self._make_or(valid, issuer_id, part)
        finally:
            making.release()

    def make(self, issuer_id: int, part: Part = FULL_LIST) -> PublishedCRL:
        """Sign and publish a new CRL of everything revoked by now.

        The number is taken in a transaction of its own, so two processes never sign different lists under one; a
        list that would go back behind a published one is not published. Raises SigningUnavailable, Unavailable,
        NotFound; Withheld.
        """
        return self._make(issuer_id, part, True, _nothing_more)

    def make_as_it_is(self, issuer_id: int, part: Part, actor: Actor) -> PublishedCRL:
        """`make` without comparing, by somebody who knows why certificates are no longer on the list."""
        check_may(actor, Action.CRL_OVERRIDE, _address(issuer_id, part))

        def record(c: Connection, number: int) -> None:
            self._parts.record(c, actor, "crl.override", _address(issuer_id, part), {"number": number})

        return self._make(issuer_id, part, False, record)

    def refresh(self, issuer_id: int, shard: int) -> None:
        """Make whatever is due of one part or of the full list, the complete one before its delta.

        Raises NotFound, Withheld, SigningUnavailable, Unavailable.
        """
        for part in self.schedule.parts_of(issuer_id):
            if part.shard == shard:
                self.current(issuer_id, part)

    def look(self, issuer_id: int, part: Part) -> tuple[PublishedCRL | None, bool]:
        """The latest CRL, and whether another one is due. Raises NotFound."""
        standing = self.schedule.standing(issuer_id, part)
        if standing.head is None or (part.delta and standing.spec.delta is None):
            self.schedule.check_named(issuer_id, part)
            return None, True
        known = self._latest.get((issuer_id, part))
        if known is None or known.number != standing.head.number:
            known = self._load(issuer_id, part)
        return known, self.schedule.is_due(standing, part)

    def _make_or(self, valid: PublishedCRL | None, issuer_id: int, part: Part) -> PublishedCRL:
        now = self._parts.now()
        failed_at, failure = self._failed.get((issuer_id, part), (None, None))
        pause = WITHHELD if isinstance(failure, Withheld) else PAUSE
        if failure is not None and failed_at is not None and failed_at <= now < failed_at + pause:
            if valid is None:
                raise failure.anew()
            return valid
        try:
            made = self._make_alone(issuer_id, part)
        except (SigningUnavailable, Unavailable, Withheld) as ex:
            self._failed[issuer_id, part] = (now, ex.anew())
            log.error("the CRL (%s) of issuer %d cannot be made: %s", part, issuer_id, ex)
            if valid is None:
                raise
            return valid
        self._failed.pop((issuer_id, part), None)
        return made

    def _make_alone(self, issuer_id: int, part: Part) -> PublishedCRL:
        """Let nobody else make the same one meanwhile, on any host; or wait a little for somebody else to make it.

        Whoever has the lease may have been killed over it: rather the work is done twice than an acknowledged
        revocation left out for as long as a lease lasts.
        """
        if part.delta:
            self.current(issuer_id, part.complete)  # there has to be one to begin from
        waiting_until = time.monotonic() + PATIENCE
        while True:
            late = time.monotonic() >= waiting_until
            with self._lease(issuer_id, part) as free:
                known, due = self.look(issuer_id, part)  # who had it before may have made it
                if known is not None and not due:
                    return known
                if free or late:
                    return self.make(issuer_id, part)
            time.sleep(LOOK)

    def _lease(self, issuer_id: int, part: Part) -> contextlib.AbstractContextManager[bool]:
        """Whether it was free, and is ours now."""
        name, now = _address(issuer_id, part), to_epoch(self._parts.now())
        return leases.held(self._parts.db, name, self._name, now, LEASE)

    def _signer(self, issuer_id: int) -> Signer:
        def find(c: Connection) -> keys.KeyRow:
            issuer = authorities.get_issuer(c, issuer_id)
            if issuer.state == "next":
                raise NotFound(f"generation {issuer.generation} of this authority has no certificate yet")
            return keys.get_key(c, issuer.key_id)

        key = self._parts.db.read(find)
        return self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)

    def _make(self, issuer_id: int, part: Part, compare: bool, record: Record) -> PublishedCRL:
        """`record` is done in the transaction that publishes."""
        signer = self._signer(issuer_id)  # before a number is spent
        for _ in range(TRIES):
            number = self._parts.db.write(Step.CRL_NUMBER, lambda c: crls.next_number(c, issuer_id).number)
            row = self._sign_or_withhold(issuer_id, part, signer, number, compare)
            if self._publish(row, part, record):
                return self._keep(row, part)
            # Another process published one under a later number meanwhile. It may have read the database earlier.
            known = self._load(issuer_id, part)
            if known.covers_epoch >= row.covers_epoch:
                return known
        raise Unavailable("other processes keep publishing CRLs that cover less")

    def _sign_or_withhold(self, issuer_id: int, part: Part, signer: Signer, number: int, compare: bool) -> crls.CRLRow:
        try:
            return self._sign(issuer_id, part, signer, number, compare)
        except Withheld as ex:
            self._withhold(issuer_id, part, ex.detail)
            raise

    def _publish(self, row: crls.CRLRow, part: Part, record: Record) -> bool:
        """Whether it is the current one now; not when a newer one was published meanwhile."""

        def write(c: Connection) -> None:
            _publish(c, row, part)
            record(c, row.number)

        try:
            self._parts.db.write(Step.CRL_PUBLISH, write)
        except Conflict:
            return False
        return True

    def _sign(self, issuer_id: int, part: Part, signer: Signer, number: int, compare: bool) -> crls.CRLRow:
        now = self._parts.now()
        found = self._parts.db.read(lambda c: collect(c, issuer_id, part, now, compare=compare))
        # Never the same twice, and nothing was known before the issuer existed.
        earliest = max(found.issuer.created_at, found.last_update + 1)
        this_update = min(now, max(now - SKEW, from_epoch(earliest)))
        next_update = _validity(found, part).after(now)
        algorithm = signature_algorithm(found.spec, found.key)
        tbs = encode_tbs_crl(
            found.issuer.subject, algorithm, this_update, next_update, number, found.issuer.ski, found.entries,
            found.extensions,
        )  # fmt: skip
        order_id = UUID(bytes=self._parts.entropy.token(16), version=4)
        signature = signer.sign(SigningOrder(order_id, Kind.CRL, tbs, algorithm, now + SIGNING_TIME))
        verify_signature(found.key.spki, algorithm, tbs, signature)
        return crls.CRLRow(
            issuer_id=issuer_id, shard=part.shard, number=number, covers_epoch=found.issuer.status_epoch,
            this_update=to_epoch(this_update), next_update=to_epoch(next_update),
            der=assemble_crl(tbs, algorithm, signature), base_number=found.base_number,
        )  # fmt: skip

    def _withhold(self, issuer_id: int, part: Part, reason: str) -> None:
        at = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            if crls.withhold(c, issuer_id, part, at, reason):
                self._parts.record(c, SYSTEM, "crl.withhold", _address(issuer_id, part), {"reason": reason})

        self._parts.db.write(Step.CRL_PUBLISH, write)

    def _load(self, issuer_id: int, part: Part) -> PublishedCRL:
        row = self._parts.db.read(lambda c: crls.current(c, issuer_id, part.shard, part.delta))
        if row is None:
            raise NotFound("there is no such CRL")
        return self._keep(row, part)

    def _keep(self, row: crls.CRLRow, part: Part) -> PublishedCRL:
        found = self._latest[row.issuer_id, part] = PublishedCRL(
            row.der, sha256(row.der).hexdigest(), row.number,
            from_epoch(row.this_update), from_epoch(row.next_update), row.covers_epoch,
        )  # fmt: skip
        return found


def _nothing_more(_c: Connection, _number: int) -> None:
    """The record of a CRL that was made by itself."""


def _validity(found: Contents, part: Part) -> Duration:
    if not part.delta:
        return found.spec.crl.validity
    if found.spec.crl.delta is None:
        raise NotFound("this authority has no delta CRLs")
    return found.spec.crl.delta


def _publish(c: Connection, row: crls.CRLRow, part: Part) -> None:
    crls.publish(c, row)
    crls.prune(c, row.issuer_id, KEPT, row.shard, part.delta)
    crls.clear_withheld(c, row.issuer_id, part)


def _address(issuer_id: int, part: Part) -> str:
    shard = "full" if part.shard == FULL else str(part.shard)
    return f"crl/{issuer_id}/{shard}" + ("/delta" if part.delta else "")
