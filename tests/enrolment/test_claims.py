"""A link and a key become a certificate: with exactly the approved names, and once."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.errors import Conflict, Malformed, NotFound, PkiconfError, Refused, Unverified
from pkiconf.model.enrolment import LinkEnded, Offer
from pkiconf.model.request import Issued, Overrides, Rejected
from pkiconf.store import grants, mail
from pkiconf.store.database import Database
from tests.enrolment.office import Office, token_of
from tests.interleaving import Stop, in_the_midst
from tests.scep.test_transactions import without_signatures
from tests.world import OPERATOR, make_csr, make_world

JANE = "email:jane@corp.example"
ADDRESS = "192.0.2.7"


def claim(office: Office, token: str, csr: bytes | None = None) -> x509.Certificate:
    outcome = office.world.services.enrolment.claims.claim(token, csr or make_csr("", ()), ADDRESS)
    assert isinstance(outcome, Issued), outcome
    return x509.load_der_x509_certificate(outcome.der)


def refused(office: Office, kind: type[PkiconfError], said: str, token: str, csr: bytes | None = None) -> None:
    certificates = office.rows("SELECT count(*) FROM certificate")
    with pytest.raises(kind, match=said):
        office.world.services.enrolment.claims.claim(token, csr or make_csr("", ()), ADDRESS)
    assert office.rows("SELECT count(*) FROM certificate") == certificates


@pytest.mark.row("F19")
def test_the_certificate_says_what_was_approved(both: Office) -> None:
    offer = both.preapprove(JANE, validity=Overrides(days=30))
    key = ec.generate_private_key(ec.SECP256R1())
    made = claim(both, token_of(offer), make_csr("", (), key))
    assert {attribute.rfc4514_string() for attribute in made.subject} == {"CN=Jane Doe", "O=Example Corp"}
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name("jane@corp.example")]
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=30, seconds=-1)
    assert made.public_key() == key.public_key()
    row = both.world.services.requests.get(offer.number).row
    assert (row.state, row.serial) == ("issued", made.serial_number.to_bytes(19, "big"))
    (told,) = both.told("request.claim")
    assert (told["actor"], told["proved_by"], told["details"]) == ("link:request-1", "claim-link", {"from": ADDRESS})


def test_asked_again_it_is_the_same_certificate_and_never_another(both: Office) -> None:
    token, csr = token_of(both.preapprove(JANE)), make_csr("", ())
    first = claim(both, token, csr)
    assert claim(both, token, csr) == first
    refused(both, LinkEnded, "used already", token)
    both.world.pass_time(timedelta(days=8))
    both.work()
    assert claim(both, token, csr) == first
    assert both.state(1) == "issued"


@pytest.mark.parametrize(
    ("csr", "said"),
    [
        (make_csr("Mallory", ()), "CN=Mallory, which is not what was approved"),
        (make_csr("Jane Doe", ("mail.corp.example",)), r"dns:mail\.corp\.example, which was not approved"),
        (make_csr("", ("mail.corp.example",)), "which was not approved"),
        (
            make_csr("", (), None, {x509.SubjectAlternativeName([x509.RFC822Name("ceo@corp.example")]): False}),
            "email:ceo@corp.example",
        ),
    ],
)
def test_other_names_are_refused_and_use_nothing_up(office: Office, csr: bytes, said: str) -> None:
    token = token_of(office.preapprove(JANE))
    refused(office, Refused, said, token, csr)
    claim(office, token, make_csr("Jane Doe", ()))


@pytest.mark.parametrize(
    ("csr", "kind"),
    [(b"", Malformed), (b"no request", Malformed), (b"\x30\x82", Malformed), (b"x" * 100_000, Malformed)],
)
def test_what_is_no_request_uses_nothing_up(office: Office, csr: bytes, kind: type[PkiconfError]) -> None:
    token = token_of(office.preapprove(JANE))
    with pytest.raises(kind):
        office.world.services.enrolment.claims.claim(token, csr, ADDRESS)
    claim(office, token)


def test_a_broken_proof_of_possession_uses_nothing_up(office: Office) -> None:
    from pkiconf.der.pem import pem_decode_all, pem_encode

    token = token_of(office.preapprove(JANE))
    der = bytearray(pem_decode_all(make_csr("", ()), "CERTIFICATE REQUEST")[0])
    der[-1] ^= 1
    refused(office, Unverified, ".", token, pem_encode("CERTIFICATE REQUEST", bytes(der)).encode())
    claim(office, token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "A" * 42, "A" * 43, "A" * 44, "A" * 42 + "!", "\0" * 43, "é" * 43, "../../claim", "A" * 43 + "\n"],
)
def test_what_leads_nowhere(both: Office, token: str) -> None:
    both.preapprove(JANE)
    refused(both, NotFound, "no such link", token)
    with pytest.raises(NotFound):
        both.world.services.enrolment.claims.look(token)


def test_an_expired_link(office: Office) -> None:
    token = token_of(office.preapprove(JANE))
    office.world.pass_time(timedelta(days=7))
    refused(office, LinkEnded, "has expired", token)
    office.work()
    refused(office, LinkEnded, "has expired", token)


def test_a_link_that_was_sent_again_replaces_the_one_before(office: Office) -> None:
    old = token_of(office.preapprove(JANE))
    new = token_of(office.world.services.enrolment.grants.resend(1, OPERATOR))
    refused(office, NotFound, "no such link", old)
    claim(office, new)
    with pytest.raises(Conflict, match="issued cannot be offered"):
        office.world.services.enrolment.grants.resend(1, OPERATOR)


@pytest.mark.parametrize("resent_first", [False, True])
def test_a_link_is_used_or_replaced_and_never_both(
    postgres_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resent_first: bool
) -> None:
    """Transactions that do not see each other: whichever comes second is told."""
    office = Office(make_world(postgres_database, tmp_path / "world"))
    office.declare()
    token, csr = token_of(office.preapprove(JANE)), make_csr("", ())
    resend = partial(office.world.services.enrolment.grants.resend, 1, OPERATOR)
    use = partial(office.world.services.enrolment.claims.claim, token, csr, ADDRESS)
    place, name = (mail, "void") if resent_first else (grants, "is_current")
    stop = Stop(getattr(place, name))
    monkeypatch.setattr(place, name, stop)
    first, second = (resend, use) if resent_first else (use, resend)
    done, error = in_the_midst(office.world, stop, first, second)
    assert isinstance(done, Offer if resent_first else Issued)
    assert isinstance(error, LinkEnded if resent_first else Conflict)


def test_what_was_taken_back(office: Office) -> None:
    token = token_of(office.preapprove(JANE))
    office.world.services.requests.decline(1, "she has left", OPERATOR)
    refused(office, LinkEnded, "taken back", token)


def test_a_link_to_a_profile_is_no_claim(office: Office) -> None:
    offer = office.preapprove(template="issuing/device", subject="CN=Jane's iPad", apple=True)
    refused(office, NotFound, "no such link", token_of(offer))
    with pytest.raises(NotFound):
        office.world.services.enrolment.claims.look(token_of(offer))


def test_a_template_that_has_changed_has_the_last_word(office: Office) -> None:
    """What was approved is judged again, by what stands now; nothing is used up."""
    token = token_of(office.preapprove("dns:a.corp.example", template="servers", subject="CN=a.corp.example"))
    office.change('dns: ["*.corp.example"]', 'dns: ["*.new.example"]')
    outcome = office.world.services.enrolment.claims.claim(token, make_csr("", ()), ADDRESS)
    assert "not allowed by the template" in str(outcome)
    assert office.state(1) == "awaiting_claim"


def test_two_claims_at_once_one_wins(both: Office) -> None:
    token = token_of(both.preapprove(JANE))
    csrs = [make_csr("", ()) for _ in range(6)]
    found: list[Any] = []
    start = threading.Barrier(len(csrs))

    def run(csr: bytes) -> None:
        start.wait(60)
        try:
            found.append(both.world.services.enrolment.claims.claim(token, csr, ADDRESS))
        except PkiconfError as ex:
            found.append(ex)

    threads = [threading.Thread(target=run, args=(csr,)) for csr in csrs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    issued = [one for one in found if isinstance(one, Issued)]
    assert len(issued) == 1, found
    assert all(isinstance(one, Issued | Conflict) for one in found), found
    assert both.rows("SELECT count(*) FROM certificate WHERE origin_kind = 'request'") == [(1,)]


def given_up(office: Office, token: str, csr: bytes) -> None:
    with without_signatures():
        outcome = office.world.services.enrolment.claims.claim(token, csr, ADDRESS)
    assert isinstance(outcome, Rejected)


@pytest.mark.parametrize("same_key", [True, False])
def test_what_the_key_certainly_did_not_sign_is_there_to_be_claimed_again(both: Office, same_key: bool) -> None:
    token, csr = token_of(both.preapprove(JANE)), make_csr("", ())
    given_up(both, token, csr)
    assert both.state(1) == "awaiting_claim"
    assert [(bytes(csr), *more) for csr, *more in both.rows("SELECT csr, issuer_id, serial FROM request")] == [
        (b"", None, None)
    ]
    made = claim(both, token, csr if same_key else make_csr("", ()))
    found = both.rows("SELECT status FROM certificate WHERE origin_kind = 'request' ORDER BY status")
    assert found == [("abandoned",), ("good",)]
    row = both.world.services.requests.get(1).row
    assert (row.state, row.serial) == ("issued", made.serial_number.to_bytes(19, "big"))
    refused(both, LinkEnded, "used already", token)


def test_given_up_again_and_again(office: Office) -> None:
    token, csr = token_of(office.preapprove(JANE)), make_csr("", ())
    for _ in range(3):
        given_up(office, token, csr)
    claim(office, token, csr)
    origins = office.rows("SELECT count(DISTINCT origin_id) FROM certificate WHERE origin_kind = 'request'")
    assert origins == [(4,)]


def test_what_was_given_up_expires_and_is_taken_back_like_any_other(office: Office) -> None:
    token, csr = token_of(office.preapprove(JANE)), make_csr("", ())
    given_up(office, token, csr)
    office.world.pass_time(timedelta(days=7))
    refused(office, LinkEnded, "has expired", token, csr)
    office.work()
    assert office.state(1) == "expired"
    office.world.services.requests.decline(1, "she has left", OPERATOR)
    refused(office, LinkEnded, "taken back", token, csr)
