"""A key that was revoked for being compromised is never certified again: not anew, not resumed, by no authority."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.errors import Conflict, OutcomeUnknown, Refused
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import Issued, Overrides, Pending, Rejected
from pkiconf.model.revocation import RevocationReason
from pkiconf.signing.local import LocalSigner
from pkiconf.store import certificates
from tests.world import OPERATOR, World, make_csr

PKI = """
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y }
  - { name: other, issuer: root, validity: 10y }
templates:
  - { name: client, authority: other, starter: client }
"""
WEB = "issuing/web-server"


@pytest.fixture
def pki(world: World) -> World:
    assert world.apply(PKI).exit_code == 0
    return world


def compromise(pki: World, issued: Issued) -> None:
    pki.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)


@pytest.mark.row("F94")
@pytest.mark.parametrize("template", [WEB, "other/client"])
def test_its_request_is_refused_by_every_template(pki: World, template: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    compromise(pki, pki.issued(WEB, make_csr(key=key)))
    with pytest.raises(Refused, match="known to be compromised"):
        pki.services.requests.submit(template, make_csr("another.corp.example", key=key), OPERATOR)
    assert pki.services.requests.search((), {}, 10) != []
    assert isinstance(pki.issue(template, make_csr("another.corp.example")), Issued)


def test_a_request_that_waits_already_is_not_signed(pki: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    waiting = [pki.services.requests.submit(WEB, make_csr(f"{n}.corp.example", key=key), OPERATOR) for n in range(3)]
    compromise(pki, pki.issued(WEB, make_csr(key=key)))
    outcome = pki.services.requests.sign(waiting[0], Overrides(), OPERATOR)
    assert isinstance(outcome, Rejected)
    assert "compromised" in outcome.reason
    many = [outcome for _, outcome in pki.services.requests.sign_many(waiting[1:], Overrides(), OPERATOR)]
    assert all(isinstance(outcome, Rejected) for outcome in many)
    for number in waiting:
        assert pki.services.requests.get(number).row.state == "pending"
        assert (
            pki.parts.db.read(partial(certificates.find_by_origin, origin_kind="request", origin_id=str(number)))
            is None
        )


def test_an_interrupted_one_is_given_up_instead_of_resumed(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: LocalSigner, order: object) -> bytes:
        raise OutcomeUnknown("the connection broke")

    key = ec.generate_private_key(ec.SECP256R1())
    first = pki.issued(WEB, make_csr(key=key))
    number = pki.services.requests.submit(WEB, make_csr("second.corp.example", key=key), OPERATOR)
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", unknown)
        assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Pending)
    compromise(pki, first)
    pki.pass_time(timedelta(minutes=2))
    assert pki.services.intents.sweep() == 0
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert row is not None
    assert row.status == CertificateStatus.ABANDONED
    with pytest.raises(Conflict, match="is rejected"):
        pki.services.requests.sign(number, Overrides(), OPERATOR)


def test_a_reason_that_is_corrected_counts(pki: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = pki.issued(WEB, make_csr(key=key))
    pki.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert isinstance(pki.issue(WEB, make_csr(key=key)), Issued)
    compromise(pki, issued)
    with pytest.raises(Refused, match="known to be compromised"):
        pki.services.requests.submit(WEB, make_csr(key=key), OPERATOR)


@pytest.mark.parametrize(
    "reason",
    [
        RevocationReason.UNSPECIFIED,
        RevocationReason.AFFILIATION_CHANGED,
        RevocationReason.SUPERSEDED,
        RevocationReason.CESSATION_OF_OPERATION,
        RevocationReason.PRIVILEGE_WITHDRAWN,
    ],
)
def test_a_key_revoked_for_another_reason_may_be_used_again(pki: World, reason: RevocationReason) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pki.services.revocations.revoke(pki.issued(WEB, make_csr(key=key)).id, reason, OPERATOR)
    assert isinstance(pki.issue(WEB, make_csr(key=key)), Issued)


def test_a_revocation_that_fails_leaves_no_mark(pki: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = pki.issued(WEB, make_csr(key=key))
    with pytest.raises(Refused):
        pki.services.revocations.revoke(issued.id, RevocationReason.CA_COMPROMISE, OPERATOR)
    assert isinstance(pki.issue(WEB, make_csr(key=key)), Issued)
