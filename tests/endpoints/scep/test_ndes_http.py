"""The page over HTTP: who gets it, in which spellings, and what it costs to be wrong."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from pkiconf.endpoints.app import create_app
from pkiconf.settings import ProcessSettings
from pkiconf.store import authorities
from pkiconf.store.audit import list_events
from tests.endpoints.client import Answer, Client
from tests.endpoints.scep.test_ndes_pages import EXTRACTORS, by_mark, fleet
from tests.revocation.pki import PKI
from tests.scep.place import PASSWORD, declared, environment, terms_of
from tests.wholeness import rows
from tests.world import World

USER = "CORP\\svc-mdm"
PATH = "/certsrv/issuing/device/mscep_admin/"
AUTH = "basic_auth: { username: 'CORP\\svc-mdm', password: !env PASSWORD }"
NDES = f"{{ enabled: true, ndes: {{ enabled: true, {AUTH}%s }}%s }}"


def basic(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Page:
    def __init__(self, world: World, ndes: str = "", scep: str = "", **settings: Any) -> None:
        declared(world, NDES % (ndes, scep))
        self.world = world
        self.client = Client(create_app(world.services, ProcessSettings(**settings)), PKI(world))

    def ask(
        self,
        path: str = PATH,
        *,
        method: str = "GET",
        authorization: str | None = basic(),
        peer: str = "192.0.2.7",
        scheme: str = "https",
        **headers: str,
    ) -> Answer:
        if authorization is not None:
            headers["authorization"] = authorization
        body = b"operation=GetCACaps" if method == "POST" else b""
        return self.client.request(method, path, body, headers, peer=peer, environ={"wsgi.url_scheme": scheme})

    def challenges(self) -> int:
        return int(rows(self.world.services, "SELECT count(*) FROM scep_challenge")[0][0])


@pytest.mark.row("F82", "F83", "F123", "F124")
def test_who_may_gets_a_page_with_a_challenge_that_lets_in(world: World) -> None:
    page = Page(world)
    answer = page.ask()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "content-encoding" not in answer.headers
    found = {extract(answer.body) for extract in EXTRACTORS}
    assert len(found) == 1
    one = world.services.scep.challenges.find(terms_of(world).template_id, found.pop())
    assert one is not None
    assert one.row.created_by == f"ndes:{USER}"


def test_each_request_gives_another(world: World) -> None:
    page = Page(world)
    assert len({fleet(page.ask().body) for _ in range(3)}) == 3


def test_the_thumbprint_is_md5_of_the_issuing_certificate(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    issuer_id = terms_of(sqlite_world).place.issuer_id
    assert issuer_id is not None
    own = sqlite_world.parts.db.read(lambda c: authorities.find_ca_certificate(c, issuer_id))
    assert own is not None
    digest = hashlib.md5(own.der, usedforsecurity=False).hexdigest().upper()
    assert " ".join(digest[at : at + 8] for at in (0, 8, 16, 24)) in by_mark(page.ask().body)


@pytest.mark.row("F82")
@pytest.mark.parametrize(
    "path",
    [
        "/CertSrv/issuing/device/mscep_admin/",
        "/CERTSRV/ISSUING/DEVICE/MSCEP_ADMIN/",
        "/certsrv/Issuing/Device/Mscep_Admin/?x=y",
        "//certsrv//issuing//device//mscep_admin//",
    ],
)
def test_paths_are_taken_in_any_case(sqlite_world: World, path: str) -> None:
    assert fleet(Page(sqlite_world).ask(path).body)


def test_without_its_slash_one_is_sent_there(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    assert page.ask(PATH[:-1], authorization=None).status == 401
    answer = page.ask(PATH[:-1])
    assert (answer.status, answer.headers["location"]) == (301, "mscep_admin/")
    assert page.challenges() == 0


def test_post_is_as_get_and_head_makes_none(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    assert fleet(page.ask(method="POST").body)
    assert page.ask(method="HEAD").status == 405
    assert page.challenges() == 1


@pytest.mark.row("F83", "F124")
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Bearer " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
        "Negotiate TlRMTVNTUAABAAAA",
        basic("svc-mdm"),
        basic("corp\\svc-mdm"),
        basic(USER, ""),
        basic(USER, PASSWORD + "x"),
        basic("", PASSWORD),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    ],
)
def test_who_may_not_is_asked_for_a_password(sqlite_world: World, authorization: str | None) -> None:
    page = Page(sqlite_world)
    answer = page.ask(authorization=authorization)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="')
    assert page.challenges() == 0


@pytest.mark.parametrize("authorization", [basic().replace("Basic", "BASIC"), basic().replace("Basic ", "basic   ")])
def test_the_scheme_is_taken_in_any_case(sqlite_world: World, authorization: str) -> None:
    assert Page(sqlite_world).ask(authorization=authorization).status == 200


def test_a_password_may_hold_colons_and_umlauts(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    with environment(PASSWORD="pässwörd:with:colons"):
        declared(sqlite_world, NDES % ("", ""), PASSWORD="pässwörd:with:colons")
    assert page.ask(authorization=basic(USER, "pässwörd:with:colons")).status == 200
    latin = base64.b64encode(f"{USER}:pässwörd:with:colons".encode("latin-1")).decode()
    assert page.ask(authorization=f"Basic {latin}").status == 200


def test_wrong_passwords_are_limited(sqlite_world: World) -> None:
    page = Page(sqlite_world, scep=", tries: { count: 2, per: 10m }")
    for _ in range(2):
        assert page.ask(authorization=basic(USER, "wrong")).status == 401
    assert page.ask().status == 429
    assert page.ask(authorization=None).status == 401
    assert page.ask(peer="192.0.2.8").status == 200
    page.world.pass_time(timedelta(minutes=10))
    assert page.ask().status == 200


@pytest.mark.row("F83")
def test_a_password_is_asked_for_over_tls_only(sqlite_world: World) -> None:
    page = Page(sqlite_world, trusted_proxies="10.9.0.0/16")
    answer = page.ask(scheme="http")
    assert answer.status == 403
    assert "https only" in answer.text
    assert "www-authenticate" not in answer.headers
    assert page.ask(scheme="http", x_forwarded_proto="https").status == 403  # anybody can write that
    assert page.ask(scheme="http", peer="10.9.1.1", x_forwarded_for="192.0.2.7").status == 403

    def proxied(said: str) -> int:
        answer = page.ask(scheme="http", peer="10.9.1.1", x_forwarded_for="192.0.2.7", x_forwarded_proto=said)
        return answer.status

    assert [proxied(said) for said in ("http", "", "ftp", "https, http", "https,")] == [403] * 5
    assert page.challenges() == 0
    assert [proxied(said) for said in ("https", "http, HTTPS")] == [200, 200]
    assert page.ask(scheme="http", peer="127.0.0.1").status == 200
    assert page.ask(scheme="http", peer="::1").status == 200


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "via"])
def test_a_proxy_on_this_machine_that_nobody_trusts_is_not_this_machine(sqlite_world: World, header: str) -> None:
    page = Page(sqlite_world)
    for peer in ("127.0.0.1", "::1"):
        for said in ("127.0.0.1", "1.1 proxy", ""):
            answer = page.ask(scheme="http", peer=peer, **{header: said})
            assert (answer.status, "https only" in answer.text) == (403, True)
    assert page.challenges() == 0
    assert page.ask(peer="127.0.0.1", **{header: "192.0.2.7"}).status == 200


@pytest.mark.row("F125", "F130")
def test_it_is_for_listed_networks_only(sqlite_world: World) -> None:
    acl = ", ip_acl: { allow: [10.20.0.0/16, '2001:db8::/48'], applies_to: ndes }"
    page = Page(sqlite_world, scep=acl, trusted_proxies="10.9.0.0/16")
    assert page.ask(peer="10.20.1.1").status == 200
    assert page.ask(peer="2001:db8::5").status == 200
    assert page.ask(peer="10.9.0.1", x_forwarded_for="10.20.1.1").status == 200
    made = page.challenges()
    refused: tuple[tuple[str, dict[str, str]], ...] = (
        ("192.0.2.7", {}),
        ("2001:db8:1::5", {}),
        ("127.0.0.1", {}),
        ("192.0.2.7", {"x_forwarded_for": "10.20.1.1"}),  # nobody trusts this peer
        ("192.0.2.7", {"x_real_ip": "10.20.1.1", "forwarded": "for=10.20.1.1", "x_client_ip": "10.20.1.1"}),
        ("10.9.0.1", {"x_forwarded_for": "10.20.1.1, 192.0.2.7"}),  # the client wrote the first one itself
        ("10.9.0.1", {"x_forwarded_for": "192.0.2.7"}),
    )
    for peer, headers in refused:
        answer = page.ask(peer=peer, authorization=basic(), **headers)
        assert (answer.status, "not offered to your address" in answer.text) == (403, True), peer
        assert "www-authenticate" not in answer.headers
    assert page.challenges() == made


@pytest.mark.row("F122")
def test_a_full_cache_is_a_page_too(world: World) -> None:
    page = Page(world, ndes=", max_outstanding: 2, challenge_ttl: 10m")
    assert fleet(page.ask().body)
    assert fleet(page.ask().body)
    answer = page.ask()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert "The password cache is full." in by_mark(answer.body)
    assert fleet(answer.body) == ""
    world.pass_time(timedelta(minutes=10))
    assert "expire within 10 minutes" in by_mark(page.ask().body)


def test_a_template_that_issues_nothing_gives_no_challenge(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    with environment(PASSWORD=PASSWORD):
        sqlite_world.apply(
            "authorities: [{ name: root }, { name: issuing, issuer: root }]\n"
            "templates: [{ name: device, authority: issuing, enabled: false }]"
        )
    answer = page.ask()
    assert answer.status == 200
    assert "You do not have sufficient permission to enroll with SCEP.  Please" in by_mark(answer.body)
    assert page.challenges() == 0


@pytest.mark.parametrize(
    "path",
    [
        "/certsrv/issuing/web-server/mscep_admin/",
        "/certsrv/issuing/nothing/mscep_admin/",
        "/certsrv/nothing/device/mscep_admin/",
        "/certsrv/issuing/device%00/mscep_admin/",
        "/certsrv/mscep_admin/",
        "/certsrv/",
    ],
)
def test_where_there_is_no_page(sqlite_world: World, path: str) -> None:
    assert Page(sqlite_world).ask(path).status == 404


def test_off_it_is_not_there(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    declared(sqlite_world, "{ ndes: { enabled: false }, challenges: true }")
    assert page.ask().status == 404


def test_utf_8_for_scripts_of_ones_own(sqlite_world: World) -> None:
    answer = Page(sqlite_world, ndes=", encoding: utf-8").ask()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "The enrollment challenge password is: <B> " in answer.text


def test_who_fetched_is_in_the_audit_log_and_the_challenge_is_not(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    challenge = fleet(page.ask().body)
    events = sqlite_world.parts.db.read(lambda c: list_events(c, limit=1000))
    (event,) = [event for event in events if event.fields["action"] == "template.scep-challenge"]
    assert event.fields["actor"] == f"ndes:{USER}"
    assert event.fields["address"] == "template/issuing/device"
    assert event.fields["proved_by"] == "basic-authentication"
    assert challenge not in event.body


def test_the_url_of_devices_tells_a_browser_where_to_go(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    answer = page.ask("/certsrv/issuing/device/mscep/mscep.dll", authorization=None)
    assert answer.status == 200
    assert PATH in by_mark(answer.body)
    assert fleet(answer.body) == ""
    assert page.ask("/scep/issuing/device", authorization=None).status == 400
    assert page.challenges() == 0
