"""Accounts over HTTP (RFC 8555 §7.3): registered, found, changed, deactivated; lists of orders; another key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.endpoints.acme import accounts
from pkiconf.endpoints.acme.accounts import check_account_key
from pkiconf.endpoints.acme.jws import read_key
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.secret import Secret
from pkiconf.policy.keys import _ROCA_PRODUCT, has_small_factor
from pkiconf.steps import Step
from pkiconf.store import compromised_keys
from tests.acme.place import make_place
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.wire import (
    BASE,
    Key,
    Reply,
    Wire,
    b64,
    bound,
    compact,
    declare_settings,
    es256,
    flattened,
    keys_of_every_kind,
    make_wire,
)  # fmt: skip
from tests.world import OPERATOR, World

OPEN = f"{BASE}/acme/p/internal/new-account"
COMMON = f"{BASE}/acme/new-account"
KEY_CHANGE = f"{BASE}/acme/key-change"


def stranger(wire: Wire, key: Key | None = None) -> Wire:
    """A client without an account yet."""
    return Wire(wire.app, wire.place, key or es256())


# --- §7.3: newAccount --------------------------------------------------------------------------------------------


@pytest.mark.row("F108")
def test_an_account_is_made_and_found_again(wire: Wire) -> None:
    """§7.3: 201 with Location; §7.3.1: 200 for the same key, also with onlyReturnExisting, and §7.1.2 its members."""
    new = stranger(wire)
    made = new.register(contact=["mailto:admin@corp.example"])
    assert made.status == 201
    assert made.location.startswith(f"{BASE}/acme/acct/")
    assert made.json == {
        "status": "valid",
        "contact": ["mailto:admin@corp.example"],
        "termsOfServiceAgreed": True,
        "orders": f"{made.location}/orders",
    }
    with nothing_changes(wire):
        again = new.register(contact=["mailto:other@corp.example"], termsOfServiceAgreed=False)
        assert (again.status, again.location) == (200, made.location)
        assert again.json == made.json  # §7.3.1: nothing of it is taken over
        found = new.post(OPEN, {"onlyReturnExisting": True}, jwk=new.key.jwk)
        assert (found.status, found.location) == (200, made.location)
        at_the_common_one = new.post(COMMON, {}, jwk=new.key.jwk)
        assert (at_the_common_one.status, at_the_common_one.location) == (200, made.location)


def test_a_key_without_an_account_is_not_found(wire: Wire) -> None:
    """§7.3.1: accountDoesNotExist, and none is made."""
    new = stranger(wire)
    with nothing_changes(wire):
        reply = new.post(OPEN, {"onlyReturnExisting": True, "termsOfServiceAgreed": True}, jwk=new.key.jwk)
        is_refusal(reply, "accountDoesNotExist", 400)


def test_a_look_alike_key_is_the_same_account(wire: Wire) -> None:
    """RFC 7638: more members, in another order, make no second account."""
    jwk = {"alg": "ES256", "zz": [1], **dict(reversed(wire.key.jwk.items())), "use": "sig", "kid": "other"}
    with nothing_changes(wire):
        reply = wire.post(OPEN, {"termsOfServiceAgreed": True}, jwk=jwk)
        assert (reply.status, reply.location) == (200, wire.account)


REFUSED: dict[str, tuple[dict[str, Any], str, int, str]] = {
    "contact is a text": ({"contact": "mailto:a@b.example"}, "malformed", 400, "'contact' is not an array of strings"),
    "contact holds a number": ({"contact": [7]}, "malformed", 400, "'contact' is not an array of strings"),
    "contact by telephone": ({"contact": ["tel:+31201234567"]}, "unsupportedContact", 400, "mailto"),
    "contact without scheme": ({"contact": ["a@b.example"]}, "unsupportedContact", 400, "mailto"),
    "two addresses in one": ({"contact": ["mailto:a@b.example,c@d.example"]}, "invalidContact", 400, "of its own"),
    "header fields": ({"contact": ["mailto:a@b.example?subject=x"]}, "invalidContact", 400, "?"),
    "no address": ({"contact": ["mailto:"]}, "invalidContact", 400, ""),
    "terms are a text": ({"termsOfServiceAgreed": "yes"}, "malformed", 400, "neither true nor false"),
    "existing is a number": ({"onlyReturnExisting": 1}, "malformed", 400, "neither true nor false"),
    "binding is a text": ({"externalAccountBinding": "x"}, "malformed", 400, "externalAccountBinding"),
    "binding is empty": ({"externalAccountBinding": {}}, "malformed", 400, "no member"),
}


@pytest.mark.parametrize(("members", "problem", "status", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wish_that_cannot_be_granted(
    lite: Wire, members: dict[str, Any], problem: str, status: int, words: str
) -> None:
    """§7.3, §6.7: malformed, invalidContact and unsupportedContact."""
    new = stranger(lite)
    with nothing_changes(lite):
        is_refusal(new.post(OPEN, {"termsOfServiceAgreed": True, **members}, jwk=new.key.jwk), problem, status, words)
    assert new.register().status == 201


def test_unknown_members_are_ignored(lite: Wire) -> None:
    """§7.3: so are a status and a list of orders that a client writes by itself."""
    reply = stranger(lite).register(status="revoked", orders="http://x", zz={"a": []})
    assert (reply.status, reply.json["status"]) == (201, "valid")


@pytest.mark.parametrize(("bits", "exponent"), [(1024, 65537), (2048, 3), (2056 - 1, 65537)])
def test_a_weak_rsa_key_makes_no_account(lite: Wire, bits: int, exponent: int) -> None:
    """§6.2, §11.1: badPublicKey."""
    new = stranger(lite, Key(rsa.generate_private_key(exponent, bits), "RS256"))
    with nothing_changes(lite):
        is_refusal(new.register(), "badPublicKey", 400)


def test_a_key_for_which_anybody_signs_makes_no_account(lite: Wire) -> None:
    """§6.2, §6.7: badPublicKey. The neutral element as Ed25519 key: R the same and S zero hold for every message."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\x01" + bytes(31))}
    with nothing_changes(lite):
        jws = flattened(lite.header(OPEN, alg="EdDSA", jwk=jwk), b"{}", lambda _: b"\x01" + bytes(63))
        is_refusal(lite.send_jws(OPEN, jws), "badPublicKey", 400, "small order")


def test_a_key_that_can_be_factored_is_found(lite: Wire) -> None:
    """§6.2, §6.7: badPublicKey for ROCA (CVE-2017-15361): the modulus has the residues that the faulty library leaves.
    Nobody here can sign for it, so the door's own check is asked."""
    modulus = pow(65537, 7, _ROCA_PRODUCT) + _ROCA_PRODUCT * ((1 << 2047) // _ROCA_PRODUCT + 1)
    while has_small_factor(modulus):
        modulus += _ROCA_PRODUCT
    key = read_key({"kty": "RSA", "n": b64(modulus.to_bytes(256)), "e": "AQAB"})
    with pytest.raises(ACMEProblem, match="ROCA") as caught:
        check_account_key(lite.place.world.parts, key.account_key)
    assert caught.value.problem.type is ProblemType.BAD_PUBLIC_KEY


def test_a_compromised_key_makes_no_account(wire: Wire) -> None:
    """§6.2, §6.7: badPublicKey, at newAccount and keyChange (§7.3.5). A key that was revoked for keyCompromise once is
    nobody's any more."""
    new = stranger(wire)
    spki = new.key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wire.place.write(Step.CERTIFICATE_REVOKE, lambda c: compromised_keys.add(c, spki, wire.place.now))
    with nothing_changes(wire):
        is_refusal(new.register(), "badPublicKey", 400, "compromised")
        is_refusal(_change(wire, new.key), "badPublicKey", 400, "compromised")


@pytest.mark.row("F114")
def test_terms_have_to_be_agreed_to(wire: Wire) -> None:
    """§7.3.3: userActionRequired, with the terms."""
    declare_settings(wire.place, acme={"terms_of_service": "http://pki.example/terms"})
    new = stranger(wire)
    with nothing_changes(wire):
        for payload in ({}, {"termsOfServiceAgreed": False}):
            reply = new.post(OPEN, payload, jwk=new.key.jwk)
            is_refusal(reply, "userActionRequired", 403, "http://pki.example/terms")
            assert '<http://pki.example/terms>;rel="terms-of-service"' in reply.all("link")
            assert reply.json["instance"] == "http://pki.example/terms"
    assert new.register().status == 201


def test_terms_that_have_changed(wire: Wire) -> None:
    """§7.3.3, §7.3.2: an account that agreed to older terms goes on, which the server may allow; who updates it without
    agreeing, and who registers anew, is shown those of today; agreement is recorded with its time."""
    declare_settings(wire.place, acme={"terms_of_service": "http://pki.example/terms/2"})
    assert wire.directory(None)["meta"]["termsOfService"] == "http://pki.example/terms/2"
    assert wire.order("a.corp.example").status == 201
    with nothing_changes(wire):
        for reply in (
            wire.post(wire.account, {"termsOfServiceAgreed": False}),
            stranger(wire).register(termsOfServiceAgreed=False),
        ):
            is_refusal(reply, "userActionRequired", 403, "http://pki.example/terms/2")
            assert '<http://pki.example/terms/2>;rel="terms-of-service"' in reply.all("link")
            assert reply.json["instance"] == "http://pki.example/terms/2"
    wire.place.world.pass_time(timedelta(days=1))
    assert wire.post(wire.account, {"termsOfServiceAgreed": True}).status == 200
    ((agreed_at,),) = wire.place.rows("SELECT terms_agreed_at FROM acme_account")
    assert agreed_at == wire.place.now


def test_of_many_registrations_of_one_key_one_makes_an_account(wire: Wire) -> None:
    """§7.3.1: 201 for one and 200 for the others, with the same Location."""
    new = stranger(wire)
    before = wire.place.counts()["acme_account"]
    requests = [new.signed(OPEN, {"termsOfServiceAgreed": True}, jwk=new.key.jwk) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda jws: new.send_jws(OPEN, jws), requests))
    assert sorted(reply.status for reply in replies) == [200] * 5 + [201]
    assert len({reply.location for reply in replies}) == 1
    assert wire.place.counts()["acme_account"] == before + 1


# --- §7.3.4: external account binding ----------------------------------------------------------------------------

MAC_KEY = bytes(range(32))
KID = "binding-1"


def _bind(wire: Wire, name: str = "ci", policy: str = "closed", key_id: str = KID, **spec: Any) -> None:
    declared = {"name": name, "key_id": key_id, "hmac_key": "-", **spec}
    if policy not in wire.place.policies:
        wire.place.policy(policy, external_account_required=True)
    wire.place.acme.bindings.create(policy, name, declared, "yaml:default", OPERATOR, key=Secret(MAC_KEY))


def _join(wire: Wire, key: Key, at: str = COMMON, kid: str = KID, mac: bytes = MAC_KEY, **header: Any) -> Reply:
    binding = bound(key.jwk, at, kid, mac, **header)
    return wire.post(at, {"termsOfServiceAgreed": True, "externalAccountBinding": binding}, key=key, jwk=key.jwk)


@pytest.fixture
def closed(world: World) -> Iterator[Wire]:
    """A policy that lets in who has a binding, for two accounts."""
    for place in make_place(world):
        wire = make_wire(place)
        _bind(wire, max_accounts=2)
        yield wire


@pytest.mark.row("F99")
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_binding_lets_an_account_in(closed: Wire, alg: str) -> None:
    """§7.3.4: by each MAC; the account shows what it was bound with (§7.1.2)."""
    made = _join(closed, closed.key, alg=alg)
    assert made.status == 201
    assert made.json["externalAccountBinding"]["payload"] == b64(compact(closed.key.jwk))
    assert made.location.startswith(f"{BASE}/acme/acct/")


@pytest.mark.row("F99")
def test_without_a_binding_nobody_registers(closed: Wire) -> None:
    """§7.3.4: externalAccountRequired, at both directories."""
    with nothing_changes(closed):
        for url in (COMMON, f"{BASE}/acme/p/closed/new-account", f"{BASE}/acme/p/unknown/new-account"):
            reply = closed.post(url, {"termsOfServiceAgreed": True}, jwk=closed.key.jwk)
            is_refusal(reply, "externalAccountRequired", 403, "key identifier")


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown kid": ({"kid": "binding-2"}, "unauthorized", "key identifier (kid)"),
    "kid with NUL": ({"kid": "binding-1\0"}, "malformed", "NUL"),
    "kid of 60 kB": ({"kid": "a" * 60_000}, "unauthorized", "key identifier (kid)"),
    "another key": ({"mac": bytes(32)}, "unauthorized", "MAC"),
    "an empty key": ({"mac": b""}, "unauthorized", "MAC"),
    "another url": ({"url": OPEN}, "unauthorized", "url in the header of externalAccountBinding"),
    "none": ({"alg": "none"}, "malformed", "HS256"),
    "a nonce": ({"nonce": "x"}, "malformed", "nonce"),
}


@pytest.mark.row("F99")
@pytest.mark.parametrize(("different", "problem", "words"), BAD.values(), ids=BAD.keys())
def test_a_binding_that_does_not_hold(closed: Wire, different: dict[str, Any], problem: str, words: str) -> None:
    """§7.3.4."""
    with nothing_changes(closed):
        reply = _join(closed, closed.key, **different)
        is_refusal(reply, problem, 403 if problem == "unauthorized" else 400, words)
    assert _join(closed, closed.key).status == 201


def test_a_binding_over_another_key_does_not_hold(closed: Wire) -> None:
    """§7.3.4: the payload is the account key. Captured from somebody else's request: it is over that one's key."""
    binding = bound(es256().jwk, COMMON, KID, MAC_KEY)
    with nothing_changes(closed):
        wish = {"termsOfServiceAgreed": True, "externalAccountBinding": binding}
        is_refusal(closed.post(COMMON, wish, jwk=closed.key.jwk), "unauthorized", 403, "another key")


@pytest.mark.row("F104")
def test_places_are_counted_and_only_by_new_accounts(closed: Wire) -> None:
    """§7.3.4, §7.3.1."""
    assert _join(closed, closed.key).status == 201
    for _ in range(3):
        assert _join(closed, closed.key).status == 200  # lego presents it again each time
    assert _join(closed, es256()).status == 201
    with nothing_changes(closed):
        is_refusal(_join(closed, es256()), "unauthorized", 403, "used up")
        assert _join(closed, closed.key).status == 200


@pytest.mark.row("F104")
def test_of_concurrent_registrations_for_the_last_place_one_gets_it(closed: Wire) -> None:
    """§7.3.4: unauthorized for the others."""
    assert _join(closed, closed.key).status == 201
    keys = [es256() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(lambda key: _join(closed, key), keys))
    assert sorted(reply.status for reply in replies) == [201, 403, 403, 403, 403]


def test_a_registered_key_gets_its_account_whatever_binding_it_presents(closed: Wire) -> None:
    """§7.3.1 asks for 200; interop: clients present what they were once given."""
    made = _join(closed, closed.key)
    closed.place.acme.bindings.delete("closed", "ci", OPERATOR)
    with nothing_changes(closed):
        for different in ({}, {"mac": bytes(32)}, {"kid": "unknown"}):
            reply = _join(closed, closed.key, **different)
            assert (reply.status, reply.location) == (200, made.location)
        is_refusal(_join(closed, es256()), "unauthorized", 403, "key identifier (kid)")


def test_a_key_of_another_policy_is_told_so(closed: Wire) -> None:
    """§7.3.1, §7.3.4: unauthorized."""
    assert _join(closed, closed.key).status == 201
    _bind(closed, policy="other", key_id="binding-2")
    with nothing_changes(closed):
        is_refusal(_join(closed, closed.key, kid="binding-2"), "unauthorized", 403, "another policy")


def test_a_binding_belongs_to_its_policys_directory(closed: Wire) -> None:
    """§7.3.4: unauthorized."""
    _bind(closed, policy="other", key_id="binding-2")
    url = f"{BASE}/acme/p/other/new-account"
    with nothing_changes(closed):
        is_refusal(_join(closed, closed.key, url), "unauthorized", 403, "another policy")
    assert _join(closed, closed.key, url, kid="binding-2").status == 201


# --- §7.3.2, §7.3.6 ----------------------------------------------------------------------------------------------


def test_an_account_is_fetched_and_changed(wire: Wire) -> None:
    """§7.3.2: contacts, none too; POST-as-GET (§6.3) shows what an update answers."""
    assert wire.post(wire.account).json["status"] == "valid"
    changed = wire.post(wire.account, {"contact": ["mailto:new@corp.example"]})
    assert (changed.status, changed.json["contact"]) == (200, ["mailto:new@corp.example"])
    assert wire.post(wire.account).json == changed.json
    assert wire.post(wire.account, {"contact": []}).json["contact"] == []


@pytest.mark.parametrize(
    "payload",
    [{}, {"status": "valid"}, {"status": "revoked"}, {"orders": "x"}, {"key": {}}, {"zz": 1}, {"contact": None}],
)
def test_what_is_not_a_clients_to_change_is_ignored(lite: Wire, payload: dict[str, Any]) -> None:
    """§7.3.2."""
    with nothing_changes(lite):
        reply = lite.post(lite.account, payload)
        assert (reply.status, reply.json["status"]) == (200, "valid")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"contact": "x"}, "malformed"),
        ({"contact": ["tel:1"]}, "unsupportedContact"),
        ({"contact": ["mailto:a,b"]}, "invalidContact"),
        ({"contact": ["mailto:a@b.example"] * 2 + [f"mailto:a{n}@b.example" for n in range(20)]}, "invalidContact"),
        ({"status": 7}, "malformed"),
        ({"status": ["deactivated"]}, "malformed"),
        ({"termsOfServiceAgreed": "yes"}, "malformed"),
        ([], "malformed"),
        (b"deactivated", "malformed"),
    ],
)
def test_a_change_that_cannot_be(lite: Wire, payload: object, problem: str) -> None:
    """§7.3.2."""
    with nothing_changes(lite):
        is_refusal(lite.post(lite.account, payload), problem, 400)


def test_deactivation_is_final(wire: Wire) -> None:
    """§7.3.6: 401 unauthorized."""
    reply = wire.post(wire.account, {"status": "deactivated"})
    assert (reply.status, reply.json["status"]) == (200, "deactivated")
    with nothing_changes(wire):
        is_refusal(wire.post(wire.account), "unauthorized", 401)
        is_refusal(wire.post(wire.account, {"status": "valid"}), "unauthorized", 401)
        is_refusal(wire.register(), "unauthorized", 401)


def test_another_accounts_url_is_not_ones_own(wire: Wire) -> None:
    """§7.3.2, §10.4: unauthorized."""
    other = wire.other()
    with nothing_changes(wire):
        for url in (other.account, f"{BASE}/acme/acct/unknown", f"{wire.account}x", wire.account[:-1]):
            payload: object
            for payload in ("", {"status": "deactivated"}, {"contact": []}):
                is_refusal(wire.post(url, payload), "unauthorized", 403, "another account")
            is_refusal(wire.post(f"{url}/orders"), "unauthorized", 403, "another account")


# --- §7.1.2.1 ----------------------------------------------------------------------------------------------------


def test_orders_are_listed_a_page_at_a_time(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """§7.1.2.1: each page links to the next; other accounts' orders are in none."""
    monkeypatch.setattr(accounts, "_PAGE", 3)
    made = [wire.order(f"n{n}.corp.example").location for n in range(7)]
    wire.other().order("x.corp.example")
    seen: list[str] = []
    url: str | None = f"{wire.account}/orders"
    pages = 0
    while url is not None:
        reply = wire.post(url)
        assert reply.status == 200
        seen += reply.json["orders"]
        following = [link for link in reply.all("link") if 'rel="next"' in link]
        url = following[0].partition(">")[0][1:] if following else None
        pages += 1
    assert (seen, pages) == (made, 3)


def test_an_invalid_order_is_left_out(wire: Wire) -> None:
    """§7.1.2.1: pending orders SHOULD be in the list, and invalid ones SHOULD NOT."""
    kept, ended = wire.order("a.corp.example"), wire.order("needs-proof.example")
    assert wire.post(f"{wire.account}/orders").json == {"orders": [kept.location, ended.location]}
    assert wire.post(ended.json["authorizations"][0], {"status": "deactivated"}).status == 200
    assert wire.post(ended.location).json["status"] == "invalid"
    assert wire.post(f"{wire.account}/orders").json == {"orders": [kept.location]}


def test_an_account_without_orders_has_an_empty_list(lite: Wire) -> None:
    """§7.1.2.1."""
    assert lite.post(f"{lite.account}/orders").json == {"orders": []}


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 19, "%00", "%D9%A1"])
def test_a_cursor_that_is_none(lite: Wire, cursor: str) -> None:
    """§7.1.2.1: malformed."""
    url = f"{lite.account}/orders?cursor={cursor}"
    with nothing_changes(lite):
        is_refusal(lite.post(url), "malformed", 400, "cursor")


# --- §7.3.5 ------------------------------------------------------------------------------------------------------


def _change(wire: Wire, new: Key, **different: Any) -> Reply:
    """`different` are members of the inner payload (`account`, `old`), or of the inner header (`url`)."""
    wish = {"account": different.pop("account", wire.account), "oldKey": different.pop("old", wire.key.jwk)}
    header = {"alg": new.alg, "jwk": new.jwk, "url": KEY_CHANGE, **different}
    return wire.post(KEY_CHANGE, flattened(header, compact(wish), new.sign))


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("ES256", ("unauthorized", 403)),
        *((name, ("badSignatureAlgorithm", 400)) for name in ("RS256", "Ed25519")),  # the account's is no EC key now
    ],
)
def test_a_key_is_changed_and_the_old_one_is_nobodys(wire: Wire, name: str, refusal: tuple[str, int]) -> None:
    """§7.3.5: 200, with Location; then §7.3.1 finds the account by the new key alone."""
    new, old = keys_of_every_kind()[name], wire.key
    reply = _change(wire, new)
    assert reply.status == 200
    assert reply.location == wire.account
    with nothing_changes(wire):
        is_refusal(wire.post(wire.account), *refusal)
        is_refusal(wire.post(OPEN, {"onlyReturnExisting": True}, jwk=old.jwk), "accountDoesNotExist", 400)
    wire.key = new
    assert wire.post(wire.account).status == 200
    assert wire.post(OPEN, {"onlyReturnExisting": True}, jwk=new.jwk).location == wire.account


def test_a_key_that_another_account_has_is_refused_with_its_location(wire: Wire) -> None:
    """§7.3.5: 409 with Location."""
    other = wire.other()
    with nothing_changes(wire):
        reply = _change(wire, other.key)
        assert (reply.status, reply.problem) == (409, "malformed")
        assert reply.location == other.account
        assert reply.all("replay-nonce")
        assert _change(wire, wire.key).status == 409


def test_a_key_change_that_does_not_hold(wire: Wire) -> None:
    """§7.3.5."""
    new, other = es256(), wire.other()
    with nothing_changes(wire):
        is_refusal(_change(wire, new, account=other.account), "malformed", 400, "account in the inner JWS")
        is_refusal(_change(wire, new, account=wire.account + "/"), "malformed", 400, "account in the inner JWS")
        is_refusal(_change(wire, new, account=[wire.account]), "malformed", 400, "not a string")
        is_refusal(_change(wire, new, old=other.key.jwk), "malformed", 400, "oldKey")
        is_refusal(_change(wire, new, old=None), "malformed", 400, "jwk")
        is_refusal(_change(wire, new, old={**wire.key.jwk, "d": "AA"}), "malformed", 400, "private")
        is_refusal(_change(wire, new, url=f"{BASE}/acme/new-order"), "malformed", 400, "url of the inner JWS")
        is_refusal(_change(wire, new, nonce="x"), "malformed", 400, "nonce")
        is_refusal(_change(wire, new, kid=wire.account), "malformed", 400, "jwk")
        is_refusal(_change(wire, new, jwk=es256().jwk), "unauthorized", 403, "does not hold")
        is_refusal(_change(wire, new, alg="HS256"), "badSignatureAlgorithm", 400)
        is_refusal(_change(wire, Key(rsa.generate_private_key(65537, 1024), "RS256")), "badPublicKey", 400)
        is_refusal(wire.post(KEY_CHANGE), "malformed", 400)
        is_refusal(wire.post(KEY_CHANGE, {}), "malformed", 400)


def test_of_concurrent_changes_to_one_key_one_wins(wire: Wire) -> None:
    """§7.3.5: 409 for the others."""
    clients, new = [wire, wire.other(), wire.other()], es256()
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda client: _change(client, new), clients))
    assert sorted(reply.status for reply in replies) == [200, 409, 409]
