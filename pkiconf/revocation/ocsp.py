"""OCSP answers (RFC 6960, 9654, 9919): a pure function of the request, the database and the time.

An answer is given again while the issuer's status epoch is the one that it was made at; else, while what the database
says of the certificate is the same; else one is taken that was signed ahead of time; else it is signed on the spot.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pkiconf.authority.service_certificates import OCSP, ServiceCertificate, ServiceCertificates
from pkiconf.clock import from_epoch, to_epoch
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
from pkiconf.errors import Malformed, SigningUnavailable, Unavailable, Unverified, WouldWait
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.durations import Duration
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.kept import Basis, KeptAnswers
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.spec.status import OCSPSpec
from pkiconf.store import authorities, ocsp_answers
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp, StatusEpochs
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
        self._specs: dict[int, tuple[int, OCSPSpec]] = {}
        self._kept: KeptAnswers[OCSPRequest, OCSPAnswer] = KeptAnswers()
        self._epochs = StatusEpochs(parts.db)
        self._complained: datetime | None = None

    def known(self, authority: str, request: bytes, now: datetime, *, wait: bool = True) -> OCSPAnswer | None:
        """An answer that was given before, if the issuer's status epoch says that it is still true; without `wait` only
        if that can be told without waiting for a server."""
        kept = self._kept.find((authority, request))
        if kept is None:
            return None
        try:
            epochs = self._epochs.current if wait else self._epochs.at_hand
            return kept.at(epochs(kept.basis.issuer_id), now)
        except Unavailable:
            return None  # the longer way tells why

    def answer(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer:
        """Never raises: what cannot be answered is an OCSP error (RFC 6960 §2.3).

        `authority` is the slug in the URL; its issuers of every generation are answered there. One request may ask
        about one issuer only, because the responder certificate that signs must come from that issuer's key.
        """
        return self.known(authority, request, now) or self._find_answer(authority, request, now)

    def at_once(self, authority: str, request: bytes, now: datetime) -> OCSPAnswer | None:
        """`answer`, where nothing has to be waited for: it is known, or the database is a file and only a signature is
        wanted, which was made before or is by a key that is quick."""
        known = self.known(authority, request, now, wait=False)
        if known is not None or self._parts.db.dialect != "sqlite":
            return known
        try:
            return self._find_answer(authority, request, now, wait=False)
        except WouldWait:
            return None

    def _find_answer(self, authority: str, request: bytes, now: datetime, *, wait: bool = True) -> OCSPAnswer:
        """Raises WouldWait, if not to `wait` while the one who signs is looked for or made, or signs slowly."""
        try:
            kept = self._kept.find((authority, request))
            parsed = kept.request if kept else parse_ocsp_request(request)
        except Malformed:
            return _error(ResponseStatus.MALFORMED_REQUEST, now)
        try:
            found = self._look_up(authority, parsed)
            if found is None:
                return _error(ResponseStatus.UNAUTHORIZED, now)
            responder = self._services.get(found[0].issuer_id, OCSP, _stamp(found[0]), wait=wait)
            if parsed.nonce is not None:  # nobody else can be given that answer
                return self._sign(parsed, found, responder, now, wait=wait)
            basis = _basis(found, responder, now)
            # Signing again what was just signed is spared, looking is not: the rows are those of this moment.
            same = kept.same(basis.facts, now) if kept else None
            answer = same or self._signed_ahead(parsed, found, responder, now)
            answer = answer or self._sign(parsed, found, responder, now, wait=wait)
        except WouldWait:
            raise
        except (SigningUnavailable, Unavailable) as ex:
            self._complain(authority, str(ex), now)
            return _error(ResponseStatus.TRY_LATER, now)
        except Exception as ex:
            self._complain(authority, "internal error", now, ex)
            return _error(ResponseStatus.INTERNAL_ERROR, now)
        # A serial number that was never issued may be at any moment, without a status epoch; and there are so many that
        # whoever asks about them would drive out the others.
        if answer.known:
            made = kept.made if kept and same else now
            self._kept.keep((authority, request), parsed, basis, answer, made, len(answer.der))
        return answer

    def choose(self, authority: str, requests: Sequence[bytes]) -> bytes | None:
        """The first that is about one certificate that was issued here; nothing is signed to find out. While that
        cannot be found out, the first: its answer says so. A URL asks about one (RFC 9919 §3.1.1), and each more
        would multiply what somebody's URL costs."""
        for request in requests:
            try:
                parsed = parse_ocsp_request(request)
                if len(parsed.cert_ids) > 1:
                    continue
                found = self._look_up(authority, parsed)
            except Malformed:
                continue
            except Exception:
                return request
            if found is not None and all(row.status is not None for row in found):
                return request
        return None

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

    def _signed_ahead(
        self, request: OCSPRequest, found: tuple[StatusRow, ...], responder: ServiceCertificate, now: datetime
    ) -> OCSPAnswer | None:
        """One that was signed in the background, if it answers this very question and is still true."""
        if len(found) != 1 or not self.spec(found[0].authority_id, found[0].generation).presign:
            return None
        status, cert_id = found[0], request.cert_ids[0]
        serial = serial_bytes(cert_id.serial_number) if status.status is not None else b""
        row = self._parts.db.look(lambda c: ocsp_answers.find(c, status.issuer_id, serial, cert_id.hash_algorithm))
        if (
            row is None
            or row.changed_epoch != status.changed_epoch
            or row.responder_serial != serial_bytes(responder.id.serial_number)
            or cert_id.der not in row.response_data  # a client may write its AlgorithmIdentifier another way
            or not row.produced_at <= to_epoch(now) < row.produced_at + (row.next_update - row.produced_at) * 3 // 4
        ):
            return None
        try:  # what it was signed with is not stored, and may be declared otherwise since
            verify_signature(responder.spki, responder.algorithm, row.response_data, row.signature)
        except Unverified:
            return None
        der = assemble_ocsp_response(row.response_data, responder.algorithm, row.signature, (responder.der,))
        return OCSPAnswer(der, from_epoch(row.produced_at), from_epoch(row.next_update), known=True)

    def _sign(
        self, request: OCSPRequest, found: tuple[StatusRow, ...], responder: ServiceCertificate, now: datetime,
        *, wait: bool,
    ) -> OCSPAnswer:  # fmt: skip
        """Raises WouldWait, if not to `wait` for a key that is not quick."""
        if not (wait or responder.quick):
            raise WouldWait
        validity = self.spec(found[0].authority_id, found[0].generation).validity
        statuses = [
            (cert_id, status_of(row.status, row.reason, row.revoked_at))
            for cert_id, row in zip(request.cert_ids, found, strict=True)
        ]
        data, next_update = encode_answer(responder, statuses, found[0].since, validity, now, request.nonce)
        der = assemble_ocsp_response(data, responder.algorithm, sign_answer(responder, data, now), (responder.der,))
        known = all(row.status is not None for row in found)
        return OCSPAnswer(der, now, None if request.nonce is not None else next_update, known)

    def spec(self, authority_id: int, generation: int) -> OCSPSpec:
        """What an authority whose row is at `generation` declares of OCSP."""
        known = self._specs.get(authority_id)
        if known is None or known[0] != generation:
            declared = self._parts.db.read(lambda c: authorities.get_authority(c, authority_id))
            known = self._specs[authority_id] = (generation, authority_spec(declared).ocsp)
        return known[1]

    def _complain(self, authority: str, what: str, now: datetime, ex: Exception | None = None) -> None:
        if self._complained is None or not self._complained <= now < self._complained + COMPLAIN_EVERY:
            self._complained = now
            log.error("OCSP of %r gives no answer: %s", authority[:80], what, exc_info=ex)


def _find(c: Connection, slug: str, cert_id: CertID) -> StatusRow | None:
    # A serial that no certificate can have finds none.
    serial = serial_bytes(cert_id.serial_number) if 0 < cert_id.serial_number < 1 << 160 else b""
    return find_status(c, slug, cert_id.hash_algorithm, cert_id.name_hash, cert_id.key_hash, serial)


def _basis(found: tuple[StatusRow, ...], responder: ServiceCertificate, now: datetime) -> Basis:
    facts = (*(row._replace(status_epoch=0) for row in found), responder.id)
    first = found[0]
    return Basis(first.issuer_id, facts, _stamp(first), responder.look_at)


def _stamp(row: StatusRow) -> Stamp:
    return Stamp(row.status_epoch, row.generation)


def status_of(status: str | None, reason: int | None, revoked_at: int | None) -> CertStatus:
    """A serial that was reserved but not yet signed answers good: its certificate may appear at any moment."""
    if status is None:
        return Unknown()
    if status in _GOOD:
        return Good()
    return Revoked(from_epoch(revoked_at or 0), _REASONS.get(reason or 0, RevocationReason.UNSPECIFIED))


def encode_answer(
    responder: ServiceCertificate,
    statuses: Sequence[tuple[CertID, CertStatus]],
    issuer_since: int,
    validity: Duration,
    now: datetime,
    nonce: bytes | None = None,
) -> tuple[bytes, datetime]:
    """ResponseData, and its nextUpdate."""
    # Nothing was known before the issuer existed, however slow the clients' clocks are.
    this_update = max(now - SKEW, min(now, from_epoch(issuer_since)))
    # RFC 9919 §4: no answer outlives the certificate that signed it.
    next_update = min(validity.after(now), responder.not_after)
    singles = [SingleResponse(cert_id, status, this_update, next_update) for cert_id, status in statuses]
    return encode_response_data(_key_hash(responder.spki), now, singles, nonce), next_update


def sign_answer(responder: ServiceCertificate, data: bytes, now: datetime) -> bytes:
    """Raises SigningUnavailable, and Unverified for a signature that does not hold."""
    signature = responder.signer.sign(SigningOrder(_NO_ORDER, Kind.OCSP, data, responder.algorithm, now))
    verify_signature(responder.spki, responder.algorithm, data, signature)
    return signature


@functools.lru_cache(maxsize=256)
def _key_hash(spki: bytes) -> bytes:
    return key_identifier(spki)


def _error(status: ResponseStatus, now: datetime) -> OCSPAnswer:
    return OCSPAnswer(error_response(status), now, None)
