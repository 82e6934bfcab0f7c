"""OCSP answers (RFC 6960, 9654, 9919): a pure function of the request, the database and the time."""

from __future__ import annotations

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
from pkiconf.errors import Malformed, PkiconfError, SigningUnavailable, Unavailable
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.durations import Duration
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.serials import serial_bytes
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.store import authorities, certificates
from pkiconf.store.database import Connection

SKEW: Final = timedelta(minutes=5)
"""thisUpdate lies this much in the past, for clients whose clocks are slow."""

_NO_ORDER: Final = UUID(int=0)  # local service keys ignore an order's id
_REASONS: Final = {reason.code: reason for reason in RevocationReason}


@dataclass(frozen=True, slots=True)
class OCSPAnswer:
    """`expires` is None for an answer that must not be cached: an error, or one made for a nonce."""

    der: bytes
    produced_at: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database said about one request in one view. `epoch` was read together with the statuses."""

    issuer_id: int
    epoch: int
    validity: Duration
    statuses: tuple[CertStatus, ...]


class OCSPResponder:
    def __init__(self, parts: Parts, services: ServiceCertificates) -> None:
        self._parts = parts
        self._services = services
        self._facts: dict[int, tuple[int, Duration]] = {}

    def answer(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer:
        """Never raises for anything a client can send: what cannot be answered is an OCSP error (RFC 6960 §2.3).

        `authority` is the slug in the URL; its issuers of every generation are answered there. One request may ask
        about one issuer only, because the responder certificate that signs must come from that issuer's key.
        """
        try:
            parsed = parse_ocsp_request(request)
        except Malformed:
            return _error(ResponseStatus.MALFORMED_REQUEST, now)
        try:
            found = self._parts.db.read(lambda c: self._look_up(c, authority, parsed))
            if found is None:
                return _error(ResponseStatus.UNAUTHORIZED, now)
            responder = self._services.get(found.issuer_id, OCSP, found.epoch)
            return self._sign(parsed, found, responder, now)
        except (SigningUnavailable, Unavailable):
            return _error(ResponseStatus.TRY_LATER, now)
        except PkiconfError:
            return _error(ResponseStatus.INTERNAL_ERROR, now)

    def _look_up(self, c: Connection, slug: str, request: OCSPRequest) -> _Found | None:
        """None when the request is about an issuer that is not this authority's, or about several."""
        issuers = {
            authorities.find_issuer_by_hash(c, cert_id.hash_algorithm, cert_id.name_hash, cert_id.key_hash)
            for cert_id in request.cert_ids
        }
        if len(issuers) != 1 or None in issuers:
            return None
        (issuer,) = issuers
        assert issuer is not None
        authority = authorities.get_authority(c, issuer.authority_id)
        if authority.slug != slug:
            return None
        statuses = tuple(self._status(c, issuer.id, cert_id) for cert_id in request.cert_ids)
        return _Found(issuer.id, issuer.status_epoch, self._validity(authority), statuses)

    def _validity(self, authority: authorities.AuthorityRow) -> Duration:
        known = self._facts.get(authority.id)
        if known is None or known[0] != authority.generation:
            known = self._facts[authority.id] = (authority.generation, authority_spec(authority).ocsp.validity)
        return known[1]

    def _status(self, c: Connection, issuer_id: int, cert_id: CertID) -> CertStatus:
        """A serial that was reserved but not yet signed answers good: its certificate may appear at any moment."""
        if not 0 < cert_id.serial_number < 1 << 160:
            return Unknown()
        row = certificates.status(c, issuer_id, serial_bytes(cert_id.serial_number))
        if row is None:
            return Unknown()
        if row.status in (CertificateStatus.GOOD, CertificateStatus.RESERVED):
            return Good()
        return Revoked(from_epoch(row.revoked_at or 0), _REASONS.get(row.reason or 0, RevocationReason.UNSPECIFIED))

    def _sign(self, request: OCSPRequest, found: _Found, responder: ServiceCertificate, now: datetime) -> OCSPAnswer:
        this_update = now - SKEW
        # RFC 9919 §4: no answer outlives the certificate that signed it.
        next_update = min(found.validity.after(now), responder.not_after)
        singles = [
            SingleResponse(cert_id, status, this_update, next_update)
            for cert_id, status in zip(request.cert_ids, found.statuses, strict=True)
        ]
        data = encode_response_data(key_identifier(responder.spki), now, singles, request.nonce)
        order = SigningOrder(_NO_ORDER, Kind.OCSP, data, responder.algorithm, now)
        signature = responder.signer.sign(order)
        der = assemble_ocsp_response(data, responder.algorithm, signature, (responder.der,))
        return OCSPAnswer(der, now, None if request.nonce is not None else next_update)


def _error(status: ResponseStatus, now: datetime) -> OCSPAnswer:
    return OCSPAnswer(error_response(status), now, None)
