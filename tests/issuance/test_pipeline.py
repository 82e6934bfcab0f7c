"""The pipeline: what it records, resumes and never does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from pkiconf.errors import Conflict, NotFound, NotSigned, OutcomeUnknown, Refused, Unverified
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import Issued, Overrides, Pending, Rejected
from pkiconf.signing.local import LocalSigner
from pkiconf.store import audit, certificates
from tests.world import OPERATOR, World, make_csr

QUICKSTART = """
authorities:
  - { name: root, validity: 20y }
  - { name: issuing, issuer: root, validity: 10y }
"""


@pytest.fixture
def pki(world: World) -> World:
    assert world.apply(QUICKSTART).exit_code == 0
    return world


@pytest.mark.row("F9")
@pytest.mark.row("F16")
def test_a_request_becomes_a_certificate_that_names_its_template_version(pki: World) -> None:
    issued = pki.issued("issuing/web-server", make_csr())
    leaf = x509.load_der_x509_certificate(issued.der)
    issuing = x509.load_der_x509_certificate(issued.chain[0])
    leaf.verify_directly_issued_by(issuing)
    row = pki.parts.db.read(lambda c: certificates.get_certificate(c, issued.id))
    assert row.status == CertificateStatus.GOOD
    assert row.template_version_id is not None


def test_signing_a_request_again_gives_the_same_certificate(pki: World) -> None:
    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    first = pki.services.requests.sign(number, Overrides(), OPERATOR)
    second = pki.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(first, Issued)
    assert first == second


def test_an_unknown_outcome_is_kept_and_resumed_with_the_recorded_tbs(
    pki: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(self: LocalSigner, order: object) -> bytes:
        raise OutcomeUnknown("the connection broke")

    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", unknown)
        assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Pending)
    reserved = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert reserved is not None
    assert reserved.status == CertificateStatus.RESERVED
    assert pki.services.intents.sweep() == 0  # its lease still runs
    pki.pass_time(timedelta(minutes=2))
    assert pki.services.intents.sweep() == 1
    outcome = pki.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Issued)
    assert outcome.id == reserved.id


def test_certainly_unsigned_is_given_up_and_its_serial_counts_as_revoked(
    pki: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: LocalSigner, order: object) -> bytes:
        raise NotSigned("the key refused")

    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", refuses)
        assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Rejected)
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert row is not None
    assert row.status == CertificateStatus.ABANDONED


def _flipped(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])


def test_a_signature_that_does_not_verify_leaves_nothing(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    sign = LocalSigner.sign
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", lambda self, order: _flipped(sign(self, order)))
        with pytest.raises(Unverified):
            pki.services.requests.sign(number, Overrides(), OPERATOR)
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert row is not None
    assert row.status == CertificateStatus.RESERVED


@pytest.mark.parametrize("template", ["nothing", "issuing/nothing", "nothing/web-server", "", "a/b/c"])
def test_an_unknown_template_is_not_found(pki: World, template: str) -> None:
    with pytest.raises(NotFound):
        pki.services.requests.submit(template, make_csr(), OPERATOR)


@pytest.mark.row("F57")
def test_a_disabled_template_issues_nothing(pki: World) -> None:
    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    disabled = QUICKSTART + "templates: [{ name: web-server, authority: issuing, enabled: false }]\n"
    assert pki.apply(disabled).exit_code == 0
    with pytest.raises(Refused, match="disabled"):
        pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    outcome = pki.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Rejected)
    assert "disabled" in outcome.reason
    assert pki.services.requests.get(number).row.state == "pending"


@pytest.mark.row("F89")
def test_neither_a_certificate_nor_a_refusal_comes_from_what_stood_before(pki: World) -> None:
    def template(days: int, denied: str) -> str:
        return f"""{QUICKSTART}
templates:
  - name: web-server
    authority: issuing
    starter: web-server
    validity: {days}d
    names: {{ deny: {{ dns: [{denied}] }} }}
"""

    def signed() -> Issued | Pending | Rejected:
        number = pki.services.requests.submit("issuing/web-server", make_csr("web.corp.example"), OPERATOR)
        return pki.services.requests.sign(number, Overrides(), OPERATOR)

    lifetimes = []
    for days, denied in ((20, "other.example"), (10, "other.example"), (10, "web.corp.example"), (5, "other.example")):
        assert pki.apply(template(days, denied)).exit_code == 0
        outcome = signed()
        lifetimes.append(_days(outcome) if isinstance(outcome, Issued) else None)
    assert lifetimes == [20, 10, None, 5]


def _days(issued: Issued) -> int:
    leaf = x509.load_der_x509_certificate(issued.der)
    return (leaf.not_valid_after_utc - leaf.not_valid_before_utc + timedelta(seconds=1)).days


def test_a_declined_request_is_never_signed(pki: World) -> None:
    number = pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    pki.services.requests.decline(number, "no such host", OPERATOR)
    with pytest.raises(Conflict, match="declined"):
        pki.services.requests.sign(number, Overrides(), OPERATOR)
    with pytest.raises(Conflict, match="declined"):
        pki.services.requests.decline(number, "again", OPERATOR)


def test_every_step_of_issuing_left_its_audit_record(pki: World) -> None:
    issued = pki.issued("issuing/web-server", make_csr())
    events = pki.parts.db.read(lambda c: audit.list_events(c, limit=10_000))
    serial = f"{issued.id.serial_number:x}"
    actions = [e.fields["action"] for e in events if serial in e.body]
    assert {"certificate.reserve", "certificate.complete"} <= set(actions)
