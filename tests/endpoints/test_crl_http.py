"""CRLs, certificates and practice statements over HTTP."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from pkiconf.der.pem import pem_encode
from pkiconf.errors import NotSigned, Unavailable
from pkiconf.model.revocation import RevocationReason
from pkiconf.signing.local import LocalSigner
from tests.endpoints.client import Client
from tests.revocation.pki import DECLARATION, serial_of
from tests.world import OPERATOR


@pytest.mark.row("F136")
@pytest.mark.row("F137")
def test_der_and_pem(client: Client) -> None:
    now = client.pki.world.clock.now()
    der = client.get("/crl/issuing/1.crl")
    assert (der.status, der.headers["content-type"]) == (200, "application/pkix-crl")
    crl = x509.load_der_x509_crl(der.body)
    assert crl == client.pki.crl()
    pem = client.get("/crl/issuing/1.pem")
    assert pem.headers["content-type"] == "application/x-pem-file"
    assert x509.load_pem_x509_crl(pem.body) == crl
    assert der.headers["etag"] == f'"{hashlib.sha256(der.body).hexdigest()}"' != pem.headers["etag"]
    assert der.headers["cache-control"] == "max-age=300,public,no-transform,must-revalidate"
    assert parsedate_to_datetime(der.headers["expires"]) == crl.next_update_utc == now + timedelta(days=7)
    assert parsedate_to_datetime(der.headers["last-modified"]) == crl.last_update_utc


def test_a_list_is_armoured_once_for_all_who_ask(lite: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second for a million entries."""
    armoured: list[bytes] = []

    def armour(label: str, der: bytes) -> str:
        armoured.append(der)
        return pem_encode(label, der)

    monkeypatch.setattr("pkiconf.endpoints.crl.pem_encode", armour)
    first = lite.get("/crl/issuing/1.pem")
    assert lite.get("/crl/issuing/1.pem").body == first.body
    assert lite.get("/crl/issuing/1.pem", if_none_match=first.headers["etag"]).status == 304
    assert len(armoured) == 1
    issued = lite.pki.issue()
    lite.pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    assert len(x509.load_pem_x509_crl(lite.get("/crl/issuing/1.pem").body)) == 1
    assert len(x509.load_pem_x509_crl(lite.get("/crl/other/1.pem").body)) == 0
    assert len(armoured) == 3


@pytest.mark.row("F138")
def test_a_revocation_is_in_the_next_download(client: Client) -> None:
    issued = client.pki.issue()
    before = client.get("/crl/issuing/1.crl")
    client.pki.world.services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    after = client.get("/crl/issuing/1.crl", if_none_match=before.headers["etag"])
    assert after.status == 200
    assert {entry.serial_number for entry in x509.load_der_x509_crl(after.body)} == {serial_of(issued)}


def test_not_modified(lite: Client) -> None:
    first = lite.get("/crl/issuing/1.crl")
    answer = lite.get("/crl/issuing/1.crl", if_none_match=first.headers["etag"])
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == first.headers["etag"]
    # A tag that does not match outweighs a date that does (RFC 9110 §13.1.3).
    answer = lite.get("/crl/issuing/1.crl", if_none_match='"x"', if_modified_since=first.headers["last-modified"])
    assert answer.status == 200


def test_the_time_of_the_last_download_hides_no_revocation(lite: Client) -> None:
    """thisUpdate lies five minutes back: by that date a new list looks older than the last visit."""
    issued, clock = lite.pki.issue(), lite.pki.world.clock
    lite.get("/crl/issuing/1.crl")
    visited = format_datetime(clock.now(), usegmt=True)
    lite.pki.world.pass_time(timedelta(seconds=30))
    lite.pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    answer = lite.get("/crl/issuing/1.crl", if_modified_since=visited)
    assert answer.status == 200
    assert len(x509.load_der_x509_crl(answer.body)) == 1
    assert lite.get("/crl/issuing/1.crl", if_modified_since="yesterday").status == 200


def test_two_lists_of_one_second_have_two_dates(lite: Client) -> None:
    first = lite.get("/crl/issuing/1.crl")
    lite.pki.world.services.revocations.revoke(lite.pki.issue().id, RevocationReason.SUPERSEDED, OPERATOR)
    second = lite.get("/crl/issuing/1.crl", if_modified_since=first.headers["last-modified"])
    assert second.status == 200
    assert second.headers["last-modified"] != first.headers["last-modified"]


def test_the_date_of_two_lists_hides_no_revocation(lite: Client) -> None:
    """Where the clock was set back there is no second left that no list had."""
    services, world = lite.pki.world.services, lite.pki.world
    first = lite.get("/crl/issuing/1.crl")
    world.clock.moment = parsedate_to_datetime(first.headers["last-modified"])
    services.revocations.revoke(lite.pki.issue().id, RevocationReason.SUPERSEDED, OPERATOR)
    second = lite.get("/crl/issuing/1.crl", if_modified_since=first.headers["last-modified"])
    assert second.headers["last-modified"] == first.headers["last-modified"]
    assert second.status == 200
    assert len(x509.load_der_x509_crl(second.body)) == 1


def test_caches_end_before_the_list(lite: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = x509.load_der_x509_crl(lite.get("/crl/issuing/1.crl").body)

    def fail(*_: object) -> None:
        raise NotSigned("the key is offline")

    monkeypatch.setattr(LocalSigner, "sign", fail)
    assert first.next_update_utc is not None
    lite.pki.world.clock.moment = first.next_update_utc - timedelta(seconds=20)
    answer = lite.get("/crl/issuing/1.crl")
    assert x509.load_der_x509_crl(answer.body) == first
    assert answer.headers["cache-control"].startswith("max-age=19,")
    lite.pki.world.clock.moment = first.next_update_utc
    ended = lite.get("/crl/issuing/1.crl")
    assert (ended.status, ended.headers["retry-after"], ended.headers["cache-control"]) == (503, "30", "no-store")
    assert "offline" not in ended.text


def test_a_database_in_trouble(lite: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the database is locked (/srv/pkiconf.db)")

    monkeypatch.setattr(type(lite.pki.world.parts.db), "read", fail)
    monkeypatch.setattr(type(lite.pki.world.parts.db), "look", fail)
    for target in ("/crl/issuing/1.crl", "/ca/issuing/1.crt", "/cps/issuing", "/readyz"):
        answer = lite.get(target)
        assert (answer.status, answer.text) == (503, "not available now\n")
    assert lite.get("/healthz").text == "ok\n"
    assert "pkiconf_database_up 0.0" in lite.get("/metrics").text


def test_a_bug_tells_nothing(lite: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(type(lite.pki.world.services.crls), "current", fail)
    answer = lite.get("/crl/issuing/1.crl")
    assert (answer.status, answer.text) == (500, "internal error\n")


NOTHING = (
    "/crl", "/crl/", "/crl/issuing", "/crl/issuing/", "/crl/nobody/1.crl", "/crl/issuing/2.crl", "/crl/issuing/0.crl",
    "/crl/issuing/01.crl", "/crl/issuing/-1.crl", "/crl/issuing/1.CRL", "/crl/issuing/1", "/crl/issuing/.crl",
    "/crl/issuing/1.crl.pem", "/crl/issuing/1.der", "/crl/issuing/9999999999.crl", "/crl/issuing/%C2%B9.crl",
    "/crl/issuing/1.crl/", "/crl/issuing/1/1.crl", "/crl/issuing%00/1.crl", "/crl/%00/1.crl", "/crl/%ff/1.crl",
    "/crl/issuing/1.crl%00", "/crl/issuing/%0d%0aX:%20y", "/ca/issuing/2.crt", "/ca/nobody/chain.p7c",
    "/ca/issuing/chain.crt", "/ca/issuing/1.p7c", "/ca/issuing/chain", "/ca/iss%00uing/1.crt", "/cps/nobody",
    "/cps/%00", "/cps/issuing", "/", "/index.html", "/ocsp", "//", "/crl/../../etc/passwd", "/%2e%2e/",
    "/" + "x" * 8000,
)  # fmt: skip


def test_what_there_is_not(client: Client) -> None:
    for target in NOTHING:
        answer = client.get(target)
        assert answer.status == 404, (target, answer.text)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "\r" not in answer.text
        assert len(answer.text) < 500


RESOURCES = ("/crl/issuing/1.crl", "/ca/issuing/1.crt", "/healthz", "/metrics", "/readyz")


def test_only_reading(lite: Client) -> None:
    for target in RESOURCES:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = lite.request(method, target, b"x")
            assert answer.status == 405
            assert {"GET", "HEAD"} <= {name.strip() for name in answer.headers["allow"].split(",")}
            assert "POST" not in answer.headers["allow"]
        assert lite.request("BREW", target).status in (400, 405)
        got, head = lite.get(target), lite.request("HEAD", target)
        assert (head.status, head.body, head.headers["content-type"]) == (200, b"", got.headers["content-type"])
        if target != "/metrics":
            assert head.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    "body", [b"garbage", b"\x30\x82\xff\xff\x00", b"\xff" * 10_000_000], ids=["text", "cut", "10MB"]
)
def test_bodies_nobody_asked_for(lite: Client, body: bytes) -> None:
    tables = ("certificate", "request", "audit_event", "job", '"key"', "crl", "service_certificate")
    lite.get("/crl/issuing/1.crl")
    before = [lite.pki.rows(table) for table in tables]
    for target in (*RESOURCES, "/ocsp/issuing", "/ocsp/nobody", "/cps/issuing", "/nothing"):
        for method in ("GET", "POST", "PUT"):
            answer = lite.request(method, target, body)
            if len(body) > 1000:
                assert answer.status == 413
            elif target == "/nothing":
                assert answer.status == 404
            elif target.startswith("/ocsp") and method != "PUT":
                assert (answer.status, answer.body) == (200, bytes.fromhex("30030a0101"))
            else:
                assert answer.status == {"GET": 404 if target == "/cps/issuing" else 200}.get(method, 405)
    assert [lite.pki.rows(table) for table in tables] == before


# --- certificates ---------------------------------------------------------------------------------------------------


def test_certificates(client: Client) -> None:
    der, pem = client.get("/ca/issuing/1.crt"), client.get("/ca/issuing/1.pem")
    assert der.headers["content-type"] == "application/pkix-cert"
    assert x509.load_der_x509_certificate(der.body) == x509.load_pem_x509_certificate(pem.body) == client.pki.issuer()
    assert "etag" in der.headers
    assert client.get("/ca/issuing/1.crt", if_none_match=der.headers["etag"]).status == 304


def test_chains(client: Client) -> None:
    bag, pem = client.get("/ca/issuing/chain.p7c"), client.get("/ca/issuing/chain.pem")
    assert bag.headers["content-type"].startswith("application/pkcs7-mime")
    expected = [client.pki.issuer("issuing"), client.pki.issuer("root")]
    assert x509.load_pem_x509_certificates(pem.body) == expected
    assert set(pkcs7.load_der_pkcs7_certificates(bag.body)) == set(expected)
    issued = x509.load_der_x509_certificate(client.pki.issue().der)
    aia = issued.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    urls = {d.access_method: d.access_location.value for d in aia}
    assert urls[x509.oid.AuthorityInformationAccessOID.CA_ISSUERS].endswith("/ca/issuing/1.crt")


@pytest.mark.row("F135")
@pytest.mark.row("F140")
def test_urls_in_certificates_are_those_that_answer(client: Client) -> None:
    issued = x509.load_der_x509_certificate(client.pki.issue().der)
    aia = issued.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    points = issued.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    full_name = points[0].full_name
    assert full_name is not None
    urls = [str(d.access_location.value) for d in aia] + [str(full_name[0].value)]
    assert len(urls) == 3
    for url in urls:
        assert url.startswith("http://pki.corp.example/")
        assert client.get(url.removeprefix("http://pki.corp.example")).status == 200


def test_practice_statements(lite: Client) -> None:
    text = "Wir prüfen.\n"
    lite.pki.world.apply(DECLARATION.replace("{name: issuing,", '{name: issuing, cps: {text: "Wir prüfen.\\n"},'))
    answer = lite.get("/cps/issuing")
    assert (answer.text, answer.headers["content-type"]) == (text, "text/plain; charset=utf-8")
    tag = answer.headers["etag"]
    assert lite.get("/cps/issuing", if_none_match=tag).status == 304
    lite.pki.world.apply(DECLARATION.replace("{name: issuing,", '{name: issuing, cps: {text: "Wir raten.\\n"},'))
    changed = lite.get("/cps/issuing", if_none_match=tag)
    assert (changed.status, changed.text) == (200, "Wir raten.\n")
    assert lite.get("/cps/root").status == 404


def test_pem_is_text(lite: Client) -> None:
    assert lite.get("/ca/root/1.pem").body == lite.pki.issuer("root").public_bytes(Encoding.PEM)
