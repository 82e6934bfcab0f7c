"""Intents: what was reserved is finished by whoever finds it, and one that cannot be keeps no other waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pkiconf.errors import Conflict, OutcomeUnknown, Unavailable
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.pipeline import Draft, Pipeline
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import Issued, Overrides, Pending
from pkiconf.reconciler.state import Action
from pkiconf.signing.keyring import Keyring
from pkiconf.signing.local import LocalSigner
from pkiconf.store import authorities, certificates
from tests.world import OPERATOR, World, make_csr

PKI = """
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: one, issuer: root, validity: 10y }
  - { name: two, issuer: root, validity: 10y }
"""


@pytest.fixture
def pki(world: World) -> World:
    assert world.apply(PKI).exit_code == 0
    return world


def interrupted(pki: World, template: str) -> int:
    """A request that was approved, reserved, and never heard of again."""

    def unknown(self: LocalSigner, order: object) -> bytes:
        raise OutcomeUnknown("the connection broke")

    number = pki.services.requests.submit(template, make_csr(), OPERATOR)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalSigner, "sign", unknown)
        assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Pending)
    return number


def status(pki: World, number: int) -> str:
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert row is not None
    return row.status


def test_an_approved_request_that_was_interrupted_is_finished_by_signing_it_again(pki: World) -> None:
    number = interrupted(pki, "one/web-server")
    assert pki.services.requests.get(number).row.state == "approved"
    assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Issued)
    assert pki.services.requests.get(number).row.state == "issued"


def test_a_key_that_does_not_open_keeps_no_other_waiting(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, fine = interrupted(pki, "one/web-server"), interrupted(pki, "two/web-server")
    row = pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(lost)))
    assert row is not None
    open_key = Keyring.open
    broken = pki.parts.db.read(lambda c: authorities.get_issuer(c, row.issuer_id)).key_id

    def opens(self: Keyring, key_id: int, *rest: Any) -> object:
        if key_id == broken:
            raise Unavailable("sealed under another master key")
        return open_key(self, key_id, *rest)

    pki.pass_time(timedelta(minutes=2))
    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "open", opens)
        assert pki.services.intents.sweep() == 1
    assert (status(pki, lost), status(pki, fine)) == (CertificateStatus.RESERVED, CertificateStatus.GOOD)
    assert pki.services.intents.sweep() == 0  # its new lease runs
    pki.pass_time(timedelta(minutes=2))
    assert pki.services.intents.sweep() == 1
    assert status(pki, lost) == CertificateStatus.GOOD


def test_what_was_approved_is_not_signed_with_other_changes(pki: World) -> None:
    number = interrupted(pki, "one/web-server")
    with pytest.raises(Conflict, match="with other changes"):
        pki.services.requests.sign(number, Overrides(days=3), OPERATOR)
    issued = pki.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(issued, Issued)
    with pytest.raises(Conflict, match="with other changes"):
        pki.services.requests.sign(number, Overrides(days=3), OPERATOR)


def test_the_same_changes_again_give_the_same_certificate(pki: World) -> None:
    number = pki.services.requests.submit("one/web-server", make_csr(), OPERATOR)
    first = pki.services.requests.sign(number, Overrides(days=3), OPERATOR)
    assert isinstance(first, Issued)
    assert pki.services.requests.sign(number, Overrides(days=3), OPERATOR) == first
    assert pki.services.requests.sign(number, Overrides(), OPERATOR) == first


@pytest.mark.parametrize(
    ("declared", "allow", "said"),
    [
        (PKI + "  - { name: none }\n", (), None),
        (
            PKI.replace("name: two, issuer: root,", "name: two, issuer: root, state: absent,"),
            (Action.RETIRE,),
            "retired",
        ),
        (
            PKI.replace("name: two,", "name: two, key: { generation: 2 },"),
            (Action.ROLLOVER,),
            "generation 1 .* signs no more",
        ),
    ],
)
def test_an_issuer_that_leaves_service_while_a_certificate_is_asked_for_does_not_sign(
    pki: World, monkeypatch: pytest.MonkeyPatch, declared: str, allow: tuple[Action, ...], said: str | None
) -> None:
    number = pki.services.requests.submit("two/web-server", make_csr(), OPERATOR)
    draft = Pipeline._draft

    def meanwhile(self: Pipeline, order: IssuanceOrder) -> Draft:
        with monkeypatch.context() as patched:
            patched.setattr(Pipeline, "_draft", draft)
            assert pki.apply(declared, allow=allow).exit_code == 0
        return draft(self, order)

    with monkeypatch.context() as patched:
        patched.setattr(Pipeline, "_draft", meanwhile)
        if said is None:
            assert isinstance(pki.services.requests.sign(number, Overrides(), OPERATOR), Issued)
            return
        with pytest.raises(Conflict, match=said):
            pki.services.requests.sign(number, Overrides(), OPERATOR)
    assert pki.services.requests.get(number).row.state == "pending"
    assert pki.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number))) is None
