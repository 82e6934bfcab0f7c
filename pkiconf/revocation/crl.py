"""The full CRL of an issuer: made on demand and ahead of time, never going back."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.crl import assemble_crl, encode_crl_entry, encode_tbs_crl
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Conflict, NotFound, SigningUnavailable, Unavailable
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.issuance.issuer import authority_spec, signature_algorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.revocation import RevocationReason
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, crls, inventory, keys
from pkiconf.store.database import Connection

KEPT: Final = 3
"""How many past CRLs of an issuer stay in the database."""

SKEW: Final = timedelta(minutes=5)
"""thisUpdate lies this much in the past, for clients whose clocks are slow."""


@dataclass(frozen=True, slots=True)
class PublishedCRL:
    der: bytes
    number: int
    this_update: datetime
    next_update: datetime
    covers_epoch: int


class CRLs:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._making = threading.Lock()
        self._latest: dict[int, PublishedCRL] = {}

    def current(self, issuer_id: int) -> PublishedCRL:
        """The CRL to serve now: one that covers every acknowledged revocation and is not past half its life.

        When the key cannot sign now, the last one that is still valid. Raises NotFound for an issuer that never
        signed, SigningUnavailable when there is no valid CRL at all.
        """
        epoch, number = self._parts.db.read(lambda c: _state(c, issuer_id))
        known = self._latest.get(issuer_id)
        if known is None or known.number != number:
            known = self._load(issuer_id)
        if known is not None and not self._is_due(known, epoch):
            return known
        with self._making:  # single flight: the threads behind the first one find its work done
            epoch = self._parts.db.read(lambda c: _state(c, issuer_id))[0]
            known = self._load(issuer_id)
            if known is not None and not self._is_due(known, epoch):
                return known
            try:
                return self.make(issuer_id)
            except (SigningUnavailable, Unavailable):
                if known is not None and self._parts.now() < known.next_update:
                    return known
                raise

    def make(self, issuer_id: int) -> PublishedCRL:
        """Sign and publish a new CRL of everything revoked by now.

        The number is taken in a transaction of its own, so two processes never sign different lists under one; a
        list that would go back behind a published one is not published. Raises SigningUnavailable, NotFound.
        """
        now = self._parts.now()
        number = self._parts.db.write(Step.CRL_NUMBER, lambda c: crls.next_number(c, issuer_id).number)
        issuer, key, authority, entries = self._parts.db.read(lambda c: self._collect(c, issuer_id))
        spec = authority_spec(authority)
        this_update = now - SKEW
        next_update = spec.crl.validity.after(now)
        algorithm = signature_algorithm(spec, key)
        tbs = encode_tbs_crl(issuer.subject, algorithm, this_update, next_update, number, issuer.ski, entries)
        signer = self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)
        order_id = UUID(bytes=self._parts.entropy.token(16), version=4)
        signature = signer.sign(SigningOrder(order_id, Kind.CRL, tbs, algorithm, now + SIGNING_TIME))
        verify_signature(key.spki, algorithm, tbs, signature)
        der = assemble_crl(tbs, algorithm, signature)
        row = crls.CRLRow(
            issuer_id=issuer_id, shard=crls.FULL, number=number, covers_epoch=issuer.status_epoch,
            this_update=to_epoch(this_update), next_update=to_epoch(next_update), der=der,
        )  # fmt: skip
        with contextlib.suppress(Conflict):  # another process published a newer list meanwhile: that one is served
            self._parts.db.write(Step.CRL_PUBLISH, lambda c: _publish(c, row))
        published = self._load(issuer_id)
        assert published is not None
        return published

    def due(self) -> tuple[int, ...]:
        """Issuers whose CRL should be made again: past half its life, or behind a revocation."""
        states = self._parts.db.read(_serving)
        return tuple(
            issuer_id
            for issuer_id, epoch in states
            if (known := self._load(issuer_id)) is None or self._is_due(known, epoch)
        )

    def _is_due(self, known: PublishedCRL, epoch: int) -> bool:
        half = known.this_update + (known.next_update - known.this_update) / 2
        return known.covers_epoch < epoch or self._parts.now() >= half

    def _load(self, issuer_id: int) -> PublishedCRL | None:
        row = self._parts.db.read(lambda c: crls.current(c, issuer_id))
        if row is None:
            return None
        found = PublishedCRL(
            row.der, row.number, from_epoch(row.this_update), from_epoch(row.next_update), row.covers_epoch
        )
        self._latest[issuer_id] = found
        return found

    def _collect(
        self, c: Connection, issuer_id: int
    ) -> tuple[authorities.IssuerRow, keys.KeyRow, authorities.AuthorityRow, list[bytes]]:
        """One view of the database: the epoch it returns is the one its entries belong to.

        RFC 5280 §3.3: an expired certificate is left out only after it stood on one CRL issued beyond its end.
        """
        issuer = authorities.get_issuer(c, issuer_id)
        if issuer.state == "next":
            raise NotFound(f"generation {issuer.generation} of this authority has no certificate yet")
        latest = crls.current(c, issuer_id)
        ended_before = latest.this_update if latest else 0
        entries = [
            encode_crl_entry(
                row.serial, from_epoch(row.revoked_at), _REASONS[row.reason],
                from_epoch(row.invalidity_at) if row.invalidity_at is not None else None,
            )
            for row in inventory.revoked(c, issuer_id, ended_before)
        ]  # fmt: skip
        authority = authorities.get_authority(c, issuer.authority_id)
        return issuer, keys.get_key(c, issuer.key_id), authority, entries


_REASONS: Final = {reason.code: reason for reason in RevocationReason} | {None: RevocationReason.UNSPECIFIED}


def _state(c: Connection, issuer_id: int) -> tuple[int, int]:
    """The issuer's status epoch and the number of its current CRL (0: none)."""
    head = crls.head(c, issuer_id)
    return (head.status_epoch, head.number) if head else (authorities.get_issuer(c, issuer_id).status_epoch, 0)


def _publish(c: Connection, row: crls.CRLRow) -> None:
    crls.publish(c, row)
    crls.prune(c, row.issuer_id, KEPT)


def _serving(c: Connection) -> list[tuple[int, int]]:
    return [(row.id, row.status_epoch) for row in authorities.list_issuers(c) if row.state in ("active", "retiring")]
