"""The full CRL of an issuer: made on demand and ahead of time, never going back."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.crl import assemble_crl, encode_crl_entry, encode_tbs_crl
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Conflict, NotFound, PkiconfError, SigningUnavailable, Unavailable
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.issuance.issuer import authority_spec, signature_algorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.revocation import RevocationReason
from pkiconf.signing.signer import Kind, Signer, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, crls, inventory, keys
from pkiconf.store.database import Connection

KEPT: Final = 3
"""How many past CRLs of an issuer stay in the database."""

SKEW: Final = timedelta(minutes=5)
"""thisUpdate lies this much in the past, for clients whose clocks are slow."""

PATIENCE: Final = 5.0
"""Seconds to wait for another thread that is making the CRL, while there is an older one that is still valid."""

PAUSE: Final = timedelta(seconds=10)
"""After a CRL could not be made it is not tried again for so long: meanwhile each download would try."""

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
        self._making: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._latest: dict[int, PublishedCRL] = {}
        self._failed: dict[int, tuple[datetime, PkiconfError]] = {}

    def current(self, issuer_id: int) -> PublishedCRL:
        """The CRL to serve now: one that covers every acknowledged revocation and is not past half its life.

        When it cannot be made now (the key or the disk is not to be had, or another thread takes long over it), the
        last one that is still valid. Raises NotFound for an issuer that never signed, SigningUnavailable or
        Unavailable when there is no valid CRL at all.
        """
        known, due = self._look(issuer_id)
        if known is not None and not due:
            return known
        valid = known if known is not None and self._parts.now() < known.next_update else None
        making = self._making[issuer_id]  # single flight: those behind the first one find its work done
        if not making.acquire(timeout=PATIENCE if valid else -1):
            assert valid is not None
            return valid
        try:
            known, due = self._look(issuer_id)
            return known if known is not None and not due else self._make_or(valid, issuer_id)
        finally:
            making.release()

    def make(self, issuer_id: int) -> PublishedCRL:
        """Sign and publish a new CRL of everything revoked by now.

        The number is taken in a transaction of its own, so two processes never sign different lists under one; a
        list that would go back behind a published one is not published. Raises SigningUnavailable, Unavailable,
        NotFound.
        """
        signer = self._signer(issuer_id)  # before a number is spent
        number = self._parts.db.write(Step.CRL_NUMBER, lambda c: crls.next_number(c, issuer_id).number)
        row = self._sign(issuer_id, signer, number)
        with contextlib.suppress(Conflict):  # another process published a newer list meanwhile: that one is served
            self._parts.db.write(Step.CRL_PUBLISH, lambda c: _publish(c, row))
        return self._load(issuer_id)

    def due(self) -> tuple[int, ...]:
        """Issuers whose CRL should be made again: past half its life, or behind a revocation."""
        heads = self._parts.db.read(
            lambda c: [(row.id, crls.head(c, row.id)) for row in authorities.list_issuers(c) if row.state in _SERVING]
        )
        return tuple(issuer_id for issuer_id, head in heads if head is None or self._is_due(head))

    def _look(self, issuer_id: int) -> tuple[PublishedCRL | None, bool]:
        """The latest CRL, and whether another one is due."""
        head = self._parts.db.look(lambda c: crls.head(c, issuer_id))
        if head is None:
            return None, True
        known = self._latest.get(issuer_id)
        if known is None or known.number != head.number:
            known = self._load(issuer_id)
        return known, self._is_due(head)

    def _is_due(self, head: crls.CRLHead) -> bool:
        half = head.this_update + (head.next_update - head.this_update) // 2
        return head.covers_epoch < head.status_epoch or to_epoch(self._parts.now()) >= half

    def _make_or(self, valid: PublishedCRL | None, issuer_id: int) -> PublishedCRL:
        now = self._parts.now()
        failed_at, failure = self._failed.get(issuer_id, (None, None))
        try:
            if failure is not None and failed_at is not None and failed_at <= now < failed_at + PAUSE:
                raise failure
            made = self.make(issuer_id)
        except (SigningUnavailable, Unavailable) as ex:
            if ex is not failure:
                self._failed[issuer_id] = (now, ex)
                log.error("the CRL of issuer %d cannot be made: %s", issuer_id, ex)
            if valid is None:
                raise
            return valid
        self._failed.pop(issuer_id, None)
        return made

    def _signer(self, issuer_id: int) -> Signer:
        def find(c: Connection) -> keys.KeyRow:
            issuer = authorities.get_issuer(c, issuer_id)
            if issuer.state == "next":
                raise NotFound(f"generation {issuer.generation} of this authority has no certificate yet")
            return keys.get_key(c, issuer.key_id)

        key = self._parts.db.read(find)
        return self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)

    def _sign(self, issuer_id: int, signer: Signer, number: int) -> crls.CRLRow:
        now = self._parts.now()
        found = self._parts.db.read(lambda c: _collect(c, issuer_id))
        spec = authority_spec(found.authority)
        # Never the same twice, and nothing was known before the issuer existed.
        earliest = max(found.issuer.created_at, found.last_update + 1)
        this_update = min(now, max(now - SKEW, from_epoch(earliest)))
        next_update = spec.crl.validity.after(now)
        algorithm = signature_algorithm(spec, found.key)
        tbs = encode_tbs_crl(
            found.issuer.subject, algorithm, this_update, next_update, number, found.issuer.ski, found.entries
        )
        order_id = UUID(bytes=self._parts.entropy.token(16), version=4)
        signature = signer.sign(SigningOrder(order_id, Kind.CRL, tbs, algorithm, now + SIGNING_TIME))
        verify_signature(found.key.spki, algorithm, tbs, signature)
        return crls.CRLRow(
            issuer_id=issuer_id, shard=crls.FULL, number=number, covers_epoch=found.issuer.status_epoch,
            this_update=to_epoch(this_update), next_update=to_epoch(next_update),
            der=assemble_crl(tbs, algorithm, signature),
        )  # fmt: skip

    def _load(self, issuer_id: int) -> PublishedCRL:
        row = self._parts.db.read(lambda c: crls.current(c, issuer_id))
        if row is None:
            raise NotFound("there is no such CRL")
        found = PublishedCRL(
            row.der, sha256(row.der).hexdigest(), row.number,
            from_epoch(row.this_update), from_epoch(row.next_update), row.covers_epoch,
        )  # fmt: skip
        self._latest[issuer_id] = found
        return found


_SERVING: Final = ("active", "retiring")
_REASONS: Final = {reason.code: reason for reason in RevocationReason} | {None: RevocationReason.UNSPECIFIED}


@dataclass(frozen=True, slots=True)
class _Collected:
    """What goes into a CRL, from one view of the database: the epoch of `issuer` is the one `entries` belong to.
    `last_update` is the thisUpdate of the CRL before, 0 if there is none."""

    issuer: authorities.IssuerRow
    key: keys.KeyRow
    authority: authorities.AuthorityRow
    last_update: int
    entries: bytes


def _collect(c: Connection, issuer_id: int) -> _Collected:
    """RFC 5280 §3.3: an expired certificate is left out only after it stood on one CRL issued beyond its end."""
    issuer = authorities.get_issuer(c, issuer_id)
    latest = crls.head(c, issuer_id)
    last_update = latest.this_update if latest else 0
    entries = b"".join(
        encode_crl_entry(
            row.serial, row.revoked_at, _REASONS[row.reason],
            from_epoch(row.invalidity_at) if row.invalidity_at is not None else None,
        )
        for row in inventory.revoked(c, issuer_id, last_update)
    )  # fmt: skip
    authority = authorities.get_authority(c, issuer.authority_id)
    return _Collected(issuer, keys.get_key(c, issuer.key_id), authority, last_update, entries)


def _publish(c: Connection, row: crls.CRLRow) -> None:
    crls.publish(c, row)
    crls.prune(c, row.issuer_id, KEPT)
