"""Authorities as people see them: their state, certificates and URLs in every form."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from pkiconf.errors import Conflict, NotFound
from pkiconf.reconciler.state import Action
from tests.authority.following import current, loaded
from tests.world import World

TIERS = "authorities: [ { name: root }, { name: sub, issuer: root%s }, { name: ext, issuer: external } ]"


@pytest.fixture
def pki(sqlite_world: World) -> World:
    assert sqlite_world.apply(TIERS % "").exit_code == 3
    return sqlite_world


@pytest.mark.row("F48")
def test_all_are_listed_with_their_state(pki: World) -> None:
    assert [(view.row.name, view.row.lifecycle) for view in pki.services.lookup.list()] == [
        ("ext", "waiting_certificate"), ("root", "active"), ("sub", "active"),
    ]  # fmt: skip


@pytest.mark.row("F48")
def test_every_form_holds_the_same(pki: World) -> None:
    export = pki.services.lookup.export
    sub, root = current(pki, "sub"), current(pki, "root")
    assert x509.load_pem_x509_certificates(export("sub", "pem")) == [sub]
    assert x509.load_pem_x509_certificates(export("sub", "pem", chain=True)) == [sub, root]
    assert pkcs7.load_der_pkcs7_certificates(export("sub", "p7b")) == [sub]
    assert set(pkcs7.load_der_pkcs7_certificates(export("sub", "p7b", chain=True))) == {sub, root}
    assert loaded(export("sub", "der")) == sub
    with pytest.raises(Conflict, match="DER holds one"):
        export("sub", "der", chain=True)


def test_what_is_not_there_is_said(pki: World) -> None:
    with pytest.raises(NotFound, match="Known authorities: ext, root, sub"):
        pki.services.lookup.get("nobody")
    with pytest.raises(Conflict, match="no certificate yet"):
        pki.services.lookup.export("ext", "pem")


@pytest.mark.row("F49")
def test_urls_are_those_of_the_generation_that_signs(pki: World) -> None:
    assert pki.services.lookup.get("ext").urls.crl.endswith("/crl/ext/1.crl")
    pki.apply(TIERS % ", key: { generation: 2 }", allow=(Action.ROLLOVER,))
    urls = pki.services.lookup.get("sub").urls
    assert urls.crl.endswith("/crl/sub/2.crl")
    assert urls.aia.endswith("/ca/sub/2.crt")
    assert urls.ocsp.endswith("/ocsp/sub")
