"""Revocations that an administrator orders in Intune: fetched, done and answered by the worker."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict, NotFound, PkiconfError, Unavailable
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.intune import IntuneAccess, RevocationAnswer, RevocationRequest, RevocationResult
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.revoke import Revocations
from pkiconf.scep.intune.access import Accesses, IntuneServices
from pkiconf.scep.intune.service import MOST_REQUESTS
from pkiconf.steps import Step
from pkiconf.store import certificates, intune, jobs
from pkiconf.store.database import Connection
from pkiconf.store.jobs import JobRow
from pkiconf.store.scep_templates import find_place_of

POLL_JOB: Final = "scep.intune-revocations"
POLL_SECONDS: Final = 300
_WITHOUT_ACCESS_SECONDS: Final = 3600
_MOST_ROUNDS: Final = 20
_LARGEST_SERIAL: Final = 1 << 160

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntuneRevocations:
    parts: Parts
    revocations: Revocations
    services: IntuneServices
    access_of: Accesses

    def poll(self, job: JobRow) -> None:
        """Everything that waits in the queue of one template's tenant; then the job waits for its next time. Raises
        Unavailable where Intune could not be asked or answered: what was revoked stays so, and is answered later."""
        template_id = int(job.dedupe)
        access = self.access_of(template_id)
        if access is not None:
            self._drain(access)
        pause = POLL_SECONDS if access is not None else _WITHOUT_ACCESS_SECONDS
        again_at = to_epoch(self.parts.now()) + pause

        def write(c: Connection) -> None:
            jobs.finish(c, job)
            if find_place_of(c, template_id) is not None:
                jobs.queue(c, job.kind, job.dedupe, "{}", again_at)

        self.parts.db.write(Step.JOB_FINISH, write)

    def _drain(self, access: IntuneAccess) -> None:
        service = self.services.of(access)
        for _ in range(_MOST_ROUNDS):  # one that is handed out again and again must not keep the worker
            requests = service.download_revocations()
            if requests:
                service.upload_revocations([self.revoke(access, request) for request in requests])
            if len(requests) < MOST_REQUESTS:
                return

    def revoke(self, access: IntuneAccess, request: RevocationRequest) -> RevocationAnswer:
        """One certificate that this tenant's Intune was told of. What is revoked already is a success."""
        result, message = self._revoked(access, request)
        if result is not RevocationResult.NONE:
            log.warning("Intune's revocation of %.60r: %s", request.serial_number, message)
        return RevocationAnswer(request.context, result, message)

    def _revoked(self, access: IntuneAccess, request: RevocationRequest) -> tuple[RevocationResult, str]:
        number = parse_serial(request.serial_number)
        if number is None:
            return RevocationResult.PARAMETER_DATA_INVALID, "The serial number is not hexadecimal"
        certificate = self._find(access, number)
        if certificate is None:
            return RevocationResult.CERTIFICATE_NOT_FOUND, "Intune was told of no certificate with this serial"
        try:
            actor = Actor("intune", access.client_id, "revocation-queue")
            self.revocations.revoke(certificate, RevocationReason.UNSPECIFIED, actor)
        except NotFound as ex:
            return RevocationResult.CERTIFICATE_NOT_FOUND, ex.detail
        except Conflict as ex:
            if self._is_revoked(certificate):
                return RevocationResult.NONE, ""
            return RevocationResult.CONFLICT, ex.detail
        except Unavailable as ex:
            return RevocationResult.RETRYABLE, ex.detail
        except PkiconfError as ex:
            return RevocationResult.NON_RETRYABLE, ex.detail
        return RevocationResult.NONE, ""

    def _find(self, access: IntuneAccess, number: int) -> CertificateID | None:
        rows = self.parts.db.look(lambda c: intune.list_told(c, number))
        return next((row.id for row in rows if self._is_of(access, row)), None)

    def _is_of(self, access: IntuneAccess, row: intune.IntuneRow) -> bool:
        """Told to the same application, or to one of the same tenant by what is declared now: another tenant's Intune
        revokes nothing here."""
        if row.client == access.client_id:
            return True
        current = self.access_of(row.template_id)
        return current is not None and current.tenant_id == access.tenant_id

    def _is_revoked(self, certificate: CertificateID) -> bool:
        row = self.parts.db.look(lambda c: certificates.get_certificate(c, certificate))
        return row.status == CertificateStatus.REVOKED


def parse_serial(text: str) -> int | None:
    """Hexadecimal in any case, with leading zeros, or in groups; None for what is no serial number."""
    digits = text.strip().replace(":", "").replace(" ", "")
    try:
        number = int(digits, 16) if digits.isalnum() and digits.isascii() and len(digits) <= 64 else 0
    except ValueError:
        return None
    return number if 0 < number < _LARGEST_SERIAL else None
