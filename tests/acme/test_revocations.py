"""Revocation over ACME (RFC 8555 §7.6)."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.errors import Conflict
from pkiconf.model.acme import Account, ACMEProblem, ProblemType
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from tests.acme.place import Place, at_once, der_csr, identifiers, make_account_key
from tests.world import OPERATOR, make_csr

NAMES = ("a.example", "*.a.example", "b.example")


def status_of(place: Place, der: bytes) -> tuple[str, int | None]:
    serial = x509.load_der_x509_certificate(der).serial_number.to_bytes(19)
    ((status, reason),) = place.rows("SELECT status, reason FROM certificate WHERE serial = :serial", serial=serial)
    return status, reason


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def proving(place: Place, *names: str) -> Account:
    """An account that holds valid authorizations for the names, and ordered nothing of them."""
    account = place.account()
    for name in names:
        place.prove(account, place.order(account, name))
    return account


@pytest.mark.parametrize("reason", [None, 0, 1, 3, 4, 5, 9])
def test_by_the_account_that_ordered_it(sqlite_place: Place, reason: int | None) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    _, leaf = sqlite_place.issued(account, *NAMES)
    sqlite_place.acme.revocations.by_account(account, leaf, reason)
    assert status_of(sqlite_place, leaf) == ("revoked", reason or 0)
    (record,) = sqlite_place.records("certificate.revoke")
    assert record["actor"] == f"acme:{account.name}"
    with sqlite_place.refusal(ProblemType.ALREADY_REVOKED):
        sqlite_place.acme.revocations.by_account(account, leaf, reason)


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, 11, -1])
def test_reasons_that_clients_may_not_give(sqlite_place: Place, reason: int) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    key = ec.generate_private_key(ec.SECP256R1())
    _, leaf = sqlite_place.issued(account, "a.example", key=key)
    with sqlite_place.refusal(ProblemType.BAD_REVOCATION_REASON):
        sqlite_place.acme.revocations.by_account(account, leaf, reason)
    with sqlite_place.refusal(ProblemType.BAD_REVOCATION_REASON):
        sqlite_place.acme.revocations.by_key(spki_of(key), leaf, reason)


def test_by_an_account_that_could_have_ordered_it(place: Place) -> None:
    place.policy()
    _, leaf = place.issued(place.account(), *NAMES)
    other = proving(place, *NAMES)
    with place.refusal(ProblemType.BAD_REVOCATION_REASON):  # the key is not its own to blame
        place.acme.revocations.by_account(other, leaf, 1)
    place.acme.revocations.by_account(other, leaf, 5)
    assert status_of(place, leaf) == ("revoked", 5)


@pytest.mark.parametrize("number", range(len(NAMES)))
@pytest.mark.parametrize("how", ["never", "expired", "deactivated", "pending"])
def test_an_account_that_lacks_a_single_name(sqlite_place: Place, number: int, how: str) -> None:
    """Whichever of them it is; a wildcard is not proved by its domain, nor the other way round."""
    place = sqlite_place
    place.policy()
    _, leaf = place.issued(place.account(), *NAMES)
    lacking, others = NAMES[number], [name for name in NAMES if name != NAMES[number]]
    account = proving(place, *others)
    if how == "pending":
        place.order(account, lacking)
    elif how != "never":
        order = place.prove(account, place.order(account, lacking))
        change = f"expires_at = {place.now}" if how == "expired" else "status = 'deactivated'"
        place.sql(f"UPDATE acme_authorization SET {change} WHERE name = '{order.authorizations[0]}'")
    with place.refusal(ProblemType.UNAUTHORIZED, rf"no valid authorization, .* for {re.escape(lacking)}$"):
        place.acme.revocations.by_account(account, leaf, None)
    assert status_of(place, leaf) == ("good", None)


def test_preapproved_names_revoke_nothing_of_others(place: Place) -> None:
    """Not even under the same policy: who has proved nothing may have certificates, and end nobody else's."""
    place.policy(preapproved_domains=["a.example"])
    owner, other = place.account(), place.account()
    _, leaf = place.issued(owner, "a.example")
    operators = place.world.issued("issuing/web-server", make_csr("a.example", ("a.example",))).der
    assert place.order(other, "a.example").status == "ready"
    for der in (leaf, operators):
        with place.refusal(ProblemType.UNAUTHORIZED, "no valid authorization, proved by a challenge, for a.example$"):
            place.acme.revocations.by_account(other, der, None)
        assert status_of(place, der) == ("good", None)
    place.acme.revocations.by_account(owner, leaf, None)


TWO_TEMPLATES = """
authorities: [{ name: root }, { name: issuing, issuer: root }, { name: prod, issuer: root }]
templates:
  - { name: tls, authority: prod, starter: web-server }
  - { name: other, authority: issuing, starter: web-server }
"""


def test_one_source_does_not_use_what_another_has_approved(place: Place) -> None:
    """A name that policy `ci` approves, or that an account of `ci` has proved, revokes nothing of other templates:
    neither another policy's certificates nor an operator's."""
    place.world.apply(TWO_TEMPLATES)
    place.policy("prod", template="prod/tls")
    place.policy("ci", preapproved_domains=["*.corp.example"])
    _, leaf = place.issued(place.account("prod"), "pay.corp.example")
    others = [
        place.world.issued(template, make_csr("pay.corp.example", ("pay.corp.example",))).der
        for template in ("prod/tls", "issuing/other")
    ]
    approved = place.account("ci")
    assert place.acme.authorizations.create(approved, identifiers("pay.corp.example")[0])[0].status == "valid"
    place.policy("ci")
    proved = place.account("ci")
    place.prove(proved, place.order(proved, "pay.corp.example"))
    place.policy("ci", preapproved_domains=["*.corp.example"])
    for account in (approved, proved):
        for der in (leaf, *others):
            with place.refusal(ProblemType.UNAUTHORIZED, "may order none of its template"):
                place.acme.revocations.by_account(account, der, 4)
            assert status_of(place, der) == ("good", None)


def test_any_template_that_the_account_may_order_will_do(sqlite_place: Place) -> None:
    """Also beside a profile whose template there is no more, and not one that its binding leaves out."""
    place = sqlite_place
    place.world.apply(TWO_TEMPLATES)
    profiles = {"gone": "issuing/never-was", "tls": "prod/tls", "web": "issuing/web-server"}
    place.policy(profiles=profiles, default_profile="web")
    binding = place.binding()
    account = place.account(binding=binding)
    place.prove(account, place.order(account, "a.example"))
    leaf = place.world.issued("prod/tls", make_csr("a.example", ("a.example",))).der
    place.binding(profiles=["gone", "web"])
    with place.refusal(ProblemType.UNAUTHORIZED, "may order none of its template"):
        place.acme.revocations.by_account(account, leaf, None)
    place.binding(profiles=["gone", "tls"])
    place.acme.revocations.by_account(account, leaf, None)
    assert status_of(place, leaf) == ("revoked", 0)


@pytest.mark.parametrize("how", ["the challenge was withdrawn", "the binding allows other names"])
def test_what_was_proved_counts_by_todays_terms(sqlite_place: Place, how: str) -> None:
    place = sqlite_place
    place.policy()
    binding = place.binding()
    account = place.account(binding=binding)
    _, leaf = place.issued(place.account(), "a.example")
    place.prove(account, place.order(account, "a.example"))
    if how == "the challenge was withdrawn":
        place.binding(challenges=["dns-01"])
    else:
        place.binding(domains=["b.example"])
    with place.refusal(ProblemType.UNAUTHORIZED, "no valid authorization"):
        place.acme.revocations.by_account(account, leaf, None)
    assert status_of(place, leaf) == ("good", None)
    place.binding()
    place.acme.revocations.by_account(account, leaf, None)


def test_an_account_bars_no_key(place: Place) -> None:
    """CSRs are no secrets: who has somebody's CSR orders with it, and blames the key; its holder goes on with it."""
    place.policy(preapproved_domains=["a.example"])
    victim, other = place.account(), place.account()
    key = ec.generate_private_key(ec.SECP256R1())
    _, leaf = place.issued(other, "a.example", key=key)
    place.acme.revocations.by_account(other, leaf, 1)
    assert status_of(place, leaf) == ("revoked", 1)
    assert place.rows("SELECT * FROM compromised_key") == []
    _, again = place.issued(victim, "a.example", key=key)
    with place.refusal(ProblemType.ALREADY_REVOKED):
        place.acme.revocations.by_account(other, leaf, 1)
    place.acme.revocations.by_key(spki_of(key), leaf, 1)  # whoever has it may: now it is barred
    assert place.rows("SELECT spki_sha256 FROM compromised_key") == [(hashlib.sha256(spki_of(key)).digest(),)]
    assert status_of(place, again) == ("good", None)
    with place.refusal(ProblemType.ALREADY_REVOKED):
        place.acme.revocations.by_key(spki_of(key), leaf, 1)
    order = place.order(victim, "a.example")
    with place.refusal(ProblemType.BAD_CSR, "known to be compromised"):
        place.acme.orders.finalize(victim, order.name, der_csr("a.example", key=key))


def test_an_operator_bars_a_key_that_an_account_has_only_blamed(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    account = place.account()
    _, leaf = place.issued(account, "a.example")
    place.acme.revocations.by_account(account, leaf, 1)
    ((issuer, serial),) = place.rows("SELECT issuer_id, serial FROM certificate WHERE origin_kind = 'acme'")
    number = CertificateID(issuer, int.from_bytes(serial))
    place.world.services.revocations.revoke(number, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert len(place.rows("SELECT * FROM compromised_key")) == 1
    with pytest.raises(Conflict, match="already revoked"):
        place.world.services.revocations.revoke(number, RevocationReason.KEY_COMPROMISE, OPERATOR)


def test_what_was_enrolled_over_scep_is_an_operators_to_revoke(sqlite_place: Place) -> None:
    """Said as it is: it belongs to a device, and to no authority."""
    place = sqlite_place
    place.policy()
    account = proving(place, "a.example")
    leaf = place.world.issued("issuing/web-server", make_csr("a.example", ("a.example",))).der
    place.sql("UPDATE certificate SET origin_kind = 'scep' WHERE origin_kind = 'request'")
    with place.refusal(ProblemType.UNAUTHORIZED, "was enrolled over SCEP; only an operator revokes it"):
        place.acme.revocations.by_account(account, leaf, None)


def test_by_the_key_of_the_certificate(place: Place) -> None:
    place.policy()
    key = ec.generate_private_key(ec.SECP256R1())
    _, leaf = place.issued(place.account(), "a.example", key=key)
    with place.refusal(ProblemType.UNAUTHORIZED, "not signed with the certificate's key"):
        place.acme.revocations.by_key(make_account_key().spki, leaf, None)
    place.acme.revocations.by_key(spki_of(key), leaf, 4)
    assert status_of(place, leaf) == ("revoked", 4)
    with place.refusal(ProblemType.ALREADY_REVOKED):
        place.acme.revocations.by_key(spki_of(key), leaf, None)
    place.acme.revocations.by_key(spki_of(key), leaf, 1)  # it turned out that the key got out
    assert status_of(place, leaf) == ("revoked", 1)
    with place.refusal(ProblemType.ALREADY_REVOKED):
        place.acme.revocations.by_key(spki_of(key), leaf, 1)


def test_a_certificate_on_hold_can_be_revoked(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    _, leaf = sqlite_place.issued(account, "a.example")
    ((issuer, serial),) = sqlite_place.rows("SELECT issuer_id, serial FROM certificate WHERE origin_kind = 'acme'")
    number = CertificateID(issuer, int.from_bytes(serial))
    sqlite_place.world.services.revocations.hold(number, OPERATOR)
    sqlite_place.acme.revocations.by_account(account, leaf, None)
    assert status_of(sqlite_place, leaf) == ("revoked", 0)


def test_a_retired_policy_still_revokes_and_an_ended_account_does_not(sqlite_place: Place) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    (_, first), (_, second) = (sqlite_place.issued(account, "a.example") for _ in range(2))
    sqlite_place.policy(state="absent")
    sqlite_place.acme.revocations.by_account(account, first, None)
    sqlite_place.acme.accounts.deactivate(account, OPERATOR)
    with sqlite_place.refusal(ProblemType.UNAUTHORIZED, "final", status=401):
        sqlite_place.acme.revocations.by_account(account, second, None)


def test_a_certificate_that_came_another_way(sqlite_place: Place) -> None:
    """Signed by an operator; revoked by whoever proved its names, or has its key."""
    place = sqlite_place
    place.policy()
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = place.world.issued("issuing/web-server", make_csr("a.example", ("a.example",), key)).der
    stranger = place.account()
    with place.refusal(ProblemType.UNAUTHORIZED):
        place.acme.revocations.by_account(stranger, leaf, None)
    place.acme.revocations.by_account(proving(place, "a.example"), leaf, None)
    assert status_of(place, leaf) == ("revoked", 0)
    other = place.world.issued("issuing/web-server", make_csr("a.example", ("a.example",), key)).der
    place.acme.revocations.by_key(spki_of(key), other, None)


def _authority_certificates(place: Place) -> list[bytes]:
    found = place.rows(
        "SELECT t.tbs, t.algorithm, s.signature FROM certificate c JOIN certificate_tbs t ON t.issuer_id = c.issuer_id"
        " AND t.serial = c.serial JOIN certificate_signature s ON s.issuer_id = c.issuer_id AND s.serial = c.serial"
        " WHERE c.origin_kind IN ('ca', 'service')"
    )
    from pkiconf.der.certificate import assemble_certificate
    from pkiconf.model.keys import SIGNATURE_ALGORITHMS

    return [assemble_certificate(tbs, SIGNATURE_ALGORITHMS[name], signature) for tbs, name, signature in found]


def test_authorities_and_their_services_are_no_subscribers(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    account, others = place.account(), _authority_certificates(place)
    assert len(others) >= 3
    for der in others:
        spki = x509.load_der_x509_certificate(der).public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )  # fmt: skip
        with place.refusal(ProblemType.UNAUTHORIZED, "only an operator"):
            place.acme.revocations.by_account(account, der, None)
        with place.refusal(ProblemType.UNAUTHORIZED, "only an operator"):
            place.acme.revocations.by_key(spki, der, None)


def test_an_authority_that_was_signed_on_request_is_none_either(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy()
    place.world.apply(
        "authorities: [{ name: root, path_length: 2 }, { name: issuing, issuer: root, path_length: 1 }]\n"
        "templates: [{ name: sub, authority: issuing, starter: certificate-authority }]"
    )
    key = ec.generate_private_key(ec.SECP384R1())
    der = place.world.issued("issuing/sub", make_csr("Sub CA", (), key)).der
    with place.refusal(ProblemType.UNAUTHORIZED, "only an operator"):
        place.acme.revocations.by_key(spki_of(key), der, None)


def test_a_certificate_that_only_looks_like_one_of_ours(sqlite_place: Place) -> None:
    """The same serial, issuer and names, another octet somewhere: not what was issued here."""
    place = sqlite_place
    place.policy()
    account = place.account()
    _, leaf = place.issued(account, "a.example")
    other = leaf[:-1] + bytes([leaf[-1] ^ 1])
    with place.refusal(ProblemType.MALFORMED, "not issued here", status=404):
        place.acme.revocations.by_account(account, other, None)


@pytest.mark.parametrize("der", [b"", b"garbage", b"\x30\x80", bytes(10_000)])
def test_what_is_no_certificate(sqlite_place: Place, der: bytes) -> None:
    sqlite_place.policy()
    account = sqlite_place.account()
    with sqlite_place.refusal(ProblemType.MALFORMED, "no certificate"):
        sqlite_place.acme.revocations.by_account(account, der, None)
    _, leaf = sqlite_place.issued(account, "a.example")
    for other in (leaf + b"\0", leaf[:-1]):
        with sqlite_place.refusal(ProblemType.MALFORMED):
            sqlite_place.acme.revocations.by_account(account, other, None)


def test_a_strangers_certificate(sqlite_place: Place) -> None:
    sqlite_place.policy()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    from cryptography.hazmat.primitives.hashes import SHA256

    now = sqlite_place.world.clock.now()
    stranger = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, SHA256())
    )  # fmt: skip
    with sqlite_place.refusal(ProblemType.MALFORMED, "not issued here", status=404):
        sqlite_place.acme.revocations.by_key(spki_of(key), stranger.public_bytes(Encoding.DER), None)


def test_revoked_by_several_at_once(place: Place) -> None:
    place.policy()
    account = place.account()
    key = ec.generate_private_key(ec.SECP256R1())
    _, leaf = place.issued(account, "a.example", key=key)
    acts: list[Any] = [
        lambda: place.acme.revocations.by_account(account, leaf, None),
        lambda: place.acme.revocations.by_key(spki_of(key), leaf, None),
    ] * 3
    found = at_once(*acts)
    refused = [one for one in found if isinstance(one, ACMEProblem)]
    assert found.count(None) == 1
    assert {one.problem.type for one in refused} == {ProblemType.ALREADY_REVOKED}
    assert len(place.records("certificate.revoke")) == 1
