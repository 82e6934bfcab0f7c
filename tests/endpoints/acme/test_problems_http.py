"""Problems that need a state of their own before a client meets them, and answers that say when to come back: each as
RFC 8555 and RFC 9773 have it on the wire, and nothing written."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.errors import OutcomeUnknown
from pkiconf.reconciler.state import Action
from tests.acme.place import make_account_key
from tests.endpoints.acme.conftest import PREAPPROVED
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.test_revocation_http import certificate_id, issued
from tests.endpoints.acme.wire import BASE, Wire, csr_for, es256

NEW_AUTHZ = f"{BASE}/acme/new-authz"
A = "a.corp.example"


def bound_client(wire: Wire, **binding: Any) -> Wire:
    """A client whose account registered with a binding."""
    key = es256()
    account = wire.place.account(binding=wire.place.binding(**binding), key=make_account_key(key.private))
    return Wire(wire.app, wire.place, key, f"{wire.account.rsplit('/', 1)[0]}/{account.name}")


# --- rateLimited -------------------------------------------------------------------------------------------------


def test_too_many_orders_are_told_when_to_come_back(wire: Wire) -> None:
    """RFC 8555 §6.6: rateLimited, 429, with Retry-After in seconds; after them it goes on."""
    wire.place.policy(preapproved_domains=[PREAPPROVED], rate_limits={"orders_per_account": {"count": 1, "per": "1h"}})
    assert wire.order(A).status == 201
    wire.place.world.pass_time(timedelta(minutes=20))
    with nothing_changes(wire):
        reply = wire.order(A)
        is_refusal(reply, "rateLimited", 429, "come back in 2400 seconds")
        assert reply.headers["retry-after"] == "2400"
    wire.place.world.pass_time(timedelta(seconds=2400))
    assert wire.order(A).status == 201


def test_too_many_orders_of_a_binding_are_told_when_to_come_back(wire: Wire) -> None:
    """RFC 8555 §6.6: counted over all accounts that registered with it; others go on."""
    limits = {"orders_per_binding": {"count": 1, "per": "1h"}}
    wire.place.policy(preapproved_domains=[PREAPPROVED], rate_limits=limits)
    first, second = bound_client(wire, max_accounts=None), bound_client(wire, max_accounts=None)
    assert first.order(A).status == 201
    with nothing_changes(wire):
        reply = second.order(A)
        is_refusal(reply, "rateLimited", 429, "come back in 3600 seconds")
        assert reply.headers["retry-after"] == "3600"
    assert wire.order(A).status == 201


def test_too_many_certificates_for_a_name_leave_the_order_ready(wire: Wire) -> None:
    """RFC 8555 §6.6, at finalize: the order that was made before the limit was reached is not spent."""
    limits = {"certificates_per_name": {"count": 1, "per": "1h"}}
    wire.place.policy(preapproved_domains=[PREAPPROVED], rate_limits=limits)
    first, second = wire.order(A), wire.order(A)
    assert wire.post(first.json["finalize"], {"csr": csr_for(A)}).json["status"] == "valid"
    with nothing_changes(wire):
        reply = wire.post(second.json["finalize"], {"csr": csr_for(A)})
        is_refusal(reply, "rateLimited", 429)
        assert reply.headers["retry-after"] == "3600"
    assert wire.post(second.location).json["status"] == "ready"


# --- rejectedIdentifier, invalidProfile, compound ----------------------------------------------------------------


def test_names_outside_the_binding(wire: Wire) -> None:
    """RFC 8555 §7.4, §7.4.1, §6.7: rejectedIdentifier, 403, whether it is ordered or authorized beforehand."""
    client = bound_client(wire, domains=["*.team.example"])
    with nothing_changes(wire):
        is_refusal(client.order("web.other.example"), "rejectedIdentifier", 403, "binding")
        wish = {"identifier": {"type": "dns", "value": "web.other.example"}}
        is_refusal(client.post(NEW_AUTHZ, wish), "rejectedIdentifier", 403, "binding")
    assert client.order("web.team.example").status == 201


NARROW = """
authorities: [{ name: root }, { name: issuing, issuer: root }]
templates:
  - { name: narrow, authority: issuing, starter: web-server, names: { allow: { dns: ["*.corp.example"] } } }
"""


def test_names_outside_the_template(wire: Wire) -> None:
    """RFC 8555 §7.4, §6.7: what the template would not issue is refused before anything is proved for it."""
    wire.place.world.apply(NARROW)
    wire.place.policy(template="issuing/narrow")
    with nothing_changes(wire):
        is_refusal(wire.order("web.other.example"), "rejectedIdentifier", 403, "web.other.example")
        wish = {"identifier": {"type": "dns", "value": "web.other.example"}}
        is_refusal(wire.post(NEW_AUTHZ, wish), "rejectedIdentifier", 403, "web.other.example")
    assert wire.order(A).status == 201


def test_a_profile_that_is_offered_no_more_is_not_finalized(wire: Wire) -> None:
    """draft-ietf-acme-profiles §4: invalidProfile, 400; RFC 8555 §7.4: the order stays as it was."""
    wire.place.policy(
        preapproved_domains=[PREAPPROVED],
        profiles={"default": "issuing/web-server", "other": "issuing/web-server"}, default_profile="default",
    )  # fmt: skip
    order = wire.order(A, profile="other")
    wire.place.policy(preapproved_domains=[PREAPPROVED])
    with nothing_changes(wire):
        is_refusal(wire.post(order.json["finalize"], {"csr": csr_for(A)}), "invalidProfile", 400, "offered: default")
    assert wire.post(order.location).json["status"] == "ready"


def test_problems_of_several_kinds_are_a_compound(wire: Wire) -> None:
    """RFC 8555 §6.7.1: no type is above them all; each has its own, and its identifier."""
    wish = {"identifiers": [{"type": "email", "value": "a@corp.example"}, {"type": "dns", "value": "a b.example"}]}
    with nothing_changes(wire):
        reply = wire.post(f"{BASE}/acme/new-order", wish)
        is_refusal(reply, "compound", 400, "2 identifiers")
        kinds = [sub["type"].rsplit(":", 1)[1] for sub in reply.json["subproblems"]]
        assert kinds == ["unsupportedIdentifier", "rejectedIdentifier"]
        assert all(sub["detail"] for sub in reply.json["subproblems"])


# --- finalize and certificates -----------------------------------------------------------------------------------


class _Silent:
    """In place of a key: nobody knows whether it has signed."""

    def sign(self, order: Any) -> bytes:
        raise OutcomeUnknown("no answer")


def test_a_key_that_does_not_answer_now_is_processing(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8555 §7.4: 200 `processing` with Retry-After, from finalize and from the order; no certificate until then,
    and asked again it is still that one order."""
    order = wire.order(A)
    key = ec.generate_private_key(ec.SECP256R1())
    wish = {"csr": csr_for(A, key=key)}
    with monkeypatch.context() as patched:
        patched.setattr(type(wire.place.world.services.intents), "signer", lambda self, key: _Silent())
        reply = wire.post(order.json["finalize"], wish)
    assert (reply.status, reply.json["status"]) == (200, "processing")
    assert "certificate" not in reply.json
    assert int(reply.headers["retry-after"]) > 0
    with nothing_changes(wire):
        for seen in (wire.post(order.location), wire.post(order.json["finalize"], wish)):
            assert (seen.status, seen.json["status"]) == (200, "processing")
            assert int(seen.headers["retry-after"]) > 0
        is_refusal(wire.post(order.location.replace("/order/", "/cert/")), "malformed", 404, "no certificate yet")
        is_refusal(wire.post(order.json["finalize"], {"csr": csr_for(A)}), "orderNotReady", 403)


ROLLED = """
authorities:
  - { name: root, key: { generation: 2 }, rollover: { cross_certificates: true } }
  - { name: issuing, issuer: root }
"""


def test_cross_certificates_are_alternate_chains(wire: Wire) -> None:
    """RFC 8555 §7.4.2: each chain links to all others by rel="alternate", in a line of its own; each is a path."""
    wire.place.world.apply(ROLLED, allow=(Action.ROLLOVER, Action.REPLACE))
    url = wire.issued(A).json["certificate"]

    def others(location: str) -> list[str]:
        return [link[1:].split(">")[0] for link in wire.post(location).all("link") if 'rel="alternate"' in link]

    everywhere = {url, *others(url)}
    assert len(everywhere) >= 2
    seen = set()
    for location in everywhere:
        assert {location, *others(location)} == everywhere
        chain = x509.load_pem_x509_certificates(wire.post(location).body)
        for below, above in itertools.pairwise(chain):
            below.verify_directly_issued_by(above)
        seen.add(tuple(certificate.serial_number for certificate in chain))
    assert len(seen) == len(everywhere)
    assert len({serials[0] for serials in seen}) == 1
    with nothing_changes(wire):
        is_refusal(wire.post(f"{url}/{len(everywhere)}"), "malformed", 404, "there is no chain")


def test_a_rollover_moves_the_window(wire: Wire) -> None:
    """RFC 9773 §4.2: from later to now, for a certificate that is good; its client renews by itself."""
    certificate, _ = issued(wire)
    url = f"{wire.get('/acme/directory').json['renewalInfo']}/{certificate_id(certificate)}"
    before = wire.get(url).json["suggestedWindow"]
    wire.place.world.pass_time(timedelta(days=2))
    wire.place.world.apply(
        "authorities: [{ name: root }, { name: issuing, issuer: root, key: { generation: 2 } }]",
        allow=(Action.ROLLOVER,),
    )
    with nothing_changes(wire):
        reply = wire.get(url)
    assert reply.status == 200
    window = reply.json["suggestedWindow"]
    assert window == {"start": "2030-01-03T12:00:00Z", "end": "2030-01-04T12:00:00Z"}
    assert window["end"] < before["start"]
    assert int(reply.headers["retry-after"]) > 0
