"""When the key works, and over what: only over what is recorded, and never while a transaction is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text

from pkiconf.authority.listener import ORIGIN as LISTENER
from pkiconf.clock import to_epoch
from pkiconf.der.csr import parse_csr
from pkiconf.errors import OutcomeUnknown, PkiconfError, Unverified
from pkiconf.issuance import pipeline
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.requests import current_issuer, find_template
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateStatus, TBSCertificate
from pkiconf.model.request import Issued, Overrides, Rejected, Wanted
from pkiconf.policy.template import evaluate
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import certificates
from pkiconf.store.database import Connection
from tests.world import OPERATOR, World, make_csr

PKI = "authorities: [{ name: root, key: { curve: p256 } }]"
SIGN = LocalSigner.sign


@pytest.fixture
def pki(world: World) -> World:
    assert world.apply(PKI).exit_code == 0
    return world


def test_nothing_is_signed_but_a_reserved_tbs(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment the key works, the database holds the very octets as an intent, and takes other writes."""
    seen: list[str] = []

    def sign(self: LocalSigner, order: SigningOrder) -> bytes:
        if order.kind is Kind.CERTIFICATE:
            found = pki.parts.db.read(
                lambda c: c.execute(
                    text("SELECT c.status FROM certificate c JOIN certificate_tbs t ON t.issuer_id = c.issuer_id"
                         " AND t.serial = c.serial WHERE t.tbs = :tbs"),
                    {"tbs": order.tbs},
                ).scalars().all()
            )  # fmt: skip
            pki.parts.db.write(Step.JOB_CLAIM, lambda c: c.execute(text("UPDATE job SET attempts = attempts")))
            seen.extend(found or ["nothing"])
        return SIGN(self, order)

    monkeypatch.setattr(LocalSigner, "sign", sign)
    pki.issued("root/web-server", make_csr())
    numbers = [pki.services.requests.submit("root/web-server", make_csr(), OPERATOR) for _ in range(3)]
    assert all(
        isinstance(outcome, Issued) for _, outcome in pki.services.requests.sign_many(numbers, Overrides(), OPERATOR)
    )
    assert seen == ["reserved"] * 4


def test_one_that_is_signed_wrongly_stops_none_of_its_batch(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [pki.services.requests.submit("root/web-server", make_csr(), OPERATOR) for _ in range(3)]
    calls = []

    def sign(self: LocalSigner, order: SigningOrder) -> bytes:
        calls.append(order)
        signature = SIGN(self, order)
        return signature[:-1] + bytes([signature[-1] ^ 1]) if len(calls) == 2 else signature

    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", sign)
        outcomes = dict(pki.services.requests.sign_many(numbers, Overrides(), OPERATOR))
    assert isinstance(outcomes[numbers[0]], Issued)
    assert isinstance(outcomes[numbers[1]], Unverified)
    assert isinstance(outcomes[numbers[2]], Issued)
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(numbers[1])))
    assert row is not None
    assert row.status == CertificateStatus.RESERVED
    pki.pass_time(timedelta(minutes=2))
    assert pki.services.intents.sweep() == 1
    assert pki.services.requests.get(numbers[1]).row.state == "issued"


def test_no_error_of_a_batch_is_swallowed(pki: World) -> None:
    number = pki.services.requests.submit("root/web-server", make_csr(), OPERATOR)
    pki.services.requests.decline(number, "no", OPERATOR)
    ((_, outcome),) = pki.services.requests.sign_many([number], Overrides(), OPERATOR)
    assert isinstance(outcome, PkiconfError)


def order_for(pki: World, csr: bytes) -> IssuanceOrder:
    """What asks the pipeline without a request in between."""
    parsed = parse_csr(csr)
    template = pki.parts.db.read(lambda c: find_template(c, "root/web-server"))
    issuer_id = pki.parts.db.read(lambda c: current_issuer(c, template.id))
    wanted = Wanted(parsed.subject, parsed.spki, parsed.key, parsed.sans)
    return IssuanceOrder(issuer_id, template.id, wanted, LISTENER, "1", "template/root/web-server", SYSTEM)


def reserved(pki: World) -> object:
    return pki.parts.db.read(lambda c: certificates.find_by_origin(c, LISTENER, "1"))


def test_a_weak_key_is_refused_on_paths_without_a_request(pki: World) -> None:
    weak = make_csr(key=rsa.generate_private_key(65537, 1024))
    outcome = pki.services.pipeline.issue(order_for(pki, weak))
    assert isinstance(outcome, Rejected)
    assert "too short" in outcome.reason
    assert reserved(pki) is None


def test_what_fails_the_lints_is_not_even_reserved(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should evaluating ever go wrong, what was encoded is looked at once more before the key works."""

    def without_extensions(*arguments: Any) -> TBSCertificate:
        return replace(evaluate(*arguments), extensions=())

    monkeypatch.setattr(pipeline, "evaluate", without_extensions)
    outcome = pki.services.pipeline.issue(order_for(pki, make_csr()))
    assert isinstance(outcome, Rejected)
    assert reserved(pki) is None


def test_a_template_that_changes_meanwhile_is_evaluated_again(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate says what the template version says that it points to, never what stood a moment before."""
    reservation = pipeline.Pipeline._reservation

    def meanwhile(self: pipeline.Pipeline, draft: pipeline.Draft) -> Callable[[Connection], None]:
        with monkeypatch.context() as patched:
            patched.setattr(pipeline.Pipeline, "_reservation", reservation)
            assert pki.apply(PKI + "\ntemplates: [{ name: web-server, authority: root, validity: 7d }]").exit_code == 0
        monkeypatch.setattr(pipeline.Pipeline, "_reservation", reservation)
        return reservation(self, draft)

    monkeypatch.setattr(pipeline.Pipeline, "_reservation", meanwhile)
    issued = pki.issued("root/web-server", make_csr())
    leaf = x509.load_der_x509_certificate(issued.der)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=8)


def test_an_intent_that_another_process_has_taken_is_left_to_it(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    number = pki.services.requests.submit("root/web-server", make_csr(), OPERATOR)

    def unknown(self: LocalSigner, order: object) -> bytes:
        raise OutcomeUnknown("the connection broke")

    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", unknown)
        pki.services.requests.sign(number, Overrides(), OPERATOR)
    pki.pass_time(timedelta(minutes=2))
    now = to_epoch(pki.clock.now())
    (stale,) = pki.parts.db.read(lambda c: certificates.list_reserved(c, lease_before=now))
    pki.parts.db.write(
        Step.CERTIFICATE_RESERVE,
        lambda c: certificates.renew_lease(c, stale.issuer_id, stale.serial, stale.lease_until, now + 60),
    )
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "list_reserved", lambda c, lease_before: [stale])  # as it was read before that
        assert pki.services.intents.sweep() == 0
    assert pki.services.requests.get(number).row.state == "approved"
