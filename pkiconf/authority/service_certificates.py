"""Certificates that an authority issues to its own services, so that its key signs only certificates and CRLs.

Each has a key of its own, is renewed at two thirds of its life, and at once after it was revoked or has expired.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiconf.authority.issuers import make_key
from pkiconf.authority.purposes import OCSP, PURPOSES, SCEP_RA, TSA, get_purpose
from pkiconf.authority.system_templates import ensure_system_template
from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import parse_name
from pkiconf.errors import Conflict, PkiconfError, SigningUnavailable, WouldWait
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.actor import SYSTEM
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.keys import SignatureAlgorithm, get_key_algorithm, get_signature_algorithm
from pkiconf.model.names import Attribute, Name
from pkiconf.model.request import Issued, Rejected, Wanted
from pkiconf.policy.authority import service_template
from pkiconf.signing.signer import Signer
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, keys, leases, service_certificates
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp

__all__ = ["OCSP", "ORIGIN", "SCEP_RA", "TSA", "ServiceCertificate", "ServiceCertificates", "ServiceOrigin"]

ORIGIN: Final = "service"

LOOK_EVERY: Final = timedelta(minutes=1)
"""How often an ageing certificate is compared with what the worker may have made meanwhile."""

PAUSE: Final = timedelta(seconds=30)
"""After one could not be made it is not tried again for so long: requests from outside ask for it."""

RENEWING: Final = 60
"""Seconds for which no other worker renews what one has begun to renew."""

log = logging.getLogger(__name__)

_LONGEST_NAME: Final = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True, slots=True)
class ServiceCertificate:
    """A service's key and certificate. `chain` is what a client needs besides to build the path, without the root;
    `stamp` the issuer's when it was found good; from `look_at` on there may be a newer one; `quick` is the key's."""

    id: CertificateID
    der: bytes
    chain: tuple[bytes, ...]
    spki: bytes
    signer: Signer
    algorithm: SignatureAlgorithm
    renew_at: datetime
    not_after: datetime
    look_at: datetime
    stamp: Stamp
    quick: bool


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
        self._failed: dict[tuple[int, str], tuple[datetime, Stamp, PkiconfError]] = {}
        self._making = threading.Lock()
        self._name = parts.entropy.token(8).hex()

    def get(self, issuer_id: int, purpose: str, stamp: Stamp, *, wait: bool = True) -> ServiceCertificate:
        """The one to sign with, given the issuer's stamp as just read.

        It is looked at again whenever a certificate of this issuer was revoked, for it may have been this one, or the
        authority was declared anew, perhaps with another hash.
        Raises SigningUnavailable when there is none and none can be made now; without `wait`, WouldWait: whoever signs
        with it in a main loop looks before whether it is `quick`.
        """
        known, now = self._known.get((issuer_id, purpose)), self._parts.now()
        if known is not None and known.stamp == stamp and now < known.look_at:
            return known
        if not wait:
            raise WouldWait
        failed = self._failed.get((issuer_id, purpose))
        if failed is not None and failed[1] == stamp and failed[0] <= now < failed[0] + PAUSE:
            raise failed[2].anew()
        try:
            found = self.ensure(issuer_id, purpose)
        except PkiconfError as ex:
            self._failed[issuer_id, purpose] = (now, stamp, ex.anew())
            raise
        self._failed.pop((issuer_id, purpose), None)
        return found

    def ensure(self, issuer_id: int, purpose: str) -> ServiceCertificate:
        """A good one, made if there is none; a good but ageing one is renewed by `renew_due`."""
        with self._making:
            found = self._find(issuer_id, purpose) or self._make(issuer_id, purpose)
            self._known[issuer_id, purpose] = found
            return found

    def ensure_wanted(self, issuer_id: int) -> None:
        """Those that the declaration asks for, so that no client is kept waiting for the first."""
        for purpose in self._parts.db.read(lambda c: _wanted(c, authorities.get_issuer(c, issuer_id))):
            self.ensure(issuer_id, purpose)

    def renew_due(self) -> int:
        """Make the next certificate for every wanted service whose present one has lived two thirds, or that has none;
        how many were made.

        One that cannot be made does not keep the others from theirs: its error is raised at the end.
        """
        made, failed = 0, None
        for issuer_id, purpose, ends in self._parts.db.read(_wanted_services):
            try:
                made += self._renew(issuer_id, purpose, ends)
            except PkiconfError as ex:
                failed = ex
        try:
            if failed is not None:
                raise failed
            return made
        finally:
            del failed  # with it the exception would hold itself

    def _renew(self, issuer_id: int, purpose: str, issuer_ends: datetime) -> bool:
        now = self._parts.now()
        if issuer_ends <= now:
            return False  # nothing below it can be valid any more
        with self._making:
            if not self._is_due(issuer_id, purpose, issuer_ends):
                return False
            # Of all workers, on all hosts, one renews it: whoever had the lease before may have done so.
            name, at = f"service-certificate/{issuer_id}/{purpose}", to_epoch(now)
            with leases.held(self._parts.db, name, self._name, at, RENEWING) as ours:
                if not ours or not self._is_due(issuer_id, purpose, issuer_ends):
                    return False
                self._known[issuer_id, purpose] = self._make(issuer_id, purpose)
                return True

    def _is_due(self, issuer_id: int, purpose: str, issuer_ends: datetime) -> bool:
        found = self._find(issuer_id, purpose)
        # One that lasts as long as its issuer cannot be followed by a longer one.
        return found is None or (self._parts.now() >= found.renew_at and found.not_after < issuer_ends)

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
        for row in sorted(rows, key=lambda row: (row.until_at, row.id), reverse=True):
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
        _, authority, _ = self._parts.db.read(lambda c: _rows(c, row.issuer_id))
        signer = self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)
        wish = authority_spec(authority).service_certificates.signature_hash
        algorithm = get_key_algorithm(key.algorithm)
        not_after = from_epoch(row.until_at)
        renew_at = not_after - timedelta(seconds=(row.until_at - row.from_at) / 3)
        fitting = wish if any(a.hash == wish for a in signer.algorithms) else None
        return ServiceCertificate(
            id=identity,
            der=outcome.der,
            chain=outcome.chain,
            spki=key.spki,
            signer=signer,
            algorithm=get_signature_algorithm(algorithm, fitting),
            renew_at=renew_at,
            not_after=not_after,
            look_at=min(not_after, max(renew_at, self._parts.now() + LOOK_EVERY)),
            stamp=Stamp(epoch, authority.generation),
            quick=algorithm.quick,
        )

    def _make(self, issuer_id: int, purpose: str) -> ServiceCertificate:
        issuer, authority, ends = self._parts.db.read(lambda c: _rows(c, issuer_id))
        if ends <= self._parts.now():
            # Anybody can ask a service of an ended issuer: each question would leave a key behind.
            raise SigningUnavailable(f"generation {issuer.generation} of authority {authority.name!r} has ended")
        spec = authority_spec(authority)
        new = make_key(self._parts, get_purpose(purpose).key(spec))
        template = service_template(purpose, spec)
        now = to_epoch(self._parts.now())

        def prepare(c: Connection) -> tuple[int, int, int]:
            template_id = ensure_system_template(c, authority.id, template, now)
            key_id = new.record(c, now)
            row_id = service_certificates.add_service_certificate(
                c, issuer_id=issuer_id, purpose=purpose, key_id=key_id, from_at=now, until_at=now
            )
            return template_id, key_id, row_id

        template_id, key_id, row_id = self._parts.db.write(Step.SERVICE_CERTIFICATE, prepare)
        subject = _subject(parse_name(issuer.subject), authority.name, purpose)
        wanted = Wanted(subject=subject, sans=(), spki=new.spki, key=parse_public_key(new.spki))
        outcome = self._pipeline.issue(
            IssuanceOrder(
                issuer_id, template_id, wanted, ORIGIN, str(row_id), f"authority/{authority.name}", SYSTEM,
                beyond_service=True,
            )
        )  # fmt: skip
        if isinstance(outcome, Rejected):
            self._parts.db.write(Step.SERVICE_CERTIFICATE, lambda c: _drop(c, row_id, key_id))
            raise SigningUnavailable(
                f"authority {authority.name!r} cannot issue its {purpose} certificate: {outcome.reason}"
            )
        if not isinstance(outcome, Issued):
            raise SigningUnavailable(f"the key of authority {authority.name!r} gives no {purpose} certificate now")
        found = self._find(issuer_id, purpose)
        # Another process may have made one too: whichever is the newest serves all.
        if found is None or (found.id != outcome.id and self._parts.now() >= found.renew_at):
            raise SigningUnavailable(
                f"the {purpose} certificate of authority {authority.name!r} is not valid now", "Check the clock"
            )
        return found


def _subject(issuer: Name, authority: str, purpose: str) -> Name:
    """Beside the authority in the directory, so that name constraints which allow it allow its services."""
    name = (issuer.values(COMMON_NAME) or (authority,))[0]
    common_name = f"{name} {get_purpose(purpose).common_name}"[:_LONGEST_NAME]
    others = tuple(rdn for rdn in issuer.rdns if all(attribute.oid != COMMON_NAME for attribute in rdn))
    return Name((*others, (Attribute(COMMON_NAME, common_name),)))


def _rows(c: Connection, issuer_id: int) -> tuple[authorities.IssuerRow, authorities.AuthorityRow, datetime]:
    """The last is when the issuer's own certificate ends."""
    issuer = authorities.get_issuer(c, issuer_id)
    authority = authorities.get_authority(c, issuer.authority_id)
    own = authorities.find_ca_certificate(c, issuer_id)
    if own is None:
        raise Conflict(f"generation {issuer.generation} of authority {authority.name!r} has no certificate yet")
    return issuer, authority, from_epoch(own.not_after)


def _drop(c: Connection, row_id: int, key_id: int) -> None:
    """Nothing was signed for it: neither the row nor its key is of use."""
    service_certificates.delete_service_certificate(c, row_id)
    keys.delete_key(c, key_id)


def _wanted_services(c: Connection) -> list[tuple[int, str, datetime]]:
    """Issuers, the purposes that each is to have a certificate for, and the ends of the issuers' own."""
    found = []
    for issuer in authorities.list_issuers(c):
        own = authorities.find_ca_certificate(c, issuer.id) if issuer.state in ("active", "retiring") else None
        if own is not None:
            found += [(issuer.id, purpose, from_epoch(own.not_after)) for purpose in _wanted(c, issuer)]
    return found


def _wanted(c: Connection, issuer: authorities.IssuerRow) -> list[str]:
    """An old generation answers about what it signed, and does nothing else any more."""
    if issuer.state == "retiring":
        return [OCSP]
    row = authorities.get_authority(c, issuer.authority_id)
    spec = authority_spec(row)
    return [purpose.name for purpose in PURPOSES.values() if purpose.is_wanted(c, row, spec)]
