"""Certificates that an authority issues to its own services, so that its key signs only certificates and CRLs.

Each has a key of its own, is renewed at two thirds of its life, and at once after it was revoked or has expired.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiconf.authority.issuers import make_key
from pkiconf.authority.system_templates import ensure_system_template
from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import encode_name, parse_name
from pkiconf.errors import Conflict, SigningUnavailable
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.actor import SYSTEM
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.keys import SignatureAlgorithm, get_key_algorithm, get_signature_algorithm
from pkiconf.model.names import Attribute, Name
from pkiconf.model.request import Issued, Wanted
from pkiconf.policy.authority import service_template
from pkiconf.signing.signer import Signer
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, keys, service_certificates
from pkiconf.store.database import Connection

ORIGIN: Final = "service"
OCSP: Final = "ocsp"

_COMMON_NAMES: Final = {OCSP: "OCSP Responder"}


@dataclass(frozen=True, slots=True)
class ServiceCertificate:
    """A service's key and certificate. `epoch` is the issuer's status epoch under which it was found good."""

    id: CertificateID
    der: bytes
    spki: bytes
    signer: Signer
    algorithm: SignatureAlgorithm
    renew_at: datetime
    not_after: datetime
    epoch: int


@dataclass(frozen=True, slots=True)
class ServiceOrigin:
    parts: Parts

    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        row = certificates.get_certificate(c, certificate)
        service_certificates.complete_service_certificate(c, int(origin_id), row.serial, row.not_before, row.not_after)

    def given_back(self, c: Connection, origin_id: str) -> None:
        """A new one is asked for when it is needed."""


class ServiceCertificates:
    def __init__(self, parts: Parts, pipeline: Pipeline) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._known: dict[tuple[int, str], ServiceCertificate] = {}
        self._making = threading.Lock()

    def get(self, issuer_id: int, purpose: str, epoch: int) -> ServiceCertificate:
        """The one to sign with, given the issuer's status epoch as just read.

        It is looked at again whenever a certificate of this issuer was revoked, for it may have been this one.
        Raises SigningUnavailable when there is none and none can be made now.
        """
        known = self._known.get((issuer_id, purpose))
        if known is not None and known.epoch == epoch and self._parts.now() < known.not_after:
            return known
        return self.ensure(issuer_id, purpose)

    def ensure(self, issuer_id: int, purpose: str) -> ServiceCertificate:
        """A good one, made if there is none; a good but ageing one is renewed by `renew_due`."""
        with self._making:
            found = self._find(issuer_id, purpose) or self._make(issuer_id, purpose)
            self._known[issuer_id, purpose] = found
            return found

    def renew_due(self) -> int:
        """Make the next certificate for every service whose present one has lived two thirds; how many were made."""
        now = self._parts.now()
        made = 0
        for issuer_id in self._parts.db.read(_serving_issuers):
            found = self._find(issuer_id, OCSP)
            if found is None or found.renew_at <= now:
                self._known[issuer_id, OCSP] = self._make(issuer_id, OCSP)
                made += 1
        return made

    def _find(self, issuer_id: int, purpose: str) -> ServiceCertificate | None:
        """The newest complete one that is valid now and good."""
        now = self._parts.now()
        rows = self._parts.db.read(lambda c: list(self._candidates(c, issuer_id, purpose, to_epoch(now))))
        return self._open(*rows[0]) if rows else None

    def _candidates(
        self, c: Connection, issuer_id: int, purpose: str, now: int
    ) -> Iterator[tuple[service_certificates.ServiceCertificateRow, keys.KeyRow, int]]:
        epoch = authorities.get_issuer(c, issuer_id).status_epoch
        rows = service_certificates.list_service_certificates(c, issuer_id)
        for row in sorted(rows, key=lambda row: row.until_at, reverse=True):
            if row.purpose != purpose or row.serial is None or not row.from_at <= now < row.until_at:
                continue
            status = certificates.status(c, issuer_id, row.serial)
            if status is not None and status.status == CertificateStatus.GOOD:
                yield row, keys.get_key(c, row.key_id), epoch

    def _open(
        self, row: service_certificates.ServiceCertificateRow, key: keys.KeyRow, epoch: int
    ) -> ServiceCertificate:
        identity = CertificateID(row.issuer_id, int.from_bytes(row.serial or b"", "big"))
        outcome = self._pipeline.intents.resume(identity)
        if not isinstance(outcome, Issued):
            raise Conflict(f"service certificate {row.id} is recorded but not complete")
        spec = authority_spec(
            self._parts.db.read(
                lambda c: authorities.get_authority(c, authorities.get_issuer(c, row.issuer_id).authority_id)
            )
        )
        signer = self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)
        life = row.until_at - row.from_at
        wish = spec.service_certificates.signature_hash
        algorithm = get_key_algorithm(key.algorithm)
        fitting = wish if any(a.hash == wish for a in signer.algorithms) else None
        return ServiceCertificate(
            id=identity,
            der=outcome.der,
            spki=key.spki,
            signer=signer,
            algorithm=get_signature_algorithm(algorithm, fitting),
            renew_at=from_epoch(row.until_at) - timedelta(seconds=life / 3),
            not_after=from_epoch(row.until_at),
            epoch=epoch,
        )

    def _make(self, issuer_id: int, purpose: str) -> ServiceCertificate:
        issuer, authority = self._parts.db.read(lambda c: _rows(c, issuer_id))
        spec = authority_spec(authority)
        new = make_key(self._parts, spec.service_certificates.key.algorithm)
        template = service_template(purpose, spec)
        now = to_epoch(self._parts.now())

        def prepare(c: Connection) -> tuple[int, int]:
            template_id = ensure_system_template(c, authority.id, template, now)
            key_id = new.record(c, now)
            row_id = service_certificates.add_service_certificate(
                c, issuer_id=issuer_id, purpose=purpose, key_id=key_id, from_at=now, until_at=now
            )
            return template_id, row_id

        template_id, row_id = self._parts.db.write(Step.SERVICE_CERTIFICATE, prepare)
        common_name = (parse_name(issuer.subject).values(COMMON_NAME) or (authority.name,))[0]
        subject = Name(((Attribute(COMMON_NAME, f"{common_name} {_COMMON_NAMES[purpose]}"[:64]),),))
        wanted = Wanted(
            subject=parse_name(encode_name(subject)), sans=(), spki=new.spki, key=parse_public_key(new.spki)
        )
        outcome = self._pipeline.issue(
            IssuanceOrder(
                issuer_id, template_id, wanted, ORIGIN, str(row_id), f"authority/{authority.name}", SYSTEM
            )
        )  # fmt: skip
        if not isinstance(outcome, Issued):
            raise SigningUnavailable(f"authority {authority.name!r} cannot issue its {purpose} certificate: {outcome}")
        found = self._find(issuer_id, purpose)
        if found is None or found.id != outcome.id:
            raise SigningUnavailable(
                f"the {purpose} certificate of authority {authority.name!r} is not valid now", "Check the clock"
            )
        return found


def _rows(c: Connection, issuer_id: int) -> tuple[authorities.IssuerRow, authorities.AuthorityRow]:
    issuer = authorities.get_issuer(c, issuer_id)
    return issuer, authorities.get_authority(c, issuer.authority_id)


def _serving_issuers(c: Connection) -> tuple[int, ...]:
    return tuple(row.id for row in authorities.list_issuers(c) if row.state in ("active", "retiring"))
