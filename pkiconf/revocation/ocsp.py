"""OCSP answers (RFC 6960, 9654, 9919): a pure function of the request, the database and the time."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pkiconf.authority.service_certificates import OCSP, ServiceCertificate, ServiceCertificates
from pkiconf.clock import from_epoch
from pkiconf.der.keys import key_identifier
from pkiconf.der.ocsp import (
    CertID,
    CertStatus,
    Good,
    OCSPRequest,
    ResponseStatus,
    Revoked,
    SingleResponse,
    Unknown,
    assemble_ocsp_response,
    encode_response_data,
    error_response,
    parse_ocsp_request,
)
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Malformed, SigningUnavailable, Unavailable
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.durations import Duration
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.kept import KeptAnswers
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.store import authorities
from pkiconf.store.database import Connection
from pkiconf.store.status import StatusRow, find_status

SKEW: Final = timedelta(minutes=5)
"""thisUpdate lies this much in the past, for clients whose clocks are slow."""

COMPLAIN_EVERY: Final = timedelta(seconds=10)
"""How often the log is told that no answer can be given: clients ask a thousand times a second."""

log = logging.getLogger(__name__)

_NO_ORDER: Final = UUID(int=0)  # local service keys ignore an order's id
_REASONS: Final = {reason.code: reason for reason in RevocationReason}
_GOOD: Final = frozenset({CertificateStatus.GOOD.value, CertificateStatus.RESERVED.value})


@dataclass(frozen=True, slots=True)
class OCSPAnswer:
    """`expires` is None for an answer that must not be cached: an error, or one made for a nonce. `known`: every
    certificate asked about was issued here."""

    der: bytes
    produced_at: datetime
    expires: datetime | None
    known: bool = False


class OCSPResponder:
    def __init__(self, parts: Parts, services: ServiceCertificates) -> None:
        self._parts = parts
        self._services = services
        self._validities: dict[int, tuple[int, Duration]] = {}
        self._kept: KeptAnswers[OCSPRequest, OCSPAnswer] = KeptAnswers()
        self._complained: datetime | None = None

    def answer(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer:
        """Never raises: what cannot be answered is an OCSP error (RFC 6960 §2.3).

        `authority` is the slug in the URL; its issuers of every generation are answered there. One request may ask
        about one issuer only, because the responder certificate that signs must come from that issuer's key.
        """
        try:
            kept = self._kept.find((authority, request))
            parsed = kept.request if kept else parse_ocsp_request(request)
        except Malformed:
            return _error(ResponseStatus.MALFORMED_REQUEST, now)
        try:
            found = self._look_up(authority, parsed)
            if found is None:
                return _error(ResponseStatus.UNAUTHORIZED, now)
            responder = self._services.get(found[0].issuer_id, OCSP, found[0].status_epoch)
            # Signing again what was just signed is spared, looking is not: the rows are those of this moment.
            basis = (*found, responder.id)
            if kept and (same := kept.same(basis, now)):
                return same
            answer = self._sign(parsed, found, responder, now)
        except (SigningUnavailable, Unavailable) as ex:
            self._complain(authority, str(ex), now)
            return _error(ResponseStatus.TRY_LATER, now)
        except Exception as ex:
            self._complain(authority, "internal error", now, ex)
            return _error(ResponseStatus.INTERNAL_ERROR, now)
        if parsed.nonce is None:
            self._kept.keep((authority, request), parsed, basis, answer, now)
        return answer

    def _look_up(self, slug: str, request: OCSPRequest) -> tuple[StatusRow, ...] | None:
        """One row for each CertID, all from one view of the database. None when the request is about an issuer that
        is not this authority's, or about several."""
        cert_ids = request.cert_ids
        if "\0" in slug:  # PostgreSQL takes none in a text, not even to look for it
            return None
        if len(cert_ids) == 1:
            row = self._parts.db.look(lambda c: _find(c, slug, cert_ids[0]))
            return None if row is None else (row,)
        rows = self._parts.db.read(lambda c: [_find(c, slug, cert_id) for cert_id in cert_ids])
        found = tuple(row for row in rows if row is not None)
        same_issuer = len({row.issuer_id for row in found}) == 1
        return found if same_issuer and len(found) == len(cert_ids) else None

    def _sign(
        self, request: OCSPRequest, found: tuple[StatusRow, ...], responder: ServiceCertificate, now: datetime
    ) -> OCSPAnswer:
        # Nothing was known before the issuer existed, however slow the clients' clocks are.
        this_update = max(now - SKEW, min(now, from_epoch(found[0].since)))
        # RFC 9919 §4: no answer outlives the certificate that signed it.
        next_update = min(self._validity(found[0]).after(now), responder.not_after)
        singles = [
            SingleResponse(cert_id, _status(row), this_update, next_update)
            for cert_id, row in zip(request.cert_ids, found, strict=True)
        ]
        data = encode_response_data(_key_hash(responder.spki), now, singles, request.nonce)
        order = SigningOrder(_NO_ORDER, Kind.OCSP, data, responder.algorithm, now)
        signature = responder.signer.sign(order)
        verify_signature(responder.spki, responder.algorithm, data, signature)
        der = assemble_ocsp_response(data, responder.algorithm, signature, (responder.der,))
        known = all(row.status is not None for row in found)
        return OCSPAnswer(der, now, None if request.nonce is not None else next_update, known)

    def _validity(self, row: StatusRow) -> Duration:
        known = self._validities.get(row.authority_id)
        if known is None or known[0] != row.generation:
            declared = self._parts.db.read(lambda c: authorities.get_authority(c, row.authority_id))
            known = self._validities[row.authority_id] = (row.generation, authority_spec(declared).ocsp.validity)
        return known[1]

    def _complain(self, authority: str, what: str, now: datetime, ex: Exception | None = None) -> None:
        if self._complained is None or not self._complained <= now < self._complained + COMPLAIN_EVERY:
            self._complained = now
            log.error("OCSP of %r gives no answer: %s", authority[:80], what, exc_info=ex)


def _find(c: Connection, slug: str, cert_id: CertID) -> StatusRow | None:
    # A serial that no certificate can have finds none.
    serial = serial_bytes(cert_id.serial_number) if 0 < cert_id.serial_number < 1 << 160 else b""
    return find_status(c, slug, cert_id.hash_algorithm, cert_id.name_hash, cert_id.key_hash, serial)


def _status(row: StatusRow) -> CertStatus:
    """A serial that was reserved but not yet signed answers good: its certificate may appear at any moment."""
    if row.status is None:
        return Unknown()
    if row.status in _GOOD:
        return Good()
    return Revoked(from_epoch(row.revoked_at or 0), _REASONS.get(row.reason or 0, RevocationReason.UNSPECIFIED))


@functools.lru_cache(maxsize=256)
def _key_hash(spki: bytes) -> bytes:
    return key_identifier(spki)


def _error(status: ResponseStatus, now: datetime) -> OCSPAnswer:
    return OCSPAnswer(error_response(status), now, None)
