"""Authorizations and challenges over HTTP (RFC 8555 §7.4.1, §7.5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pkiconf.model.acme import Identifier, IdentifierType, Problem, ProblemType
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.wire import BASE, Wire

NEW_AUTHZ = f"{BASE}/acme/new-authz"
NAME = "needs-proof.example"


def authorization_of(wire: Wire, name: str = NAME) -> str:
    """The URL of a pending one."""
    url: str = wire.order(name).json["authorizations"][0]
    return url


def test_an_authorization_as_the_rfc_wants_it(wire: Wire) -> None:
    """§7.1.4; a challenge's token has at least 128 bits."""
    url = authorization_of(wire)
    reply = wire.post(url)
    assert reply.status == 200
    made = reply.json
    assert made["identifier"] == {"type": "dns", "value": NAME}
    assert made["status"] == "pending"
    assert "wildcard" not in made
    assert made["expires"].endswith("Z")
    assert sorted(challenge["type"] for challenge in made["challenges"]) == ["dns-01", "http-01", "tls-alpn-01"]
    for challenge in made["challenges"]:
        assert challenge["url"] == f"{BASE}/acme/chall/{url.rsplit('/', 1)[1]}/{challenge['type']}"
        assert challenge["status"] == "pending"
        assert len(challenge["token"]) >= 22
        assert set(challenge) == {"type", "url", "status", "token"}


def test_a_wildcard_is_told_beside_its_name(wire: Wire) -> None:
    """§7.1.3: the label is not in the authorization; only DNS proves it."""
    made = wire.post(authorization_of(wire, f"*.{NAME}")).json
    assert made["identifier"]["value"] == NAME
    assert made["wildcard"] is True
    assert [challenge["type"] for challenge in made["challenges"]] == ["dns-01"]


def test_a_preapproved_name_is_valid_at_once(wire: Wire) -> None:
    """§7.1.3, §7.1.4: an authorization that a client finds valid."""
    made = wire.post(authorization_of(wire, "a.corp.example")).json
    assert (made["status"], made["identifier"]["value"]) == ("valid", "a.corp.example")


# --- challenges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [{}, {"keyAuthorization": "x"}, {"type": "dns-01", "zz": []}])
def test_a_challenge_is_accepted(wire: Wire, payload: dict[str, Any]) -> None:
    """§7.5.1: `{}`, and what clients from before the RFC put into it; the authorization is `up`."""
    url = authorization_of(wire)
    challenge = next(c for c in wire.post(url).json["challenges"] if c["type"] == "http-01")
    reply = wire.post(challenge["url"], payload)
    assert reply.status == 200
    assert f'<{url}>;rel="up"' in reply.all("link")
    assert reply.json["status"] == "processing"
    assert reply.json["url"] == challenge["url"]
    assert reply.headers["retry-after"].isdigit()
    assert wire.post(url).headers["retry-after"].isdigit()
    with nothing_changes(wire):  # §7.5.1: said again, it changes nothing
        assert wire.post(challenge["url"], {}).json == reply.json
        assert wire.post(challenge["url"]).json == reply.json


def test_a_challenge_is_looked_at_without_being_accepted(wire: Wire) -> None:
    """§6.3, §7.5.1: POST-as-GET begins nothing."""
    url = authorization_of(wire)
    with nothing_changes(wire):
        for challenge in wire.post(url).json["challenges"]:
            reply = wire.post(challenge["url"])
            assert (reply.status, reply.json) == (200, challenge)
            assert f'<{url}>;rel="up"' in reply.all("link")


def test_what_is_no_object_accepts_nothing(lite: Wire) -> None:
    """§7.5.1: the response is an object."""
    url = authorization_of(lite).replace("/authz/", "/chall/") + "/http-01"
    with nothing_changes(lite):
        for payload in (b"[]", b"null", b"7", b'"x"', b"{", b'{"a":1,"a":2}'):
            is_refusal(lite.post(url, payload), "malformed", 400, "the payload")


@pytest.mark.parametrize(
    ("type", "refusal"),
    [
        *((type, ("malformed", 404)) for type in ("dns-02", "HTTP-01", "device-attest-01", "x" * 500, "é")),
        ("%00", ("unauthorized", 403)),  # it was signed in another spelling than it arrived in
    ],
)
def test_another_challenge_is_not_there(lite: Wire, type: str, refusal: tuple[str, int]) -> None:
    """§7.5.1: 404; §6.4.1: unauthorized where the URL is not the one that was signed."""
    url = authorization_of(lite).replace("/authz/", "/chall/") + f"/{type}"
    with nothing_changes(lite):
        for reply in (lite.post(url), lite.post(url, {})):
            is_refusal(reply, *refusal)


def test_a_challenge_that_is_not_offered_is_not_there(lite: Wire) -> None:
    """§7.5.1, §7.1.4: 404."""
    url = authorization_of(lite, f"*.{NAME}").replace("/authz/", "/chall/") + "/http-01"
    with nothing_changes(lite):
        is_refusal(lite.post(url, {}), "malformed", 404)
        is_refusal(lite.post(url), "malformed", 404)


def test_accepted_by_many_at_once_it_is_one_job(wire: Wire) -> None:
    """§7.5.1, §8.2: one challenge of an authorization is processing, however many were answered."""
    url = authorization_of(wire)
    challenges = [challenge["url"] for challenge in wire.post(url).json["challenges"]] * 3
    before = wire.place.counts()["job"]
    requests = [(challenge, wire.signed(challenge, {})) for challenge in challenges]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda pair: wire.send_jws(*pair), requests))
    assert {reply.status for reply in replies} == {200}
    assert wire.place.counts()["job"] == before + 1
    states = [challenge["status"] for challenge in wire.post(url).json["challenges"]]
    assert states.count("processing") == 1


def test_what_was_found_is_shown(wire: Wire) -> None:
    """§7.1.6: the order becomes ready, the challenge says when."""
    order = wire.order(NAME)
    url = order.json["authorizations"][0]
    name = url.rsplit("/", 1)[1]
    assert wire.post(f"{BASE}/acme/chall/{name}/http-01", {}).status == 200
    wire.place.settle(name)
    made = wire.post(url).json
    assert made["status"] == "valid"
    assert [(c["type"], c["status"], c["validated"]) for c in made["challenges"]] == [
        ("http-01", "valid", "2030-01-01T12:00:00Z")
    ]
    assert wire.post(order.location).json["status"] == "ready"


def test_why_it_failed_is_shown(wire: Wire) -> None:
    """§7.1.6, §7.5.1: the challenge carries the problem, the order ends."""
    order = wire.order(NAME)
    url = order.json["authorizations"][0]
    name = url.rsplit("/", 1)[1]
    assert wire.post(f"{BASE}/acme/chall/{name}/http-01", {}).status == 200
    found = Problem(ProblemType.CONNECTION, "nobody answers at 192.0.2.1", Identifier(IdentifierType.DNS, NAME))
    wire.place.settle(name, found)
    made = wire.post(url).json
    assert made["status"] == "invalid"
    failed = next(challenge for challenge in made["challenges"] if challenge["status"] == "invalid")
    assert failed["error"]["type"] == "urn:ietf:params:acme:error:connection"
    assert failed["error"]["detail"] == "nobody answers at 192.0.2.1"
    assert "identifier" not in failed["error"]  # §6.7.1: in subproblems only
    ended = wire.post(order.location).json
    assert ended["status"] == "invalid"
    assert ended["error"]["detail"]
    assert "identifier" not in ended["error"]
    with nothing_changes(wire):
        is_refusal(wire.post(f"{BASE}/acme/chall/{name}/http-01", {}), "malformed", 400)


# --- deactivation ------------------------------------------------------------------------------------------------


def test_an_authorization_is_deactivated(wire: Wire) -> None:
    """§7.5.2."""
    order = wire.order(NAME)
    url = order.json["authorizations"][0]
    reply = wire.post(url, {"status": "deactivated"})
    assert (reply.status, reply.json["status"]) == (200, "deactivated")
    assert wire.post(order.location).json["status"] == "invalid"
    assert wire.post(url).json["status"] == "deactivated"


@pytest.mark.parametrize("payload", [{}, {"status": "valid"}, {"status": None}, {"zz": 1}])
def test_nothing_else_is_done_to_one(lite: Wire, payload: dict[str, Any]) -> None:
    """§7.5.2: malformed."""
    url = authorization_of(lite)
    with nothing_changes(lite):
        is_refusal(lite.post(url, payload), "malformed", 400, "deactivated")


def test_its_status_is_a_text(lite: Wire) -> None:
    """§7.5.2: malformed."""
    url = authorization_of(lite)
    with nothing_changes(lite):
        for value in (7, ["deactivated"], {"a": 1}, True):
            is_refusal(lite.post(url, {"status": value}), "malformed", 400, "'status' is not a string")


# --- pre-authorization -------------------------------------------------------------------------------------------


def test_a_name_is_proved_before_it_is_ordered(wire: Wire) -> None:
    """§7.4.1: 201 with Location, and 200 for one that stands."""
    made = wire.post(NEW_AUTHZ, {"identifier": {"type": "dns", "value": NAME}})
    assert made.status == 201
    assert made.json["status"] == "pending"
    assert made.location.startswith(f"{BASE}/acme/authz/")
    again = wire.post(NEW_AUTHZ, {"identifier": {"type": "dns", "value": NAME.upper()}})
    assert (again.status, again.location) == (200, made.location)
    assert wire.order(NAME).json["authorizations"] == [made.location]
    ready = wire.post(NEW_AUTHZ, {"identifier": {"type": "dns", "value": "a.corp.example"}})
    assert (ready.status, ready.json["status"]) == (201, "valid")


REFUSED: dict[str, tuple[Any, str, int]] = {
    "nothing": ({}, "malformed", 400),
    "a text": ({"identifier": NAME}, "malformed", 400),
    "a list": ({"identifier": [{"type": "dns", "value": NAME}]}, "malformed", 400),
    "no value": ({"identifier": {"type": "dns"}}, "malformed", 400),
    "a wildcard": ({"identifier": {"type": "dns", "value": f"*.{NAME}"}}, "malformed", 400),
    "another type": ({"identifier": {"type": "email", "value": "a@b.example"}}, "unsupportedIdentifier", 400),
    "no name": ({"identifier": {"type": "dns", "value": "a b"}}, "rejectedIdentifier", 403),
}


@pytest.mark.parametrize(("wish", "problem", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_authorized(lite: Wire, wish: Any, problem: str, status: int) -> None:
    """§7.4.1; §6.7 for types and statuses."""
    with nothing_changes(lite):
        is_refusal(lite.post(NEW_AUTHZ, wish), problem, status)
