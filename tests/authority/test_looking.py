"""Authorities and templates as people look at them: listed, shown, exported, with every URL."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from pkiconf.der.pem import pem_decode_all
from pkiconf.errors import Conflict, NotFound
from pkiconf.store import keys
from tests.tools import accepted, run_tool
from tests.world import World

PKI = """
settings: { base_url: http://pki.corp.example, urls: { status: http://status.corp.example } }
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y, urls: { crl: http://cdn.example/issuing.crl } }
  - { name: department, issuer: external }
templates:
  - { name: web-server, authority: issuing }
"""


@pytest.fixture
def pki(sqlite_world: World) -> World:
    assert sqlite_world.apply(PKI).exit_code == 3  # the department waits for a certificate
    return sqlite_world


@pytest.mark.row("F3")
def test_a_first_authority_needs_nothing_but_its_name_and_keeps_its_key_here(sqlite_world: World) -> None:
    assert sqlite_world.apply("authorities: [{ name: first }]").exit_code == 0
    view = sqlite_world.services.lookup.get("first")
    assert (view.row.lifecycle, view.spec.key.source) == ("active", "generate")
    key = sqlite_world.parts.db.read(lambda c: keys.get_key(c, view.issuers[0].key_id))
    assert key.sealed is not None
    assert key.wrapping_key_id == sqlite_world.parts.keyring.master.current_id


@pytest.mark.row("F30")
@pytest.mark.row("F48")
def test_authorities_are_listed_with_their_state(pki: World) -> None:
    found = {view.row.name: view.row.lifecycle for view in pki.services.lookup.list()}
    assert found == {"department": "waiting_certificate", "issuing": "active", "root": "active"}


@pytest.mark.row("F48")
def test_an_authority_is_exported_alone_and_with_its_chain(pki: World, tmp_path: Path) -> None:
    lookup = pki.services.lookup
    (own,) = pem_decode_all(lookup.export("issuing", "pem"), "CERTIFICATE")
    chain = pem_decode_all(lookup.export("issuing", "pem", chain=True), "CERTIFICATE")
    assert lookup.export("issuing", "der") == own == chain[0]
    assert lookup.export("root", "der") == chain[1]
    assert len(pkcs7.load_der_pkcs7_certificates(lookup.export("issuing", "p7b", chain=True))) == 2
    (tmp_path / "root.pem").write_bytes(lookup.export("root", "pem"))
    (tmp_path / "own.pem").write_bytes(lookup.export("issuing", "pem"))
    at = str(int((pki.clock.now() + timedelta(minutes=1)).timestamp()))
    accepted(run_tool("openssl", "verify", "-attime", at, "-CAfile", tmp_path / "root.pem", tmp_path / "own.pem"))


@pytest.mark.row("F48")
def test_what_is_not_there_is_not_exported(pki: World) -> None:
    with pytest.raises(NotFound, match="nobody"):
        pki.services.lookup.export("nobody", "pem")
    with pytest.raises(Conflict, match="no certificate yet"):
        pki.services.lookup.export("department", "pem")
    with pytest.raises(Conflict, match="DER holds one"):
        pki.services.lookup.export("issuing", "der", chain=True)


@pytest.mark.row("F49")
def test_every_url_is_shown_and_certificates_carry_the_same(pki: World) -> None:
    urls = pki.services.lookup.get("root").urls
    assert urls.ocsp == "http://status.corp.example/ocsp/root"
    assert urls.crl == "http://status.corp.example/crl/root/1.crl"
    issuing = x509.load_der_x509_certificate(pki.services.lookup.export("issuing", "der"))
    points = issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = issuing.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [name.value for point in points for name in point.full_name or ()] == [urls.crl]
    assert {description.access_location.value for description in access} == {urls.ocsp, urls.aia}
    assert pki.services.lookup.get("issuing").urls.crl == "http://cdn.example/issuing.crl"


@pytest.mark.row("F87")
def test_a_template_is_shown_with_its_authority_and_thus_its_urls(pki: World) -> None:
    view = pki.services.template_lookup.get("issuing/web-server")
    assert view.address == "issuing/web-server"
    urls = pki.services.lookup.get(view.authority).urls
    assert urls.ocsp == "http://status.corp.example/ocsp/issuing"
    assert urls.chain == "http://status.corp.example/ca/issuing/chain.p7c"
    with pytest.raises(NotFound):
        pki.services.template_lookup.get("issuing/nothing")
