from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pkiconf.errors import Conflict, Refused
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.revocation import (
    Standing,
    evaluate_hold,
    evaluate_release,
    evaluate_revocation,
    parse_reason,
)

pytestmark = pytest.mark.row("F94")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=3)
GOOD = Standing(CertificateStatus.GOOD)
HELD = Standing(CertificateStatus.HELD, RevocationReason.CERTIFICATE_HOLD, EARLIER)
ORDINARY = [
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
    RevocationReason.PRIVILEGE_WITHDRAWN,
]


def revoked(reason: RevocationReason | None) -> Standing:
    return Standing(CertificateStatus.REVOKED, reason, EARLIER)


@pytest.mark.parametrize("reason", ORDINARY)
def test_a_good_certificate_is_revoked(reason: RevocationReason) -> None:
    assert evaluate_revocation(GOOD, reason, NOW) == Standing(CertificateStatus.REVOKED, reason, NOW)


def test_an_authority_is_revoked_for_its_own_reason() -> None:
    standing = evaluate_revocation(GOOD, RevocationReason.CA_COMPROMISE, NOW, is_authority=True)
    assert standing.reason is RevocationReason.CA_COMPROMISE


def test_a_hold_becomes_final_from_when_it_began() -> None:
    standing = evaluate_revocation(HELD, RevocationReason.SUPERSEDED, NOW)
    assert standing == Standing(CertificateStatus.REVOKED, RevocationReason.SUPERSEDED, EARLIER)


def test_the_date_of_the_compromise_is_kept() -> None:
    standing = evaluate_revocation(GOOD, RevocationReason.KEY_COMPROMISE, NOW, invalidity_date=EARLIER)
    assert (standing.revoked_at, standing.invalidity_date) == (NOW, EARLIER)


@pytest.mark.parametrize(
    "reason", [RevocationReason.CERTIFICATE_HOLD, RevocationReason.AA_COMPROMISE, RevocationReason.CA_COMPROMISE]
)
def test_reasons_that_do_not_fit_a_leaf_are_refused(reason: RevocationReason) -> None:
    with pytest.raises(Refused):
        evaluate_revocation(GOOD, reason, NOW)


@pytest.mark.parametrize("reason", [RevocationReason.CERTIFICATE_HOLD, RevocationReason.AA_COMPROMISE])
def test_reasons_that_do_not_fit_an_authority_are_refused(reason: RevocationReason) -> None:
    with pytest.raises(Refused):
        evaluate_revocation(GOOD, reason, NOW, is_authority=True)


@pytest.mark.parametrize("standing", [GOOD, HELD, revoked(RevocationReason.SUPERSEDED)])
def test_a_compromise_in_the_future_is_refused(standing: Standing) -> None:
    with pytest.raises(Refused, match="future"):
        evaluate_revocation(standing, RevocationReason.KEY_COMPROMISE, NOW, invalidity_date=NOW + timedelta(seconds=1))


@pytest.mark.parametrize("status", [CertificateStatus.RESERVED, CertificateStatus.ABANDONED])
def test_what_was_never_handed_out_is_not_revoked(status: CertificateStatus) -> None:
    with pytest.raises(Conflict):
        evaluate_revocation(Standing(status), RevocationReason.KEY_COMPROMISE, NOW)


@pytest.mark.parametrize("known", [*(r for r in ORDINARY if r is not RevocationReason.KEY_COMPROMISE), None])
def test_a_reason_is_corrected_to_key_compromise(known: RevocationReason | None) -> None:
    standing = evaluate_revocation(revoked(known), RevocationReason.KEY_COMPROMISE, NOW, invalidity_date=EARLIER)
    assert standing == Standing(CertificateStatus.REVOKED, RevocationReason.KEY_COMPROMISE, EARLIER, EARLIER)


def test_a_correction_keeps_the_known_date_of_the_compromise() -> None:
    known = Standing(CertificateStatus.REVOKED, RevocationReason.SUPERSEDED, NOW, EARLIER)
    assert evaluate_revocation(known, RevocationReason.KEY_COMPROMISE, NOW).invalidity_date == EARLIER


@pytest.mark.parametrize("known", ORDINARY)
@pytest.mark.parametrize("reason", [r for r in ORDINARY if r is not RevocationReason.KEY_COMPROMISE])
def test_a_reason_is_corrected_to_nothing_else(known: RevocationReason, reason: RevocationReason) -> None:
    with pytest.raises(Conflict, match="already revoked since 2026-02-26"):
        evaluate_revocation(revoked(known), reason, NOW)


def test_a_compromise_is_not_reported_twice() -> None:
    with pytest.raises(Conflict):
        evaluate_revocation(revoked(RevocationReason.KEY_COMPROMISE), RevocationReason.KEY_COMPROMISE, NOW)


def test_a_good_certificate_is_held_and_released() -> None:
    held = evaluate_hold(GOOD, NOW)
    assert held == Standing(CertificateStatus.HELD, RevocationReason.CERTIFICATE_HOLD, NOW)
    assert evaluate_release(held) == GOOD


@pytest.mark.parametrize("status", [s for s in CertificateStatus if s is not CertificateStatus.GOOD])
def test_only_a_good_certificate_is_held(status: CertificateStatus) -> None:
    with pytest.raises(Conflict):
        evaluate_hold(Standing(status), NOW)


@pytest.mark.parametrize("status", [s for s in CertificateStatus if s is not CertificateStatus.HELD])
def test_only_a_held_certificate_is_released(status: CertificateStatus) -> None:
    with pytest.raises(Conflict):
        evaluate_release(Standing(status))


def test_who_wants_to_release_a_revoked_certificate_hears_what_to_do() -> None:
    with pytest.raises(Conflict, match=r"a revoked certificate cannot be released.*issue a new certificate"):
        evaluate_release(Standing(CertificateStatus.REVOKED))


@pytest.mark.parametrize("reason", RevocationReason)
def test_reasons_are_read_by_name_and_number(reason: RevocationReason) -> None:
    assert parse_reason(reason.text) is reason
    assert parse_reason(reason.text.upper()) is reason
    assert parse_reason(f" {reason.code} ") is reason


@pytest.mark.parametrize("text", ["removeFromCRL", "removefromcrl", "8"])
def test_remove_from_crl_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no reason to revoke"):
        parse_reason(text)


@pytest.mark.parametrize(
    "text", ["", "7", "11", "-1", "01", "compromise", "key compromise", "keyCompromise,superseded"]
)
def test_what_is_no_reason_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a revocation reason"):
        parse_reason(text)
