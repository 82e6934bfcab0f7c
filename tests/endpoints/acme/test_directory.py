"""The directory (RFC 8555 §7.1.1), new-nonce (§7.2), and headers for browsers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.endpoints.acme.refusals import INDEX, is_refusal, nothing_changes
from tests.endpoints.acme.wire import BASE, Wire, declare_settings, make_wire

PLAIN = {
    "newNonce": f"{BASE}/acme/new-nonce",
    "newAccount": f"{BASE}/acme/new-account",
    "newOrder": f"{BASE}/acme/new-order",
    "newAuthz": f"{BASE}/acme/new-authz",
    "revokeCert": f"{BASE}/acme/revoke-cert",
    "keyChange": f"{BASE}/acme/key-change",
    "renewalInfo": f"{BASE}/acme/renewal-info",
}


def parts(directory: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: url for name, url in directory.items() if name != "meta"}, directory["meta"]


@pytest.mark.row("F98")
def test_one_directory_for_all_and_one_for_each_policy(wire: Wire) -> None:
    """§7.1.1."""
    common = wire.get("/acme/directory")
    assert common.status == 200
    assert common.headers["content-type"] == "application/json"
    urls, meta = parts(common.json)
    assert urls == PLAIN
    assert meta["externalAccountRequired"] is True
    own = wire.get("/acme/p/internal/directory")
    urls, meta = parts(own.json)
    assert urls == {**PLAIN, "newAccount": f"{BASE}/acme/p/internal/new-account"}
    assert meta["externalAccountRequired"] is False
    for reply in (common, own):
        assert INDEX not in reply.all("link")
        assert b", " not in reply.body
        assert b": " not in reply.body


@pytest.mark.row("F99")
def test_a_policy_that_wants_bindings_says_so(lite: Wire) -> None:
    """§7.1.1, §7.3.4: externalAccountRequired."""
    lite.place.policy("closed", external_account_required=True)
    assert lite.get("/acme/p/closed/directory").json["meta"]["externalAccountRequired"] is True


def test_profiles_are_told_where_it_is_clear_whose(lite: Wire) -> None:
    """draft-ietf-acme-profiles: at the policy's directory, and at the common one while there is one policy."""
    profiles = {"default": "Certificates of the template issuing/web-server"}
    assert lite.get("/acme/directory").json["meta"]["profiles"] == profiles
    lite.place.policy("two", template=None, profiles={"b": "issuing/web-server", "a": "issuing/web-server"})
    assert "profiles" not in lite.get("/acme/directory").json["meta"]
    assert lite.get("/acme/p/internal/directory").json["meta"]["profiles"] == profiles
    assert list(lite.get("/acme/p/two/directory").json["meta"]["profiles"]) == ["a", "b"]
    lite.place.policy("two", profiles={"b": "issuing/web-server"}, template=None, state="absent")
    assert lite.get("/acme/directory").json["meta"]["profiles"] == profiles


@pytest.mark.row("F114")
def test_the_settings_are_told_as_they_are_now(lite: Wire) -> None:
    """§7.1.1: URLs, termsOfService, website and caaIdentities."""
    meta = lite.get("/acme/directory").json["meta"]
    assert {"termsOfService", "website", "caaIdentities"}.isdisjoint(meta)
    acme = {
        "terms_of_service": "http://new.example/terms", "website": "http://new.example/",
        "caa_identities": ["pki.new.example"],
    }  # fmt: skip
    declare_settings(lite.place, base_url="http://new.example/", acme=acme)
    told = lite.get("/acme/directory").json
    assert told["newNonce"] == "http://new.example/acme/new-nonce"
    assert told["meta"]["termsOfService"] == "http://new.example/terms"
    assert told["meta"]["website"] == "http://new.example/"
    assert told["meta"]["caaIdentities"] == ["pki.new.example"]


@pytest.mark.parametrize("name", ["unknown", "Internal", "%00", "..", "a" * 65, "internal%2F", "é"])
def test_an_unknown_policy_has_no_directory(wire: Wire, name: str) -> None:
    """§7.1.1, §6.7: malformed, 404."""
    with nothing_changes(wire):
        reply = wire.get(f"/acme/p/{name}/directory")
    assert (reply.problem, reply.status) == ("malformed", 404)


def test_the_host_of_a_request_is_not_repeated(lite: Wire) -> None:
    """§7.1.1, §6.4: URLs are the configured ones, whatever Host a request has."""
    for headers in ({"host": "evil.example"}, {"x_forwarded_host": "evil.example", "x_forwarded_proto": "https"}):
        for path in ("/acme/directory", "/acme/new-nonce", "/acme/nothing"):
            reply = lite.get(path, **headers)
            assert "evil" not in str(reply.lines) + reply.body.decode()


def test_every_answer_but_the_directory_points_to_it(wire: Wire) -> None:
    """§7.1: one line for each link, in the strict form."""
    order = wire.issued("a.corp.example")
    for url in (wire.account, order.location, order.json["certificate"], *order.json["authorizations"]):
        assert INDEX in wire.post(url).all("link")
    assert INDEX in wire.get("/acme/new-nonce").all("link")
    assert INDEX not in wire.send("HEAD", "/acme/directory").all("link")


# --- §7.2 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
def test_new_nonce(wire: Wire, method: str, status: int) -> None:
    """§7.2: 200 for HEAD and 204 for GET, no-store, another nonce each time; §6.5.1: base64url."""
    before = wire.place.state()
    first, second = (wire.send(method, "/acme/new-nonce") for _ in range(2))
    for reply in (first, second):
        assert reply.status == status
        assert reply.body == b""
        assert reply.headers["cache-control"] == "no-store"
        assert [len(nonce) for nonce in reply.all("replay-nonce")] == [43]
    assert first.headers["replay-nonce"] != second.headers["replay-nonce"]
    assert wire.place.state() == before


def test_directory_and_new_nonce_are_fetched_by_post_too(lite: Wire) -> None:
    """§6.3: the server MUST allow GET for these "in addition to POST-as-GET"."""
    assert lite.post(f"{BASE}/acme/directory").json == lite.get("/acme/directory").json
    assert lite.post(f"{BASE}/acme/p/internal/directory").json == lite.get("/acme/p/internal/directory").json
    reply = lite.post(f"{BASE}/acme/new-nonce")
    assert reply.status == 204
    assert reply.all("replay-nonce")
    with nothing_changes(lite):
        is_refusal(lite.post(f"{BASE}/acme/directory", {}), "malformed", 400)


# --- browsers ----------------------------------------------------------------------------------------------------

EXPOSED = "Link, Replay-Nonce, Location, Retry-After"


def test_a_browser_may_read_what_it_needs(lite: Wire) -> None:
    """§6.1: Access-Control-Allow-Origin, also of errors."""
    for reply in (
        lite.get("/acme/directory"), lite.get("/acme/new-nonce"), lite.order("a.corp.example"), lite.order(),
        lite.get("/acme/nothing"), lite.get("/acme/new-order"), lite.send("POST", "/acme/new-order"),
    ):  # fmt: skip
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["access-control-expose-headers"] == EXPOSED
        assert "access-control-allow-credentials" not in reply.headers


def test_a_browser_asks_beforehand(lite: Wire) -> None:
    """§6.1: the request before a POST of application/jose+json."""
    reply = lite.send(
        "OPTIONS",
        "/acme/new-order",
        headers={"origin": "http://x.example", "access_control_request_method": "POST",
                 "access_control_request_headers": "content-type"},
    )  # fmt: skip
    assert reply.status == 200
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "Content-Type"
    assert reply.headers["access-control-max-age"] == "86400"


def test_other_protocols_have_none_of_these_headers(lite: Wire) -> None:
    """§6.1, §6.5, §7.1: they are of ACME's resources."""
    for path in ("/crl/issuing/1.crl", "/healthz", "/acmes", "/nothing"):
        names = set(lite.get(path).headers)
        assert {"replay-nonce", "access-control-allow-origin", "link"}.isdisjoint(names)
        assert "problem" not in lite.get(path).headers["content-type"]


def test_the_listener_for_operations_speaks_no_acme(lite: Wire) -> None:
    """§7.1.1: there is no directory."""
    from pkiconf.endpoints.app import create_operations_app
    from pkiconf.settings import ProcessSettings

    other = make_wire(lite.place)
    other.app = create_operations_app(lite.place.world.services, ProcessSettings())
    assert other.get("/acme/directory").status == 404
