"""What every POST has to be (RFC 8555 §6.1 to §6.7): refused with the right problem, a fresh nonce, and no trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.acme.accounts import account_actor
from pkiconf.endpoints.acme.door import LARGEST_BODY
from pkiconf.endpoints.acme.jws import SIGNATURE_ALGORITHMS
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.wire import (
    BASE,
    JOSE,
    Key,
    Wire,
    b64,
    compact,
    declare_settings,
    es256,
    flattened,
    keys_of_every_kind,
    unb64,
)
from tests.world import OPERATOR

NEW_ORDER = f"{BASE}/acme/new-order"
NEW_ACCOUNT = f"{BASE}/acme/p/internal/new-account"
WISH = {"identifiers": [{"type": "dns", "value": "a.corp.example"}]}
EVERY_POST = (
    "/acme/directory", "/acme/p/internal/directory", "/acme/new-nonce", "/acme/new-account",
    "/acme/p/internal/new-account", "/acme/acct/x", "/acme/acct/x/orders", "/acme/key-change", "/acme/new-order",
    "/acme/order/x", "/acme/order/x/finalize", "/acme/new-authz", "/acme/authz/x", "/acme/chall/x/http-01",
    "/acme/cert/x", "/acme/cert/x/1", "/acme/revoke-cert",
)  # fmt: skip


# --- §6.2: what is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY_POST)
def test_a_post_without_a_jws_is_refused_everywhere(lite: Wire, path: str) -> None:
    """§6.2, §6.3: no POST-as-GET without a signature."""
    before = lite.place.state()
    for body in (b"", b"{}", compact(WISH), b"[]", b"\xff"):
        is_refusal(lite.send("POST", path, body, {"content_type": JOSE}), "malformed", 400)
    assert lite.place.state() == before


@pytest.mark.parametrize("kind", ["", "application/json", "application/jose", "text/plain", "application/jose+json2"])
def test_another_media_type_is_refused(lite: Wire, kind: str) -> None:
    """§6.2: 415."""
    before = lite.place.state()
    reply = lite.send_jws("/acme/new-order", lite.signed(NEW_ORDER, WISH), content_type=kind)
    is_refusal(reply, "malformed", 415, "application/jose+json")
    assert lite.place.state() == before


def test_the_media_type_may_have_parameters(lite: Wire) -> None:
    """§6.2, RFC 9110 §8.3.1: in any case of letters, too."""
    reply = lite.send_jws(
        "/acme/new-order", lite.signed(NEW_ORDER, WISH), content_type="Application/JOSE+json; charset=utf-8"
    )
    assert reply.status == 201


def _nested(wire: Wire) -> bytes:
    return compact(wire.signed(NEW_ORDER, b'{"identifiers":' + b"[" * 20_000 + b"]" * 20_000 + b"}"))


HUGE: dict[str, tuple[Callable[[Wire], bytes], str, int]] = {
    "10 MB of nothing": (lambda _: b" " * 10_000_000, "malformed", 413),
    "just above the limit": (lambda _: b" " * (LARGEST_BODY + 1), "malformed", 413),
    "nested, in the JWS": (lambda _: b'{"payload":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "malformed", 400),
    "nested, in the payload": (_nested, "malformed", 400),
    "a nonce of 60 kB": (lambda w: compact(w.signed(NEW_ORDER, WISH, nonce="a" * 60_000)), "badNonce", 400),
    "a url of 60 kB": (lambda w: compact(w.signed(NEW_ORDER + "a" * 60_000, WISH)), "unauthorized", 403),
    "a kid of 60 kB": (
        lambda w: compact(w.signed(NEW_ORDER, WISH, kid=w.account + "a" * 60_000)), "accountDoesNotExist", 400,
    ),
    "an alg of 60 kB": (lambda w: compact(w.signed(NEW_ORDER, WISH, alg="a" * 60_000)), "badSignatureAlgorithm", 400),
    "a member of 60 kB": (lambda w: compact({**w.signed(NEW_ORDER, WISH), "a" * 60_000: 1}), "malformed", 400),
    "a signature of 60 kB": (
        lambda w: compact({**w.signed(NEW_ORDER, WISH), "signature": "A" * 60_000}), "unauthorized", 403,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "problem", "status"), HUGE.values(), ids=HUGE.keys())
def test_oversized_things_are_refused(lite: Wire, make: Callable[[Wire], bytes], problem: str, status: int) -> None:
    """§6.7: malformed, 413 for a body that is not read."""
    before = lite.place.state()
    reply = lite.send("POST", "/acme/new-order", make(lite), {"content_type": JOSE})
    is_refusal(reply, problem, status)
    assert len(reply.body) < 1500
    assert lite.place.state() == before


def test_a_body_without_a_length_is_read_no_further_than_allowed(lite: Wire) -> None:
    """§6.7: malformed, 413."""
    chunked = {"content_type": JOSE, "transfer_encoding": "chunked"}
    with nothing_changes(lite):
        is_refusal(lite.send("POST", "/acme/new-order", b" " * (LARGEST_BODY + 5), chunked), "malformed", 413)


# --- §6.2: the header --------------------------------------------------------------------------------------------

HEADERS: dict[str, tuple[dict[str, Any], str, int, str]] = {
    "neither jwk nor kid": ({"kid": None}, "malformed", 400, "exactly one of jwk and kid"),
    "kid is null": ({"kid": "", "jwk": None}, "accountDoesNotExist", 400, "register"),
    "kid is a number": ({"kid": 7}, "malformed", 400, "'kid' is not a string"),
    "kid is a list": ({"kid": [BASE]}, "malformed", 400, "'kid' is not a string"),
    "no nonce": ({"nonce": None}, "badNonce", 400, "no nonce"),
    "nonce is a number": ({"nonce": 7}, "malformed", 400, "'nonce' is not a string"),
    "an empty nonce": ({"nonce": ""}, "badNonce", 400, "try again with the one in this answer"),
    "a nonce of somebody else": ({"nonce": "oFvnlFP1wIhRlYS2jTaXbA"}, "badNonce", 400, "none that this server made"),
    "a nonce with NUL": ({"nonce": "\0" * 43}, "malformed", 400, "NUL"),
    "url is a number": ({"url": 7}, "malformed", 400, "'url' is not a string"),
    "crit": ({"crit": ["exp"], "exp": 5}, "malformed", 400, "'crit'"),
    "b64": ({"b64": False}, "malformed", 400, "'b64'"),
}


@pytest.mark.parametrize(("different", "problem", "status", "words"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_not_as_it_should_be(
    lite: Wire, different: dict[str, Any], problem: str, status: int, words: str
) -> None:
    """§6.2, §6.4.1, §6.5.2."""
    before = lite.place.state()
    reply = lite.post(NEW_ORDER, WISH, **{"kid": lite.account, **different})
    is_refusal(reply, problem, status, words)
    assert lite.place.state() == before


def test_jwk_and_kid_together_are_refused(lite: Wire) -> None:
    """§6.2: mutually exclusive."""
    before = lite.place.state()
    for url in (NEW_ORDER, NEW_ACCOUNT, f"{BASE}/acme/revoke-cert"):
        is_refusal(lite.post(url, WISH, kid=lite.account, jwk=lite.key.jwk), "malformed", 400, "exactly one")
    assert lite.place.state() == before


def test_jwk_where_kid_belongs_and_the_other_way_round(lite: Wire) -> None:
    """§6.2: newAccount takes jwk, the others kid, also with a key that has an account."""
    before = lite.place.state()
    is_refusal(lite.post(NEW_ORDER, WISH, jwk=lite.key.jwk), "malformed", 400, "where kid belongs")
    is_refusal(lite.post(lite.account, "", jwk=lite.key.jwk), "malformed", 400, "where kid belongs")
    is_refusal(lite.post(NEW_ACCOUNT, {"onlyReturnExisting": True}), "malformed", 400, "where jwk belongs")
    assert lite.place.state() == before


# --- §6.2: algorithms and keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "HS256", "HS512", "ES256K", "RS1"])
def test_other_algorithms_are_refused_with_those_there_are(lite: Wire, alg: str) -> None:
    """§6.2: badSignatureAlgorithm with `algorithms`."""
    before = lite.place.state()
    for url, who in ((NEW_ORDER, {"kid": lite.account}), (NEW_ACCOUNT, {"jwk": es256().jwk})):
        for signature in (b"", b"x" * 64):
            jws = flattened(lite.header(url, alg=alg, **who), compact(WISH), lambda _, s=signature: s)
            reply = lite.send_jws(url, jws)
            is_refusal(reply, "badSignatureAlgorithm", 400)
            assert reply.json["algorithms"] == list(SIGNATURE_ALGORITHMS)
            assert {"ES256", "EdDSA", "RS256"} <= set(reply.json["algorithms"])
    assert lite.place.state() == before


def test_an_algorithm_that_does_not_fit_the_key(lite: Wire) -> None:
    """§6.2."""
    before = lite.place.state()
    jws = flattened(lite.header(NEW_ORDER, alg="ES384"), compact(WISH), lambda _: bytes(96))
    is_refusal(lite.send_jws(NEW_ORDER, jws), "badSignatureAlgorithm", 400, "does not fit the key")
    assert lite.place.state() == before


@pytest.mark.parametrize("name", ["ES384", "ES512", "Ed25519", "Ed448", "RS256", "RS512", "PS256"])
def test_every_kind_of_account_key_works(lite: Wire, name: str) -> None:
    """§6.2: at least ES256, EdDSA and RS256."""
    client = Wire(lite.app, lite.place, keys_of_every_kind()[name])
    assert client.register().status == 201
    assert client.post(client.account).json["status"] == "valid"
    assert client.order("a.corp.example").status == 201


def test_a_signature_that_does_not_hold(lite: Wire) -> None:
    """§6.2."""
    before = lite.place.state()
    jws = lite.signed(NEW_ORDER, WISH)
    other = compact({"identifiers": [{"type": "dns", "value": "b.corp.example"}]})
    is_refusal(lite.send_jws(NEW_ORDER, {**jws, "payload": b64(other)}), "unauthorized", 403, "does not hold")
    is_refusal(lite.post(NEW_ORDER, WISH, key=es256()), "unauthorized", 403, "does not hold")
    is_refusal(lite.post(NEW_ACCOUNT, {}, key=es256(), jwk=lite.key.jwk), "unauthorized", 403, "does not hold")
    assert lite.place.state() == before


def test_a_failed_signature_does_not_even_use_up_the_nonce(lite: Wire) -> None:
    """§6.2, §6.5. Who cannot sign writes nothing at all; the nonce stays good for who can."""
    nonce = lite.nonce()
    with nothing_changes(lite):
        is_refusal(lite.post(NEW_ORDER, WISH, key=es256(), nonce=nonce), "unauthorized", 403)
    assert lite.post(NEW_ORDER, WISH, nonce=nonce).status == 201


def test_a_payload_is_not_looked_at_before_its_signature(lite: Wire) -> None:
    """§6.2: unauthorized before malformed."""
    with nothing_changes(lite):
        is_refusal(lite.post(NEW_ORDER, b"\xff{", key=es256()), "unauthorized", 403)
        is_refusal(lite.post(NEW_ORDER, b"\xff{"), "malformed", 400, "the payload is not UTF-8")


# --- §6.4: the URL -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "", "/acme/new-order", BASE, f"{NEW_ORDER}/", f"{NEW_ORDER}?", f"{NEW_ORDER}?x=1", f"{NEW_ORDER}#x",
        f"{BASE}/acme/new-authz", f"{BASE}/ACME/new-order", f"{BASE}//acme/new-order", "http://evil.example/acme/new-order",
        "https://127.0.0.1:8000/acme/new-order", "http://127.0.0.1/acme/new-order", f"{BASE}/acme/%6eew-order",
        f"{BASE}/acme/x/../new-order", f" {NEW_ORDER}", "http://localhost:8000/acme/new-order",
    ],
)  # fmt: skip
def test_a_url_that_is_not_the_one_it_was_sent_to(lite: Wire, url: str) -> None:
    """§6.4. The request's Host header, evil.example here, counts for nothing."""
    before = lite.place.state()
    is_refusal(lite.post(url, WISH, to=NEW_ORDER), "unauthorized", 403, "url in the protected header")
    assert lite.place.state() == before


def test_no_url_is_malformed(lite: Wire) -> None:
    """§6.4.1."""
    jws = flattened({"alg": "ES256", "kid": lite.account, "nonce": lite.nonce()}, compact(WISH), lite.key.sign)
    with nothing_changes(lite):
        is_refusal(lite.send_jws(NEW_ORDER, jws), "malformed", 400, "no url")


def test_a_request_that_is_sent_elsewhere_is_refused(lite: Wire) -> None:
    """§6.4. One signed for an order's URL does not finalize it."""
    order = lite.order("a.corp.example")
    before = lite.place.state()
    is_refusal(lite.post(order.location, {"csr": ""}, to=order.json["finalize"]), "unauthorized", 403)
    is_refusal(lite.post(order.location, "", to=f"{order.location}?x"), "unauthorized", 403)
    assert lite.place.state() == before


def test_the_base_may_change_under_a_running_server(lite: Wire) -> None:
    """§6.4. The old one is refused after a second, the new one taken at once."""
    declare_settings(lite.place, base_url="http://pki.other.example")
    url = "http://pki.other.example/acme/new-order"
    account = lite.account.replace(BASE, "http://pki.other.example")
    assert lite.post(url, WISH, to="/acme/new-order", kid=account).status == 201
    with nothing_changes(lite):
        reply = lite.post(NEW_ORDER, WISH)
        assert (reply.problem, reply.status) == ("unauthorized", 403)


# --- §6.2: kid ---------------------------------------------------------------------------------------------------


def _kids(account: str) -> list[str]:
    name = account.rsplit("/", 1)[1]
    return [
        "", name, f"/acme/acct/{name}", f"{account}/", f"{account}x", account[:-1], f"{account}/orders", f"{account}?x",
        f"{account}#", f"{account}%20", account.upper(), f"{BASE}/acme/acct/", f"{BASE}/acme/acct/../acct/{name}",
        account.replace("127.0.0.1", "evil.example"), account.replace("http:", "https:"),
        f"{BASE}.evil/acme/acct/{name}",
        f"{BASE}/acme/acct//{name}", f"{BASE}/acme/order/{name}", f"{account}\n", f"{BASE}/acme/acct/{name}é",
        f"{BASE}/acme/acct/%{name}", f"{BASE}/acme/acct/' OR 1=1 --",
    ]  # fmt: skip


def test_a_kid_is_an_account_url_to_the_last_character(wire: Wire) -> None:
    """§6.2: accountDoesNotExist. A prefix, another host or another spelling is no account."""
    before = wire.place.state()
    for kid in _kids(wire.account):
        reply = wire.post(NEW_ORDER, WISH, kid=kid)
        is_refusal(reply, "accountDoesNotExist", 400, "register with newAccount")
    assert wire.place.state() == before


def test_another_accounts_kid_needs_its_key(lite: Wire) -> None:
    """§6.2."""
    other = lite.other()
    before = lite.place.state()
    is_refusal(lite.post(NEW_ORDER, WISH, kid=other.account), "unauthorized", 403)
    assert lite.place.state() == before


@pytest.mark.parametrize("status", ["deactivated", "revoked"])
def test_an_account_that_has_ended_does_nothing_any_more(wire: Wire, status: str) -> None:
    """§7.3.6: 401 on everything, and what it had is not told either."""
    order = wire.issued("a.corp.example")
    accounts = wire.place.acme.accounts
    account = accounts.find(wire.account.rsplit("/", 1)[1])
    accounts.deactivate(account, account_actor(account) if status == "deactivated" else OPERATOR)
    before = wire.place.state()
    urls = [
        wire.account, f"{wire.account}/orders", order.location, order.json["finalize"], order.json["certificate"],
        *order.json["authorizations"], NEW_ORDER, f"{BASE}/acme/new-authz", f"{BASE}/acme/key-change",
        f"{BASE}/acme/revoke-cert", f"{BASE}/acme/directory", f"{BASE}/acme/new-nonce",
    ]  # fmt: skip
    for url in urls:
        for payload in ("", {}, WISH):
            is_refusal(wire.post(url, payload), "unauthorized", 401, status)
    is_refusal(wire.post(NEW_ACCOUNT, {"onlyReturnExisting": True}, jwk=wire.key.jwk), "unauthorized", 401)
    is_refusal(wire.post(NEW_ACCOUNT, {"termsOfServiceAgreed": True}, jwk=wire.key.jwk), "unauthorized", 401)
    assert wire.place.state() == before


# --- §6.5: nonces ------------------------------------------------------------------------------------------------


def test_a_replayed_request_is_refused(wire: Wire) -> None:
    """§6.5: the same bytes again, and another request with the same nonce."""
    jws = wire.signed(NEW_ORDER, WISH)
    assert wire.send_jws(NEW_ORDER, jws).status == 201
    before = wire.place.state()
    for _ in range(3):
        is_refusal(wire.send_jws(NEW_ORDER, jws), "badNonce", 400, "used before")
    nonce = json.loads(unb64(jws["protected"]))["nonce"]
    is_refusal(wire.post(wire.account, "", nonce=nonce), "badNonce", 400, "used before")
    assert wire.place.state() == before


def test_an_expired_nonce_is_refused_and_the_fresh_one_works(lite: Wire) -> None:
    """§6.5: badNonce, with another one to go on with."""
    old = lite.nonce()
    lite.place.world.pass_time(timedelta(hours=1))
    reply = lite.post(NEW_ORDER, WISH, nonce=old)
    is_refusal(reply, "badNonce", 400, "expired")
    assert lite.post(NEW_ORDER, WISH, nonce=reply.headers["replay-nonce"]).status == 201


def test_every_answer_has_a_nonce_that_works(lite: Wire) -> None:
    """§6.5: also errors."""
    reply = lite.post(NEW_ORDER, {"identifiers": []}, nonce=lite.nonce())
    for payload in (WISH, {}, b"x", WISH):
        reply = lite.post(NEW_ORDER, payload, nonce=reply.headers["replay-nonce"])
        assert reply.problem in ("", "malformed")
    assert reply.status == 201


# --- §6.3: POST-as-GET, and methods ------------------------------------------------------------------------------


def test_what_is_fetched_takes_the_empty_payload_alone(wire: Wire) -> None:
    """§6.3: `{}` is not it."""
    order = wire.issued("a.corp.example")
    before = wire.place.state()
    for url in (
        order.location, order.json["certificate"], f"{wire.account}/orders", f"{BASE}/acme/directory",
        f"{BASE}/acme/new-nonce",
    ):  # fmt: skip
        assert wire.post(url).status in (200, 204)
        for payload in ({}, {"x": 1}, b"null", b" "):
            is_refusal(wire.post(url, payload), "malformed", 400, "POST-as-GET")
    assert wire.place.state() == before


@pytest.mark.parametrize("url", ["new-order", "new-authz", "revoke-cert"])
def test_what_takes_a_wish_refuses_the_empty_payload(lite: Wire, url: str) -> None:
    """§6.3: malformed."""
    before = lite.place.state()
    is_refusal(lite.post(f"{BASE}/acme/{url}"), "malformed", 400, "payload is empty")
    for payload in (b"null", b"[]", b"7", b'"x"', b"{", b"\xff", b'{"a":1,"a":1}'):
        is_refusal(lite.post(f"{BASE}/acme/{url}", payload), "malformed", 400, "the payload")
    assert lite.place.state() == before


@pytest.mark.parametrize("path", [path for path in EVERY_POST if "directory" not in path and "nonce" not in path])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_another_method_is_not_allowed(lite: Wire, path: str, method: str) -> None:
    """§6.3: 405 with malformed."""
    with nothing_changes(lite):
        reply = lite.send(method, path)
    assert reply.status == 405
    assert "POST" in reply.headers["allow"]
    if method != "HEAD":
        assert (reply.problem, reply.json["status"]) == ("malformed", 405)
        assert f'<{BASE}/acme/directory>;rel="index"' in reply.all("link")


@pytest.mark.parametrize(
    "path",
    ["/acme", "/acme/", "/acme/x", "/acme/new-order/", "/acme/p/x", "/acme/order/a/b", "/acme/Directory", "/acme/cert"],
)
def test_what_does_not_exist_is_malformed(lite: Wire, path: str) -> None:
    """§6.7: 404 with malformed."""
    with nothing_changes(lite):
        for method in ("GET", "POST"):
            reply = lite.send(method, path, b"", {"content_type": JOSE})
            assert (reply.problem, reply.status) == ("malformed", 404)
        is_refusal(lite.send("POST", path), "malformed", 404)
        is_refusal(lite.post(BASE + path), "malformed", 404)


def test_a_key_that_is_no_account_yet_cannot_pose_as_one(lite: Wire) -> None:
    """§6.2: accountDoesNotExist."""
    stranger = Wire(lite.app, lite.place, Key(ec.generate_private_key(ec.SECP256R1()), "ES256"))
    before = lite.place.state()
    is_refusal(stranger.post(NEW_ORDER, WISH, kid=f"{BASE}/acme/acct/unknown"), "accountDoesNotExist", 400)
    is_refusal(stranger.post(NEW_ORDER, WISH, kid=stranger.key.thumbprint), "accountDoesNotExist", 400)
    assert lite.place.state() == before
