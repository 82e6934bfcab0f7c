"""What forbids a certificate while one is being reserved: on PostgreSQL, transactions that do not see each other. The
thread that issues is stopped between its look and its commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.errors import PkiconfError, Refused
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.reconciler.state import Action
from pkiconf.store import certificates
from pkiconf.store.database import Database
from tests.interleaving import Stop, in_the_midst
from tests.world import OPERATOR, World, make_csr, make_world

DECLARED = """
authorities: [{ name: root }, { name: issuing, issuer: root }]
templates: [{ name: tls, authority: issuing, starter: web-server%s }]
"""


@pytest.fixture
def hosted(postgres_database: Database, tmp_path: Path) -> World:
    world = make_world(postgres_database, tmp_path / "world")
    world.apply(DECLARED % "")
    return world


def forbidding(world: World, stop: Stop, key: ec.EllipticCurvePrivateKey, forbid: Callable[[], object]) -> Issued:
    """The certificate that was begun before `forbid`, which is acknowledged after it."""
    csr = make_csr("a.example", ("a.example",), key)
    issued, error = in_the_midst(world, stop, lambda: world.issued("issuing/tls", csr), forbid)
    assert error is None
    return issued


@pytest.mark.row("F94")
def test_a_key_that_was_given_away_is_not_certified_once_that_is_acknowledged(
    hosted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = hosted.issued("issuing/tls", make_csr("a.example", ("a.example",), key))
    stop = Stop(certificates.reserve)
    monkeypatch.setattr(certificates, "reserve", stop)

    def revoke() -> None:
        hosted.services.revocations.revoke(first.id, RevocationReason.KEY_COMPROMISE, OPERATOR)

    forbidding(hosted, stop, key, revoke)
    with pytest.raises(Refused, match="compromise"):
        hosted.issued("issuing/tls", make_csr("a.example", ("a.example",), key))


def test_another_key_does_not_wait_for_it(hosted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hosted.issued("issuing/tls", make_csr("a.example", ("a.example",)))
    stop = Stop(certificates.reserve)
    monkeypatch.setattr(certificates, "reserve", stop)
    with ThreadPoolExecutor(1) as thread:
        issued = thread.submit(hosted.issued, "issuing/tls", make_csr("b.example", ("b.example",)))
        assert stop.reached.wait(60)
        try:
            hosted.services.revocations.revoke(first.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
        finally:
            stop.may_go_on.set()
        assert issued.result(60)


def test_nothing_is_issued_once_an_apply_that_forbids_it_has_ended(
    hosted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    stop = Stop(certificates.reserve)
    monkeypatch.setattr(certificates, "reserve", stop)
    forbidding(hosted, stop, key, lambda: hosted.apply(DECLARED % ", enabled: false"))
    with pytest.raises(PkiconfError, match="disabled"):
        hosted.issued("issuing/tls", make_csr("a.example", ("a.example",), key))


def test_a_rollover_waits_for_those_who_issue_from_the_generation_before(
    hosted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    stop = Stop(certificates.reserve)
    monkeypatch.setattr(certificates, "reserve", stop)
    rolled = (DECLARED % "").replace("issuer: root", "issuer: root, key: { generation: 2 }")
    found = forbidding(hosted, stop, key, lambda: hosted.apply(rolled, allow=(Action.ROLLOVER, Action.REPLACE)))
    later = hosted.issued("issuing/tls", make_csr("b.example", ("b.example",)))
    assert later.id.issuer_id != found.id.issuer_id
