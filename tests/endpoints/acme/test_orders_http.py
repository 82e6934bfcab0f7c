"""Orders over HTTP (RFC 8555 §7.4): asked for, looked at, finalized once; certificates fetched."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.errors import NotSigned, Unavailable
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.wire import BASE, Reply, Wire, b64, csr_for, make_wire, unb64

NEW_ORDER = f"{BASE}/acme/new-order"
A = "a.corp.example"
PENDING = "needs-proof.example"


def dns(*names: str) -> dict[str, Any]:
    return {"identifiers": [{"type": "dns", "value": name} for name in names]}


# --- newOrder ----------------------------------------------------------------------------------------------------


def test_an_order_as_the_rfc_wants_it(wire: Wire) -> None:
    """§7.1.3, §7.4; its Location each time."""
    made = wire.order(A, f"*.{A}", PENDING)
    assert made.status == 201
    name = made.location.rsplit("/", 1)[1]
    assert made.location == f"{BASE}/acme/order/{name}"
    order = made.json
    assert order["status"] == "pending"
    assert order["identifiers"] == dns(A, f"*.{A}", PENDING)["identifiers"]
    assert order["expires"].endswith("Z")
    assert order["finalize"] == f"{made.location}/finalize"
    assert len(order["authorizations"]) == 3
    assert {"certificate", "error", "notBefore", "notAfter", "replaces"}.isdisjoint(order)
    seen = wire.post(made.location)
    assert (seen.status, seen.json, seen.location) == (200, order, made.location)


def test_names_are_given_back_in_their_one_spelling(lite: Wire) -> None:
    """§7.1.3, §7.1.4: mixed case and U-labels become what goes into the certificate; once each."""
    order = lite.order("A.Corp.Example", "bücher.corp.example", A)
    assert [i["value"] for i in order.json["identifiers"]] == [A, "xn--bcher-kva.corp.example"]


REFUSED: dict[str, tuple[Any, str, int]] = {
    "no identifiers": ({}, "malformed", 400),
    "null": ({"identifiers": None}, "malformed", 400),
    "an object": ({"identifiers": {"type": "dns", "value": A}}, "malformed", 400),
    "empty": ({"identifiers": []}, "malformed", 400),
    "a text in it": ({"identifiers": [A]}, "malformed", 400),
    "no value": ({"identifiers": [{"type": "dns"}]}, "malformed", 400),
    "value is a number": ({"identifiers": [{"type": "dns", "value": 7}]}, "malformed", 400),
    "type is a list": ({"identifiers": [{"type": ["dns"], "value": A}]}, "malformed", 400),
    "another type": ({"identifiers": [{"type": "email", "value": "a@corp.example"}]}, "unsupportedIdentifier", 400),
    "a device": ({"identifiers": [{"type": "permanent-identifier", "value": "x"}]}, "unsupportedIdentifier", 400),
    "an address as a name": (dns("10.1.2.3"), "rejectedIdentifier", 403),
    "a name as an address": ({"identifiers": [{"type": "ip", "value": A}]}, "rejectedIdentifier", 403),
    "an empty name": (dns(""), "rejectedIdentifier", 403),
    "two stars": (dns(f"*.*.{A}"), "rejectedIdentifier", 403),
    "a star inside": (dns(f"a*.{A}"), "rejectedIdentifier", 403),
    "a star alone": (dns("*"), "rejectedIdentifier", 403),
    "a space": (dns("a b.corp.example"), "rejectedIdentifier", 403),
    "a trailing dot": (dns(f"{A}."), "rejectedIdentifier", 403),
    "NUL": (dns("a\0.corp.example"), "malformed", 400),
    "a label of 64": (dns("a" * 64 + ".corp.example"), "rejectedIdentifier", 403),
    "60 kB": (dns("a." * 30_000 + "example"), "rejectedIdentifier", 403),
    "too many": (dns(*(f"n{n}.corp.example" for n in range(101))), "malformed", 400),
    "an unknown profile": ({**dns(A), "profile": "short"}, "invalidProfile", 400),
    "profile is a list": ({**dns(A), "profile": ["default"]}, "malformed", 400),
    "notBefore is a number": ({**dns(A), "notBefore": 5}, "malformed", 400),
    "notBefore is a date": ({**dns(A), "notBefore": "2030-01-02"}, "malformed", 400),
    "notAfter without zone": ({**dns(A), "notAfter": "2030-02-01T00:00:00"}, "malformed", 400),
    "notAfter on 30 February": ({**dns(A), "notAfter": "2030-02-30T00:00:00Z"}, "malformed", 400),
    "notAfter in year 0": ({**dns(A), "notAfter": "0000-01-01T00:00:00Z"}, "malformed", 400),
    "notAfter before notBefore": (
        {**dns(A), "notBefore": "2030-01-20T00:00:00Z", "notAfter": "2030-01-10T00:00:00Z"}, "malformed", 400,
    ),
    "replaces is a list": ({**dns(A), "replaces": ["x"]}, "malformed", 400),
    "replaces is none": ({**dns(A), "replaces": "x"}, "malformed", 400),
    "replaces nothing of ours": ({**dns(A), "replaces": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"}, "malformed", 404),
}  # fmt: skip


@pytest.mark.parametrize(("wish", "problem", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_an_order_that_cannot_be(lite: Wire, wish: Any, problem: str, status: int) -> None:
    """§7.4, §7.1.3; §6.7 for types and statuses; RFC 8738 §3 for addresses; RFC 9773 §5 for `replaces`."""
    with nothing_changes(lite):
        is_refusal(lite.post(NEW_ORDER, wish), problem, status)


def test_several_bad_names_make_subproblems(lite: Wire) -> None:
    """§6.7.1: each with its identifier, none at the top."""
    with nothing_changes(lite):
        reply = lite.order("a b.example", A, "*.*.x.example")
        is_refusal(reply, "rejectedIdentifier", 403)
        inner = reply.json["subproblems"]
        assert [sub["identifier"]["value"] for sub in inner] == ["a b.example", "*.*.x.example"]
        assert all(sub["type"].endswith(":rejectedIdentifier") and sub["detail"] for sub in inner)


def test_times_are_honoured(lite: Wire) -> None:
    """§7.4: notBefore and notAfter, reflected and in the certificate."""
    order = lite.order(A, notBefore="2030-01-02T00:00:00+01:00", notAfter="2030-01-31T00:00:00.5Z")
    assert (order.json["notBefore"], order.json["notAfter"]) == ("2030-01-01T23:00:00Z", "2030-01-31T00:00:00Z")
    done = lite.post(order.json["finalize"], {"csr": csr_for(A)})
    leaf = x509.load_pem_x509_certificates(lite.post(done.json["certificate"]).body)[0]
    assert leaf.not_valid_after_utc.isoformat() == "2030-01-31T00:00:00+00:00"


def test_the_profile_is_reflected(lite: Wire) -> None:
    """draft-ietf-acme-profiles: also the one that was not asked for."""
    assert lite.order(A).json["profile"] == "default"
    assert lite.order(A, profile="default").json["profile"] == "default"


def test_unknown_members_are_ignored(lite: Wire) -> None:
    """§7.4: nor does a client write its order's status."""
    assert lite.order(A, zz=1, status="valid", certificate="x").json["status"] == "ready"


def test_addresses_are_ordered(lite: Wire) -> None:
    """RFC 8738: in their canonical text."""
    with nothing_changes(lite):
        other = lite.post(NEW_ORDER, {"identifiers": [{"type": "ip", "value": "2001:DB8::0001"}]})
        is_refusal(other, "rejectedIdentifier", 403, "2001:db8::1")
    reply = lite.post(NEW_ORDER, {"identifiers": [{"type": "ip", "value": "2001:db8::1"}]})
    assert reply.status == 201, reply.body
    assert reply.json["identifiers"] == [{"type": "ip", "value": "2001:db8::1"}]
    offered = lite.post(reply.json["authorizations"][0]).json["challenges"]
    assert sorted(challenge["type"] for challenge in offered) == ["http-01", "tls-alpn-01"]


# --- whose it is -------------------------------------------------------------------------------------------------


def test_another_accounts_things_are_not_shown(wire: Wire) -> None:
    """§6.2, §7.1: unauthorized. Orders, authorizations, challenges and certificates: 403, and nothing done."""
    order = wire.issued(A)
    pending = wire.order(PENDING)
    authorization = pending.json["authorizations"][0]
    challenge = wire.post(authorization).json["challenges"][0]["url"]
    other = wire.other()
    with nothing_changes(wire):
        for url in (order.location, order.json["certificate"], authorization, challenge, pending.location):
            reply = other.post(url)
            is_refusal(reply, "unauthorized", 403)
            assert "location" not in reply.headers
        is_refusal(other.post(pending.json["finalize"], {"csr": csr_for(PENDING)}), "unauthorized", 403)
        is_refusal(other.post(order.json["finalize"], {"csr": csr_for(A)}), "unauthorized", 403)
        is_refusal(other.post(challenge, {}), "unauthorized", 403)
        is_refusal(other.post(authorization, {"status": "deactivated"}), "unauthorized", 403)


NOWHERE: dict[str, tuple[str, int]] = {
    "unknown": ("malformed", 404),
    "a" * 65: ("malformed", 404),
    "é": ("malformed", 404),
    "..": ("malformed", 404),
    "'": ("malformed", 404),
    "%00": ("unauthorized", 403),  # it was signed in another spelling than it arrived in
}


@pytest.mark.parametrize(("name", "refusal"), NOWHERE.items())
def test_what_is_unknown_is_not_found(wire: Wire, name: str, refusal: tuple[str, int]) -> None:
    """§6.7: malformed, 404; §6.4.1: unauthorized where the URL is not the one that was signed."""
    urls: dict[str, Any] = {
        f"/acme/order/{name}": "", f"/acme/order/{name}/finalize": {"csr": csr_for(A)}, f"/acme/authz/{name}": "",
        f"/acme/chall/{name}/http-01": {}, f"/acme/cert/{name}": "", f"/acme/cert/{name}/1": "",
    }  # fmt: skip
    with nothing_changes(wire):
        for path, payload in urls.items():
            is_refusal(wire.post(BASE + path, payload), *refusal)


def test_an_escaped_slash_makes_no_other_url(lite: Wire) -> None:
    """§6.4.1: unauthorized where there is such a resource without the escape, and malformed where there is none."""
    with nothing_changes(lite):
        is_refusal(lite.post(f"{BASE}/acme/cert/x%2F1"), "unauthorized", 403)
        is_refusal(lite.post(f"{BASE}/acme/order/x%2Fy"), "malformed", 404)


# --- finalize ----------------------------------------------------------------------------------------------------


def test_a_pending_order_is_not_ready(wire: Wire) -> None:
    """§7.4: 403 orderNotReady."""
    order = wire.order(PENDING)
    with nothing_changes(wire):
        is_refusal(wire.post(order.json["finalize"], {"csr": csr_for(PENDING)}), "orderNotReady", 403)


def _broken() -> str:
    octets = bytearray(unb64(csr_for(A)))
    octets[-1] ^= 1
    return b64(bytes(octets))


def _with_mail() -> str:
    names = x509.SubjectAlternativeName([x509.DNSName(A), x509.RFC822Name("ceo@corp.example")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return b64(request.public_bytes(Encoding.DER))


BAD_CSR: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "malformed"),
    "null": ({"csr": None}, "malformed"),
    "a number": ({"csr": 7}, "malformed"),
    "PEM": ({"csr": "-----BEGIN CERTIFICATE REQUEST-----"}, "malformed"),
    "padded": ({"csr": "AA=="}, "malformed"),
    "empty": ({"csr": ""}, "badCSR"),
    "no DER": ({"csr": b64(b"hello")}, "badCSR"),
    "cut": ({"csr": b64(unb64(csr_for(A))[:-8])}, "badCSR"),
    "a broken signature": ({"csr": _broken()}, "badCSR"),
    "one name more": ({"csr": csr_for(A, "b.corp.example")}, "badCSR"),
    "another name": ({"csr": csr_for("b.corp.example")}, "badCSR"),
    "a wildcard": ({"csr": csr_for(f"*.{A}")}, "badCSR"),
    "an e-mail address more": ({"csr": _with_mail()}, "badCSR"),
    "a weak key": ({"csr": csr_for(A, key=rsa.generate_private_key(65537, 1024))}, "badCSR"),
}


@pytest.mark.parametrize(("payload", "problem"), BAD_CSR.values(), ids=BAD_CSR.keys())
def test_a_bad_csr_leaves_the_order_ready(lite: Wire, payload: dict[str, Any], problem: str) -> None:
    """§7.4: badCSR; another one may follow."""
    order = lite.order(A)
    with nothing_changes(lite):
        is_refusal(lite.post(order.json["finalize"], payload), problem, 400)
    assert lite.post(order.location).json["status"] == "ready"
    assert lite.post(order.json["finalize"], {"csr": csr_for(A)}).json["status"] == "valid"


def test_the_account_key_is_no_certificate_key(lite: Wire) -> None:
    """§11.1."""
    order = lite.order(A)
    with nothing_changes(lite):
        is_refusal(lite.post(order.json["finalize"], {"csr": csr_for(A, key=lite.key.private)}), "badCSR", 400)


def test_finalize_answers_with_the_whole_order(wire: Wire) -> None:
    """§7.4: `valid` at once where the key is immediate; Location too, which clients look for (interop)."""
    order = wire.order(A)
    done = wire.post(order.json["finalize"], {"csr": csr_for(A)})
    assert (done.status, done.location) == (200, order.location)
    assert done.json["status"] == "valid"
    assert done.json["certificate"] == f"{BASE}/acme/cert/{order.location.rsplit('/', 1)[1]}"
    seen = wire.post(order.location)
    assert (seen.json, seen.location) == (done.json, order.location)
    assert "retry-after" not in done.headers


def test_finalized_again_it_is_the_same_order(wire: Wire) -> None:
    """§7.4: with the same key; another key is told that there is one certificate to an order."""
    key = ec.generate_private_key(ec.SECP256R1())
    order = wire.order(A)
    first = wire.post(order.json["finalize"], {"csr": csr_for(A, key=key)})
    with nothing_changes(wire):
        again = wire.post(order.json["finalize"], {"csr": csr_for(A, key=key)})
        assert (again.status, again.json) == (200, first.json)
        is_refusal(wire.post(order.json["finalize"], {"csr": csr_for(A)}), "orderNotReady", 403)


def test_a_replayed_finalize_is_a_bad_nonce(wire: Wire) -> None:
    """§6.5."""
    order = wire.order(A)
    jws = wire.signed(order.json["finalize"], {"csr": csr_for(A)})
    assert wire.send_jws(order.json["finalize"], jws).json["status"] == "valid"
    with nothing_changes(wire):
        is_refusal(wire.send_jws(order.json["finalize"], jws), "badNonce", 400)


@pytest.mark.parametrize("same", [True, False], ids=["one key", "keys of their own"])
def test_concurrent_finalizes_give_one_certificate(wire: Wire, same: bool) -> None:
    """§7.4: once; orderNotReady for whoever comes with another key."""
    order = wire.order(A)
    before = wire.place.counts()["certificate"]
    key = ec.generate_private_key(ec.SECP256R1())
    requests = [wire.signed(order.json["finalize"], {"csr": csr_for(A, key=key if same else None)}) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda jws: wire.send_jws(order.json["finalize"], jws), requests))
    done = [reply for reply in replies if reply.status == 200]
    assert len(done) == 8 if same else len(done) == 1
    assert {reply.problem for reply in replies if reply.status != 200} <= {"orderNotReady"}
    assert wire.place.counts()["certificate"] == before + 1
    assert wire.post(order.location).json["status"] == "valid"


def test_one_request_many_times_at_once_is_heard_once(wire: Wire) -> None:
    """§6.5: badNonce for all but one."""
    order = wire.order(A)
    jws = wire.signed(order.json["finalize"], {"csr": csr_for(A)})
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: wire.send_jws(order.json["finalize"], jws), range(8)))
    assert sorted(reply.problem for reply in replies) == [""] + ["badNonce"] * 7


def test_an_expired_order_is_invalid(wire: Wire) -> None:
    """§7.1.6, §7.4: orderNotReady."""
    order = wire.order(A)
    wire.place.world.pass_time(timedelta(days=8))
    assert wire.post(order.location).json["status"] == "invalid"
    with nothing_changes(wire):
        is_refusal(wire.post(order.json["finalize"], {"csr": csr_for(A)}), "orderNotReady", 403)


# --- what cannot be had now --------------------------------------------------------------------------------------


def _is_away(reply: Reply) -> None:
    is_refusal(reply, "serverInternal", 503)
    assert reply.headers["retry-after"].isdigit()
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize("error", [Unavailable("secret disk", "x"), NotSigned("secret token")])
def test_what_is_away_is_said_without_why(lite: Wire, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """§6.7: serverInternal; RFC 9110 §15.6.4: 503 with Retry-After. Then the same order is finalized."""
    order = lite.order(A)
    url, wish = order.json["finalize"], {"csr": csr_for(A)}

    def fail(*_: object) -> None:
        raise error

    with nothing_changes(lite), monkeypatch.context() as patched:
        patched.setattr(type(lite.place.acme.orders), "finalize", fail)
        _is_away(lite.post(url, wish))
    assert lite.post(url, wish).json["status"] == "valid"


def test_what_nobody_thought_of_is_a_500_that_tells_nothing(lite: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """§6.7: serverInternal."""

    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(type(lite.place.acme.orders), "get", fail)
    reply = lite.post(f"{BASE}/acme/order/x")
    is_refusal(reply, "serverInternal", 500, "internal error")
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize("path", ["/acme/p/{}/directory", "/crl/{}/1.crl"])
@pytest.mark.parametrize("error", [Unavailable("the disk is gone"), KeyError("x")])
def test_a_path_forges_no_line_of_the_log(
    lite: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, error: Exception
) -> None:
    """§6.7: 500 and more. Whatever a client writes into it, it stays within its quotes."""

    def fail(*_: object) -> None:
        raise error

    for reading in ("read", "look"):
        monkeypatch.setattr(type(lite.place.world.parts.db), reading, fail)
    forged = "x%0A2030-01-01 12:00:00 INFO revoked 01:02 by operator%0D%1B[2K"
    assert lite.get(path.format(forged)).status >= 500
    said = [record.getMessage() for record in caplog.records if "GET" in record.getMessage()]
    assert said
    for line in said:
        assert line.isprintable()
        assert repr(f"{path.format('x')[: -len(path.split('{}')[1])]}")[:-1] in line


def _away(*_: object) -> None:
    raise Unavailable("secret disk")


def test_without_a_database_there_is_an_answer(lite: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """§6.7: serverInternal; RFC 9110 §15.6.4: 503 with Retry-After. Nonce and links may be missing from it then."""
    jws = lite.signed(NEW_ORDER, dns(A))
    with nothing_changes(lite), monkeypatch.context() as patched:
        patched.setattr(type(lite.place.world.parts.db), "look", _away)
        patched.setattr(type(lite.place.acme.nonces._ledger), "epoch", _away)
        reply = lite.send_jws(NEW_ORDER, jws)
        assert (reply.status, reply.problem) == (503, "serverInternal")
        assert reply.headers["retry-after"].isdigit()
        assert lite.get("/acme/new-nonce").status == 503
        assert lite.get("/acme/directory").status == 503


def test_while_the_database_is_away_a_client_still_gets_its_nonce(
    lite: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """§6.5: a nonce in every answer to a POST. It needs no database once the process knows its epoch, though
    the link beside it does; the client goes on with it when the database is back."""
    jws = lite.signed(NEW_ORDER, dns(A))
    client = make_wire(lite.place)  # one whose process does not know the base of its URLs yet
    with nothing_changes(lite), monkeypatch.context() as patched:
        patched.setattr(type(lite.place.world.parts.db), "look", _away)
        reply = client.send_jws(NEW_ORDER, jws)
        assert (reply.status, reply.problem) == (503, "serverInternal")
        assert reply.headers["retry-after"].isdigit()
        assert len(reply.headers["replay-nonce"]) == 43
        assert not reply.all("link")
        assert client.send("HEAD", "/acme/new-nonce").headers["replay-nonce"]
    said = [record.getMessage() for record in caplog.records if record.name.endswith("acme.headers")]
    assert said
    assert all(line.startswith("no link for the answer to") for line in said)
    assert lite.post(NEW_ORDER, dns(A), nonce=reply.headers["replay-nonce"]).status == 201


# --- certificates ------------------------------------------------------------------------------------------------


def test_a_certificate_is_served_under_its_chains(wire: Wire) -> None:
    """§7.4.2: leaf first, each signs the one before, the root left out."""
    order = wire.issued(A)
    url = order.json["certificate"]
    reply = wire.post(url)
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    chain = x509.load_pem_x509_certificates(reply.body)
    for below, above in itertools.pairwise(chain):
        below.verify_directly_issued_by(above)
    assert chain[-1].subject != chain[-1].issuer
    assert not [link for link in reply.all("link") if "alternate" in link]
    with nothing_changes(wire):
        for other in ("1", "00", "-1", "x", "9" * 50, "١"):
            is_refusal(wire.post(f"{url}/{other}"), "malformed", 404)


def test_alternates_are_linked_each_in_a_line(lite: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """§7.4.2: to all but the one that is fetched."""
    from pkiconf.model.acme import CertificateChain

    order = lite.issued(A)
    url = order.json["certificate"]
    real = lite.place.acme.orders.certificate

    def several(self: object, account: Any, name: str, alternate: int = 0) -> CertificateChain:
        return CertificateChain(real(account, name).certificates, 2)

    monkeypatch.setattr(type(lite.place.acme.orders), "certificate", several)
    for number, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        reply = lite.post(f"{url}/{number}" if number else url)
        wanted = [f'<{url}/{other}>;rel="alternate"' if other else f'<{url}>;rel="alternate"' for other in others]
        assert [link for link in reply.all("link") if "alternate" in link] == wanted


def test_there_is_no_certificate_before_it_is_issued(wire: Wire) -> None:
    """§7.4.2: 404."""
    order = wire.order(A)
    with nothing_changes(wire):
        url = order.location.replace("/order/", "/cert/")
        is_refusal(wire.post(url), "malformed", 404, "no certificate yet")
