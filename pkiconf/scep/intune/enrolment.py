"""The order of things: Intune says yes, the certificate is issued, Intune is told, the device gets it.

Whatever goes wrong in between, nobody gets the certificate and it is revoked. What the process itself did not live to
see is done by the worker: from the reservation on there is a job that withdraws what was not told in time.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.names import name_text, parse_name
from pkiconf.errors import Conflict, PkiconfError, Refused, Unavailable
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import template_address
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.intune import NO_CHALLENGES, REFUSALS, HResult, IntuneAccess, IssuedNotice, Verdict
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.scep import (
    NOT_PROVED,
    FailInfo,
    NotProved,
    Proof,
    ProofMethod,
    RefusedByIntune,
    SCEPFailure,
    SCEPRequest,
)
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.revoke import Revocations
from pkiconf.scep.intune.access import Accesses, IntuneServices
from pkiconf.scep.intune.revocations import POLL_JOB, POLL_SECONDS
from pkiconf.scep.terms import SCEPTerms
from pkiconf.spec.scep import LONGEST_PASSPHRASE, SCEPSpec
from pkiconf.steps import Step
from pkiconf.store import intune, jobs
from pkiconf.store.database import Connection
from pkiconf.store.intune import IntuneRow, IntuneState

FOLLOWUP: Final = "intune"
"""`Proof.after_issue`."""

SETTLE_JOB: Final = "scep.intune-settle"
SETTLE_SECONDS: Final = 600
"""How long after its reservation a certificate that Intune was not told of is withdrawn. Longer than signing, an
interrupted signature's lease and all calls to Intune take together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntuneEnrolment:
    parts: Parts
    revocations: Revocations
    services: IntuneServices
    access_of: Accesses

    def check(self, request: SCEPRequest, terms: SCEPTerms) -> Proof | None:
        """Ask Intune about a request; None where its challenge is not one of Intune's. Raises NotProved for everything
        that is not Intune's `Success`, SCEPFailure when it could not be asked."""
        if not is_intunes(request.challenge or "", terms.spec):
            return None
        try:
            access = self.access_of(request.template_id)
            if access is None:
                return None
            verdict = self.services.of(access).validate(request.transaction_id, request.csr)
        except PkiconfError as ex:  # what was not decided is not told of either
            raise SCEPFailure(FailInfo.BAD_REQUEST, NOT_PROVED, reason=f"Intune could not be asked: {ex}") from None
        if not verdict.is_success:
            _log_refusal(request, verdict)
            why = f"Intune refused: {verdict}"
            self._send_failure(request.template_id, request.transaction_id, request.csr, HResult.ACCESS_DENIED, why)
            raise NotProved(why) if verdict.code in NO_CHALLENGES else RefusedByIntune(why)
        return Proof(
            ProofMethod.INTUNE, detail=access.client_id, consume=partial(self._begin, request, access),
            after_issue=FOLLOWUP,
        )  # fmt: skip

    def issued(self, request: SCEPRequest | None, certificate: Issued) -> None:
        """Tell Intune of a certificate that nobody has yet; returns when the device may have it, also when asked again.

        Raises Unavailable, Refused and Conflict when it may not; it is revoked then.
        """
        row = self.parts.db.look(lambda c: intune.find(c, certificate.id))
        if row is None:
            raise Conflict(f"{_address(certificate.id)} was not let in by Intune")
        if row.state == IntuneState.TOLD:
            return
        try:
            _check_good(row)
            self._tell_issued(row, request, certificate)
            self._settle_told(row)
        except PkiconfError as ex:
            self._withdraw(row, ex.detail)
            raise

    def refused(self, request: SCEPRequest, why: str) -> None:
        """There is no certificate, although Intune said yes. Never raises."""
        self._send_failure(request.template_id, request.transaction_id, request.csr, HResult.FAIL, why)

    def settle(self, certificate: CertificateID) -> str:
        """What the worker does for an enrolment that was interrupted: what was not told is withdrawn. Empty when there
        is nothing left to do, else what it waits for."""
        row = self.parts.db.look(lambda c: intune.find(c, certificate))
        if row is None or row.state == IntuneState.TOLD:
            return ""
        if row.status == CertificateStatus.RESERVED:
            return "its certificate is not complete yet"
        if self._withdraw(row, "it was interrupted") and row.state == IntuneState.UNTOLD and row.csr is not None:
            why = "The enrolment was interrupted"
            self._send_failure(row.template_id, row.transaction_id, row.csr, HResult.FAIL, why)
        return ""

    def _begin(self, request: SCEPRequest, access: IntuneAccess, c: Connection) -> None:
        """In the transaction that reserves the certificate."""
        now = to_epoch(self.parts.now())
        certificate = intune.begin(c, request.template_id, request.transaction_id, access.client_id)
        jobs.queue(c, SETTLE_JOB, job_name(certificate), "{}", now + SETTLE_SECONDS)
        jobs.queue_once(c, POLL_JOB, str(request.template_id), "{}", now + POLL_SECONDS)

    def _tell_issued(self, row: IntuneRow, request: SCEPRequest | None, certificate: Issued) -> None:
        access = self.access_of(row.template_id)
        if access is None:
            raise Refused("the template is not declared with Intune any more")
        csr = request.csr if request is not None else row.csr
        if csr is None:
            raise Conflict("its request is not kept any more")
        address = self.parts.db.read(lambda c: template_address(c, row.template_id))
        notice = make_notice(certificate.der, address)
        verdict = self.services.of(access).tell_issued(row.transaction_id, csr, notice)
        if not verdict.is_success:
            raise Unavailable(f"Intune did not take note of the certificate: {verdict}")

    def _settle_told(self, row: IntuneRow) -> None:
        """Raises Conflict if it was withdrawn meanwhile."""

        def write(c: Connection) -> None:
            if not intune.move(c, row.id, IntuneState.TOLD):
                found = intune.find(c, row.id)
                if found is None or found.state != IntuneState.TOLD:
                    raise Conflict("the certificate was withdrawn while Intune was told of it")
                return  # another request of the same transaction was first
            jobs.cancel(c, SETTLE_JOB, job_name(row.id))
            self.parts.record(c, SYSTEM, "scep.intune-told", _address(row.id), {"transaction": row.transaction_id})

        self.parts.db.write(Step.INTUNE_WRITE, write)

    def _withdraw(self, row: IntuneRow, why: str) -> bool:
        """Nobody gets it from now on; then it is revoked, and if that is not reached, the job does it. False for what
        was told meanwhile: it stays."""

        def write(c: Connection) -> bool:
            if intune.move(c, row.id, IntuneState.WITHDRAWN):
                details = {"transaction": row.transaction_id, "reason": why}
                self.parts.record(c, SYSTEM, "scep.intune-withdraw", _address(row.id), details)
                return True
            found = intune.find(c, row.id)
            return found is not None and found.state == IntuneState.WITHDRAWN

        if not self.parts.db.write(Step.INTUNE_WRITE, write):
            return False
        log.warning("%s is withdrawn: %s", _address(row.id), why)
        with suppress(Conflict):  # it is revoked already, or was given up
            self.revocations.revoke(row.id, RevocationReason.CESSATION_OF_OPERATION, SYSTEM)
        return True

    def _send_failure(self, template_id: int, transaction_id: str, csr: bytes, result: HResult, why: str) -> None:
        """For the administrator's eyes: that it does not arrive changes nothing."""
        try:
            access = self.access_of(template_id)
            if access is None:
                return
            verdict = self.services.of(access).tell_failed(transaction_id, csr, result, why)
        except PkiconfError as ex:
            log.warning("Intune was not told of a failure: %s", ex)
            return
        if not verdict.is_success:
            log.warning("Intune did not take note of a failure: %s", verdict)


def is_intunes(challenge: str, spec: SCEPSpec) -> bool:
    """By its form: Intune's are far longer than every other one may be. Where nothing else is taken, it is asked about
    everything."""
    takes_others = spec.takes_challenges or spec.static_passphrase is not None
    return bool(challenge) and (len(challenge) > LONGEST_PASSPHRASE or not takes_others)


def make_notice(der: bytes, template: str) -> IssuedNotice:
    certificate = parse_certificate(der)
    issuer = name_text(parse_name(certificate.issuer))
    return IssuedNotice(
        thumbprint=sha1(der, usedforsecurity=False).hexdigest().upper(),
        serial_number=f"{certificate.serial_number:X}",
        ends=certificate.not_after.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        issuer_name=issuer,
        ca_configuration=template,
        certificate_authority=issuer,
    )


def job_name(certificate: CertificateID) -> str:
    return f"{certificate.issuer_id}/{certificate.serial_number:x}"


def parse_job_name(text: str) -> CertificateID:
    issuer, _, serial = text.partition("/")
    return CertificateID(int(issuer), int(serial, 16))


def _check_good(row: IntuneRow) -> None:
    if row.state != IntuneState.UNTOLD or row.status != CertificateStatus.GOOD:
        raise Refused("the certificate was withdrawn before Intune was told of it")


def _log_refusal(request: SCEPRequest, verdict: Verdict) -> None:
    known = "" if verdict.code in REFUSALS else " (a code that is not known here)"
    log.warning("Intune refused SCEP transaction %r: %s%s", request.transaction_id, verdict, known)


def _address(certificate: CertificateID) -> str:
    return f"certificate/{certificate.issuer_id}/{serial_bytes(certificate.serial_number).hex()}"
