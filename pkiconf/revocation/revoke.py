"""Revoke, hold, release: one transaction each, true in every process as soon as it returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.revocation import check_release, check_revocation
from pkiconf.policy.serials import serial_bytes
from pkiconf.steps import Step
from pkiconf.store import certificates, jobs
from pkiconf.store.database import Connection

CRL_JOB: Final = "crl.make"


@dataclass(frozen=True, slots=True)
class Revocations:
    parts: Parts

    def revoke(
        self,
        certificate: CertificateID,
        reason: RevocationReason,
        actor: Actor,
        invalidity_date: datetime | None = None,
    ) -> bool:
        """Revoke for good, or with CERTIFICATE_HOLD until it is released. False if it already was, for this reason.

        Raises NotFound for a serial this issuer never issued, Conflict for a state that does not allow it, Refused
        for a reason or date that may not be given.
        """
        now = self.parts.now()
        address = _address(certificate)
        check_may(actor, Action.CERTIFICATE_REVOKE, address)
        hold = reason is RevocationReason.CERTIFICATE_HOLD
        status = CertificateStatus.HELD if hold else CertificateStatus.REVOKED

        def write(c: Connection) -> bool:
            row = certificates.get_certificate(c, certificate)
            present = RevocationReason.from_code(row.reason) if row.reason is not None else None
            if row.status == status and present is reason:
                return False
            check_revocation(CertificateStatus(row.status), present, reason, invalidity_date, now)
            # A reason corrected later does not change since when the certificate is revoked.
            at = row.revoked_at if row.status == CertificateStatus.REVOKED and row.revoked_at else to_epoch(now)
            epoch = certificates.revoke(
                c, row.issuer_id, row.serial, status=status, reason=reason.code, at=at,
                invalidity_at=to_epoch(invalidity_date) if invalidity_date else None,
            )  # fmt: skip
            details = _details(certificate) | {"reason": reason.text, "epoch": epoch}
            self.parts.record(c, actor, "certificate.hold" if hold else "certificate.revoke", address, details)
            _queue_crl(c, row.issuer_id, to_epoch(now))
            return True

        changed = self.parts.db.write(Step.CERTIFICATE_REVOKE, write)
        self.parts.wake()
        return changed

    def release(self, certificate: CertificateID, actor: Actor) -> None:
        """Make a held certificate good again. Raises NotFound, and Conflict for one that is not held."""
        address = _address(certificate)
        check_may(actor, Action.CERTIFICATE_RELEASE, address)
        now = to_epoch(self.parts.now())

        def write(c: Connection) -> None:
            row = certificates.get_certificate(c, certificate)
            check_release(CertificateStatus(row.status))
            epoch = certificates.revoke(
                c, row.issuer_id, row.serial, status=CertificateStatus.GOOD, reason=None, at=None, invalidity_at=None
            )
            self.parts.record(c, actor, "certificate.release", address, _details(certificate) | {"epoch": epoch})
            _queue_crl(c, row.issuer_id, now)

        self.parts.db.write(Step.CERTIFICATE_RELEASE, write)
        self.parts.wake()


def _queue_crl(c: Connection, issuer_id: int, now: int) -> None:
    """The next CRL is made soon, even if nobody fetches it."""
    jobs.queue(c, CRL_JOB, str(issuer_id), "{}", now)


def _address(certificate: CertificateID) -> str:
    return f"certificate/{certificate.issuer_id}/{serial_bytes(certificate.serial_number).hex()}"


def _details(certificate: CertificateID) -> dict[str, object]:
    return {"issuer": certificate.issuer_id, "serial": serial_bytes(certificate.serial_number).hex()}
