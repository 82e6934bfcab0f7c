"""When a certificate may be revoked, held or released, and for which reason (RFC 5280 §5.3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.errors import Conflict, Refused
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.lifecycle import CertificateEvent, move_certificate

_REMOVE_FROM_CRL: Final = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """A certificate's status; `reason`, `revoked_at` and `invalidity_date` are None while it is good.

    `revoked_at` is also the time since when it is on hold. `invalidity_date` is when its key is thought to have
    got out (RFC 5280 §5.3.2).
    """

    status: CertificateStatus
    reason: RevocationReason | None = None
    revoked_at: datetime | None = None
    invalidity_date: datetime | None = None


def parse_reason(text: str) -> RevocationReason:
    """A reason by its name in the RFC or its number. Raises Refused, with the names that may be given."""
    wanted = text.strip()
    if wanted.lower() == "removefromcrl" or wanted == str(_REMOVE_FROM_CRL):
        raise Refused(
            "removeFromCRL is no reason to revoke", "To end a hold, use `pkiconf cert release`; nothing else is undone"
        )
    for reason in RevocationReason:
        if wanted.lower() == reason.text.lower() or wanted == str(reason.code):
            return reason
    names = ", ".join(reason.text for reason in RevocationReason)
    raise Refused(f"{wanted!r} is not a revocation reason", f"Use one of {names}")


def evaluate_revocation(
    standing: Standing,
    reason: RevocationReason,
    now: datetime,
    *,
    is_authority: bool = False,
    invalidity_date: datetime | None = None,
) -> Standing:
    """What the certificate's standing becomes when it is revoked for `reason`.

    A revoked certificate stays revoked since when it was; only its reason may be corrected, to keyCompromise.
    `is_authority`: the certificate is a CA's. Raises Refused for a reason that does not fit, or a time in the
    future; Conflict for a status that cannot be revoked.
    """
    _check_reason(reason, is_authority)
    _check_invalidity_date(invalidity_date, now)
    if standing.status is CertificateStatus.REVOKED:
        return _corrected(standing, reason, invalidity_date)
    status = move_certificate(standing.status, CertificateEvent.REVOKE)
    # A hold that becomes final counts from the hold on: nobody could rely on the certificate since then.
    since = standing.revoked_at if standing.status is CertificateStatus.HELD else None
    return Standing(status, reason, since or now, invalidity_date)


def evaluate_hold(standing: Standing, now: datetime) -> Standing:
    """The standing of a certificate that is put on hold. Raises Conflict unless it is good."""
    status = move_certificate(standing.status, CertificateEvent.HOLD)
    return Standing(status, RevocationReason.CERTIFICATE_HOLD, now)


def evaluate_release(standing: Standing) -> Standing:
    """The standing of a certificate whose hold ends. Raises Conflict unless it is on hold."""
    if standing.status is CertificateStatus.REVOKED:
        raise Conflict("a revoked certificate cannot be released", "Revocation is final: issue a new certificate")
    return Standing(move_certificate(standing.status, CertificateEvent.RELEASE))


def _check_reason(reason: RevocationReason, is_authority: bool) -> None:
    if reason is RevocationReason.CERTIFICATE_HOLD:
        raise Refused("certificateHold does not revoke for good", "Use `pkiconf cert hold`")
    if reason is RevocationReason.AA_COMPROMISE:
        raise Refused(
            "aACompromise is for attribute authorities, which are not run here",
            f"Use {RevocationReason.KEY_COMPROMISE.text}",
        )
    if reason is RevocationReason.CA_COMPROMISE and not is_authority:
        raise Refused(
            "cACompromise is for the certificates of authorities", f"Use {RevocationReason.KEY_COMPROMISE.text}"
        )


def _check_invalidity_date(invalidity_date: datetime | None, now: datetime) -> None:
    if invalidity_date is not None and invalidity_date > now:
        raise Refused(f"the invalidity date {invalidity_date.isoformat()} lies in the future")


def _corrected(standing: Standing, reason: RevocationReason, invalidity_date: datetime | None) -> Standing:
    known = standing.reason or RevocationReason.UNSPECIFIED
    compromised = (RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE)
    if known in compromised or reason not in compromised:
        since = f" since {standing.revoked_at.isoformat()}" if standing.revoked_at else ""
        raise Conflict(
            f"the certificate is already revoked{since}, for {known.text}",
            f"Only a reason other than {RevocationReason.KEY_COMPROMISE.text} may be corrected, and only to that",
        )
    return Standing(CertificateStatus.REVOKED, reason, standing.revoked_at, invalidity_date or standing.invalidity_date)
