"""Revoke, hold, release: one transaction each, true in every process as soon as it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.certificate import parse_public_key_info
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.revocation import Standing, evaluate_hold, evaluate_release, evaluate_revocation
from pkiconf.policy.serials import serial_bytes
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, compromised_keys, jobs
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.crls import FULL
from pkiconf.store.database import Connection
from pkiconf.store.epochs import settle

CRL_JOB: Final = "crl.make"


def crl_job(issuer_id: int, shard: int) -> str:
    """What the job of making one part of an issuer's CRL, complete and delta, is queued under."""
    return str(issuer_id) if shard == FULL else f"{issuer_id}/{shard}"


def crl_of_job(dedupe: str) -> tuple[int, int]:
    """The issuer and the part that `crl_job` was given."""
    issuer_id, slash, shard = dedupe.partition("/")
    return int(issuer_id), int(shard) if slash else FULL


_COMPROMISED: Final = (RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE)


@dataclass(frozen=True, slots=True)
class Revocations:
    parts: Parts

    def revoke(
        self,
        certificate: CertificateID,
        reason: RevocationReason,
        actor: Actor,
        invalidity_date: datetime | None = None,
        *,
        bars_key: bool = True,
    ) -> Standing:
        """Revoke for good; what it is now. For certificateHold use `hold`.

        A key that was compromised is never certified again. `bars_key=False` is for somebody who says so and has proved
        nothing about the key; who has may say it once more.

        Raises NotFound for a serial this issuer never issued, Conflict for a state that does not allow it, Refused
        for a reason or date that may not be given.
        """
        check_may(actor, Action.CERTIFICATE_REVOKE, _address(certificate))
        now = self.parts.now()

        def decide(c: Connection, row: CertificateRow) -> Standing:
            if bars_key and reason is RevocationReason.KEY_COMPROMISE and _is_only_blamed(c, row):
                return _standing(row)
            is_authority = authorities.is_ca_certificate(c, row.issuer_id, row.serial)
            return evaluate_revocation(
                _standing(row), reason, now, is_authority=is_authority, invalidity_date=invalidity_date
            )

        return self._change(
            certificate, actor, "certificate.revoke", Step.CERTIFICATE_REVOKE, decide, bars_key=bars_key
        )

    def hold(self, certificate: CertificateID, actor: Actor) -> Standing:
        """Revoked until it is released. Raises NotFound, and Conflict unless it is good."""
        check_may(actor, Action.CERTIFICATE_HOLD, _address(certificate))
        now = self.parts.now()
        return self._change(
            certificate, actor, "certificate.hold", Step.CERTIFICATE_REVOKE,
            lambda c, row: evaluate_hold(_standing(row), now),
        )  # fmt: skip

    def release(self, certificate: CertificateID, actor: Actor) -> Standing:
        """Make a held certificate good again. Raises NotFound, and Conflict for one that is not held."""
        check_may(actor, Action.CERTIFICATE_RELEASE, _address(certificate))
        return self._change(
            certificate, actor, "certificate.release", Step.CERTIFICATE_RELEASE,
            lambda c, row: evaluate_release(_standing(row)),
        )  # fmt: skip

    def _change(
        self,
        certificate: CertificateID,
        actor: Actor,
        action: str,
        step: Step,
        decide: Callable[[Connection, CertificateRow], Standing],
        *,
        bars_key: bool = False,
    ) -> Standing:
        now = to_epoch(self.parts.now())

        def write(c: Connection) -> Standing:
            row = certificates.get_certificate(c, certificate)
            after = decide(c, row)
            epoch = certificates.set_standing(
                c, row.issuer_id, row.serial, row.status, after.status,
                reason=after.reason.code if after.reason else None,
                revoked_at=_epoch_or_none(after.revoked_at), invalidity_at=_epoch_or_none(after.invalidity_date),
            )  # fmt: skip
            details = _details(certificate) | {"epoch": epoch}
            if after.reason is not None:
                details["reason"] = after.reason.text
            if bars_key and after.reason in _COMPROMISED:
                _remember_key(c, row, now)
            self.parts.record(c, actor, action, _address(certificate), details)
            # The next CRL is made soon, even if nobody fetches it.
            jobs.queue(c, CRL_JOB, crl_job(row.issuer_id, row.crl_shard or FULL), "{}", now)
            return after

        after = self.parts.db.write(step, write)
        self.parts.wake()
        settle(self.parts.db)  # whoever hears of it now gets no other answer anywhere
        return after


def _standing(row: CertificateRow) -> Standing:
    return Standing(
        CertificateStatus(row.status),
        RevocationReason.from_code(row.reason) if row.reason is not None else None,
        from_epoch(row.revoked_at) if row.revoked_at is not None else None,
        from_epoch(row.invalidity_at) if row.invalidity_at is not None else None,
    )


def _remember_key(c: Connection, row: CertificateRow, now: int) -> None:
    """No path certifies the key again. That of an imported serial is not known here."""
    stored = certificates.find_stored(c, row.issuer_id, row.serial)
    if stored is not None:
        compromised_keys.add(c, parse_public_key_info(stored.tbs), now)


def _is_only_blamed(c: Connection, row: CertificateRow) -> bool:
    """Revoked for keyCompromise by somebody who did not show the key, so that it is not barred."""
    if row.status != CertificateStatus.REVOKED or row.reason != RevocationReason.KEY_COMPROMISE.code:
        return False
    stored = certificates.find_stored(c, row.issuer_id, row.serial)
    return stored is not None and not compromised_keys.known(c, parse_public_key_info(stored.tbs))


def _epoch_or_none(moment: datetime | None) -> int | None:
    return to_epoch(moment) if moment is not None else None


def _address(certificate: CertificateID) -> str:
    return f"certificate/{certificate.issuer_id}/{serial_bytes(certificate.serial_number).hex()}"


def _details(certificate: CertificateID) -> dict[str, object]:
    return {"issuer": certificate.issuer_id, "serial": serial_bytes(certificate.serial_number).hex()}
