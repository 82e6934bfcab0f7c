"""Revocation (RFC 8555 §7.6) and renewal information (RFC 9773) over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.endpoints.acme.refusals import INDEX, is_refusal, nothing_changes
from tests.endpoints.acme.wire import BASE, Key, Wire, b64, csr_for, es256

REVOKE = f"{BASE}/acme/revoke-cert"
A = "a.corp.example"


def issued(wire: Wire, name: str = A) -> tuple[x509.Certificate, Key]:
    """A certificate and its key."""
    key = Key(ec.generate_private_key(ec.SECP256R1()), "ES256")
    done = wire.post(wire.order(name).json["finalize"], {"csr": csr_for(name, key=key.private)})
    return x509.load_pem_x509_certificates(wire.post(done.json["certificate"]).body)[0], key


def der(certificate: x509.Certificate) -> str:
    return b64(certificate.public_bytes(Encoding.DER))


def test_an_account_revokes_what_it_ordered(wire: Wire) -> None:
    """§7.6: 200, empty."""
    certificate, _ = issued(wire)
    reply = wire.post(REVOKE, {"certificate": der(certificate), "reason": 4})
    assert (reply.status, reply.body) == (200, b"")
    assert len(reply.headers["replay-nonce"]) == 43
    assert INDEX in reply.all("link")
    with nothing_changes(wire):
        is_refusal(wire.post(REVOKE, {"certificate": der(certificate)}), "alreadyRevoked", 400)


def test_the_certificates_own_key_revokes_it(wire: Wire) -> None:
    """§7.6: signed by jwk, without an account; even a key that leaked, which is why it is revoked."""
    certificate, key = issued(wire)
    nobody = Wire(wire.app, wire.place, key)
    reply = nobody.post(REVOKE, {"certificate": der(certificate), "reason": 1}, jwk=key.jwk)
    assert (reply.status, reply.body) == (200, b"")
    with nothing_changes(wire):
        reply = nobody.post(REVOKE, {"certificate": der(certificate), "reason": 1}, jwk=key.jwk)
        is_refusal(reply, "alreadyRevoked", 400)


def test_another_account_revokes_what_it_has_proved(wire: Wire) -> None:
    """§7.6: a valid authorization for every name; a pre-approved one proves nothing."""
    certificate, _ = issued(wire)
    other = wire.other()
    with nothing_changes(wire):
        is_refusal(other.post(REVOKE, {"certificate": der(certificate)}), "unauthorized", 403, A)
    assert other.order(A).json["status"] == "ready"
    with nothing_changes(wire):
        is_refusal(other.post(REVOKE, {"certificate": der(certificate)}), "unauthorized", 403, A)
    wire.place.policy("internal")
    proving = other.order(A).json["authorizations"][0]
    assert other.post(f"{proving.replace('/authz/', '/chall/')}/http-01", {}).status == 200
    wire.place.settle(proving.rsplit("/", 1)[1])
    assert other.post(REVOKE, {"certificate": der(certificate)}).status == 200


def test_a_key_that_is_not_the_certificates_does_not(wire: Wire) -> None:
    """§7.6: unauthorized, 403, for any other key, that of the account that ordered it too when it is given as jwk."""
    certificate, _ = issued(wire)
    with nothing_changes(wire):
        for key in (es256(), wire.key):
            reply = wire.post(REVOKE, {"certificate": der(certificate)}, key=key, jwk=key.jwk)
            is_refusal(reply, "unauthorized", 403, "not signed with the certificate's key")


@pytest.mark.parametrize("reason", [-1, 2, 6, 7, 8, 10, 11, 2**70])
def test_a_reason_that_a_client_may_not_give(lite: Wire, reason: int) -> None:
    """§7.6: badRevocationReason."""
    certificate, _ = issued(lite)
    with nothing_changes(lite):
        is_refusal(lite.post(REVOKE, {"certificate": der(certificate), "reason": reason}), "badRevocationReason", 400)


REFUSED: dict[str, tuple[Any, str, int]] = {
    "nothing": ({}, "malformed", 400),
    "null": ({"certificate": None}, "malformed", 400),
    "a number": ({"certificate": 7}, "malformed", 400),
    "PEM": ({"certificate": "-----BEGIN CERTIFICATE-----"}, "malformed", 400),
    "padded": ({"certificate": "AA=="}, "malformed", 400),
    "empty": ({"certificate": ""}, "malformed", 400),
    "no DER": ({"certificate": b64(b"hello")}, "malformed", 400),
}


@pytest.mark.parametrize(("wish", "problem", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_certificate(lite: Wire, wish: Any, problem: str, status: int) -> None:
    """§7.6: malformed."""
    with nothing_changes(lite):
        is_refusal(lite.post(REVOKE, wish), problem, status)


@pytest.mark.parametrize("reason", ["1", 1.0, True, [1]])
def test_a_reason_is_a_number(lite: Wire, reason: object) -> None:
    """§7.6: malformed."""
    certificate, _ = issued(lite)
    with nothing_changes(lite):
        reply = lite.post(REVOKE, {"certificate": der(certificate), "reason": reason})
        is_refusal(reply, "malformed", 400, "'reason' is not an integer")


def test_a_certificate_of_elsewhere_or_of_an_authority(wire: Wire) -> None:
    """§7.6: 404 malformed, 403 unauthorized."""
    certificate, key = issued(wire)
    chain = x509.load_pem_x509_certificates(wire.post(wire.issued(A).json["certificate"]).body)
    changed = bytearray(certificate.public_bytes(Encoding.DER))
    changed[-1] ^= 1  # the same serial and names, another signature
    with nothing_changes(wire):
        is_refusal(wire.post(REVOKE, {"certificate": b64(bytes(changed))}), "malformed", 404)
        reply = wire.post(REVOKE, {"certificate": b64(bytes(changed))}, key=key, jwk=key.jwk)
        is_refusal(reply, "malformed", 404)
        is_refusal(wire.post(REVOKE, {"certificate": der(chain[1])}), "unauthorized", 403, "operator")


# --- RFC 9773 ----------------------------------------------------------------------------------------------------


def certificate_id(certificate: x509.Certificate) -> str:
    """RFC 9773 §4.1."""
    above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert above is not None
    serial = certificate.serial_number
    return f"{b64(above)}.{b64(serial.to_bytes(serial.bit_length() // 8 + 1))}"


def test_anybody_asks_when_to_renew(wire: Wire) -> None:
    """RFC 9773 §4.2, §4.3: without a signature; Retry-After in seconds."""
    certificate, _ = issued(wire)
    url = f"{wire.get('/acme/directory').json['renewalInfo']}/{certificate_id(certificate)}"
    with nothing_changes(wire):
        reply = wire.get(url)
    assert reply.status == 200
    window = reply.json["suggestedWindow"]
    assert certificate.not_valid_before_utc.isoformat() < window["start"] < window["end"]
    assert int(reply.headers["retry-after"]) > 0
    assert "replay-nonce" not in reply.headers
    assert INDEX in reply.all("link")
    assert wire.post(REVOKE, {"certificate": der(certificate)}).status == 200
    assert wire.get(url).json["suggestedWindow"]["end"] <= "2030-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", 404), ("x", 400), (".", 400), ("a.b.c", 400), ("AA.AA==", 400),
        ("%00.AA", 400), ("é.AA", 400), ("A" * 5000, 400), ("..", 400),
    ],
)  # fmt: skip
def test_what_is_no_certificate_here(wire: Wire, name: str, status: int) -> None:
    """RFC 9773 §4.1: 404 for an unknown one, 400 for what is none."""
    with nothing_changes(wire):
        reply = wire.get(f"/acme/renewal-info/{name}")
        assert (reply.problem, reply.status) == ("malformed", status)
    assert wire.send("POST", f"/acme/renewal-info/{name}").status == 405


def test_an_order_replaces_a_certificate_once(wire: Wire) -> None:
    """RFC 9773 §5: reflected; 409 alreadyReplaced for the second; another account's is not replaced."""
    certificate, _ = issued(wire)
    replaced = certificate_id(certificate)
    order = wire.order(A, replaces=replaced)
    assert (order.status, order.json["replaces"]) == (201, replaced)
    other = wire.other()
    with nothing_changes(wire):
        is_refusal(wire.order(A, replaces=replaced), "alreadyReplaced", 409)
        is_refusal(other.order(A, replaces=replaced), "unauthorized", 403)
        is_refusal(wire.order("b.corp.example", replaces=replaced), "malformed", 400)
