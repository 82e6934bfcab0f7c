"""What lets a first enrolment in, what does not, and what it costs who tries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.errors import Conflict
from pkiconf.model.scep import NOT_PROVED, BoundNames, FailInfo, NotProved, Proof, ProofMethod, SCEPRequest
from pkiconf.scep.challenges import MOST_TRIES
from pkiconf.scep.proofs import Proofs
from pkiconf.scep.terms import SCEPTerms
from pkiconf.steps import Step
from tests.scep.place import PASSPHRASE, Heard, declared, request
from tests.wholeness import rows
from tests.world import OPERATOR, World

STATIC = "{ enabled: true, static_passphrase: !env PASSPHRASE }"
BOTH = "{ enabled: true, static_passphrase: !env PASSPHRASE, challenges: true }"


def check(world: World, terms: SCEPTerms, challenge: str | None, **options: object) -> Proof:
    asked = request(terms, world, challenge, **options)  # type: ignore[arg-type]
    return world.services.scep.proofs.check(asked, terms)


def refused(world: World, terms: SCEPTerms, challenge: str | None, **options: object) -> str:
    """Why, for the log; what the client hears is always the same."""
    with pytest.raises(NotProved) as caught:
        check(world, terms, challenge, **options)
    assert (caught.value.fail_info, str(caught.value)) == (FailInfo.BAD_REQUEST, NOT_PROVED)
    if challenge and len(challenge) > 5:
        assert challenge not in caught.value.reason
    return caught.value.reason


def made(world: World, terms: SCEPTerms, bound: BoundNames | None = None) -> str:
    return world.services.scep.challenges.create(terms.template_id, OPERATOR, bound=bound).reveal().decode()


def take(world: World, proof: Proof) -> None:
    assert proof.consume is not None
    world.parts.db.write(Step.CERTIFICATE_RESERVE, proof.consume)


@pytest.mark.row("F116", "F128")
def test_a_passphrase_lets_in(world: World) -> None:
    proof = check(world, declared(world, STATIC), PASSPHRASE)
    assert (proof.method, proof.allowed) == (ProofMethod.PASSPHRASE, None)
    assert proof.detail == "passphrase 1"


@pytest.mark.row("F116", "F122")
def test_a_challenge_lets_in_once(world: World) -> None:
    terms = declared(world, BOTH)
    text = made(world, terms)
    proof = check(world, terms, text)
    other = check(world, terms, text, transaction_id="T2")  # nothing is consumed before it is asked for
    assert (proof.method, proof.detail) == (ProofMethod.CHALLENGE, "challenge 1")
    take(world, proof)
    with pytest.raises(Conflict):
        take(world, other)
    assert refused(world, terms, text) == "challenge 1 is used; it is not the static passphrase"


@pytest.mark.parametrize("around", ["{}\0", "{}\n", "{}\r\n", " {} ", "\t{}"])
def test_what_clients_send_around_it_is_left_out(sqlite_world: World, around: str) -> None:
    terms = declared(sqlite_world, BOTH)
    assert check(sqlite_world, terms, around.format(PASSPHRASE)).method is ProofMethod.PASSPHRASE
    text = made(sqlite_world, terms)
    assert check(sqlite_world, terms, around.format(text.lower())).method is ProofMethod.CHALLENGE


@pytest.mark.parametrize(
    "challenge", [None, "", " ", "\0", "wrong", PASSPHRASE[:-1], "x" * 20_000, "\ud800", "é" * 400]
)
def test_wrong_ones_all_hear_the_same(sqlite_world: World, challenge: str | None) -> None:
    assert refused(sqlite_world, declared(sqlite_world, BOTH), challenge)


@pytest.mark.parametrize("longer", [0, 1])
def test_a_challenge_is_not_longer_than_those_of_intune(sqlite_world: World, longer: int) -> None:
    """Whatever is longer is not looked up, hashed or sent to anybody."""
    terms = declared(sqlite_world, BOTH)
    reason = refused(sqlite_world, terms, "x" * (16 * 1024 + longer))
    assert (reason == "the challenge has 16385 characters") is bool(longer)


def test_no_method_lets_in_nobody(sqlite_world: World) -> None:
    """A row that nobody could have declared: what is stored is not believed to let in."""
    terms = declared(sqlite_world, "{ enabled: false }")
    assert refused(sqlite_world, terms, None) == "there is no challenge in it"
    assert refused(sqlite_world, terms, "anything") == "the template takes no challenge"


def test_a_challenge_of_another_template_is_none(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(
        world, f"{BOTH}\n  - {{ name: other, authority: issuing, scep: {{ enabled: true, challenges: true }} }}"
    )
    other = world.services.scep.terms.find("issuing", "other")
    assert other is not None
    assert refused(world, other, made(world, terms)) == "it is no challenge of this template"


@pytest.mark.row("F122")
def test_an_expired_challenge_lets_nobody_in(world: World) -> None:
    terms = declared(world, "{ enabled: true, challenges: true }")
    text = made(world, terms)
    world.pass_time(timedelta(minutes=60))
    assert refused(world, terms, text) == "challenge 1 is expired"


def test_one_that_expires_before_it_is_used_is_not_used(world: World) -> None:
    terms = declared(world, "{ enabled: true, challenges: true }")
    proof = check(world, terms, made(world, terms))
    world.pass_time(timedelta(minutes=60))
    with pytest.raises(Conflict, match="expired"):
        take(world, proof)


def test_challenges_are_taken_no_longer_when_that_is_declared(sqlite_world: World) -> None:
    text = made(sqlite_world, declared(sqlite_world, BOTH))
    terms = declared(sqlite_world, "{ challenges: false }")
    assert refused(sqlite_world, terms, text) == "it is not the static passphrase"


@pytest.mark.row("F127")
def test_a_bound_challenge_is_good_for_its_names_alone(world: World) -> None:
    terms = declared(world, "{ enabled: true, challenges: true }")
    bound = BoundNames(parse_name_text("CN=device-7"), (parse_general_name_text("dns:d7.corp.example"),))
    text = made(world, terms, bound)
    why = refused(world, terms, text, name="device-7", dns=("d7.corp.example", "admin.corp.example"))
    assert why == "challenge 1 is good for other names: the alternative names are not dns:d7.corp.example"
    assert "the subject is not CN=device-7" in refused(world, terms, text, name="device-8", dns=("d7.corp.example",))
    assert "alternative names" in refused(world, terms, text, name="device-7")
    proof = check(world, terms, text, name="device-7", dns=("D7.corp.example",))
    assert proof.allowed == bound
    take(world, proof)


def test_wrong_names_end_a_bound_challenge(world: World) -> None:
    terms = declared(world, "{ enabled: true, challenges: true }")
    text = made(world, terms, BoundNames(parse_name_text("CN=device-7"), ()))
    for _ in range(MOST_TRIES):
        assert "other names" in refused(world, terms, text, name="device-8")
    assert refused(world, terms, text, name="device-7") == "challenge 1 is spent"


@pytest.mark.parametrize(("unproved", "method"), [("approval", ProofMethod.APPROVAL), ("issue", ProofMethod.NONE)])
def test_without_a_challenge_if_the_template_says_so(sqlite_world: World, unproved: str, method: ProofMethod) -> None:
    terms = declared(sqlite_world, f"{{ enabled: true, unproved: {unproved} }}")
    for nothing in (None, "", "\0"):
        assert check(sqlite_world, terms, nothing).method is method
    assert refused(sqlite_world, terms, "a wrong one") == "the template takes no challenge"


class TestTries:
    LIMITED = "{ enabled: true, static_passphrase: !env PASSPHRASE, tries: { count: 3, per: 10m } }"

    def test_a_client_may_be_wrong_only_so_often(self, world: World) -> None:
        terms = declared(world, self.LIMITED)
        for number in range(3):
            assert refused(world, terms, f"wrong {number}") == "it is not the static passphrase"
        assert refused(world, terms, PASSPHRASE) == "too many wrong challenges came from 192.0.2.7"
        assert check(world, terms, PASSPHRASE, client="192.0.2.8").method is ProofMethod.PASSPHRASE
        world.pass_time(timedelta(minutes=10))
        assert check(world, terms, PASSPHRASE).method is ProofMethod.PASSPHRASE
        assert refused(world, terms, "wrong again") == "it is not the static passphrase"
        assert rows(world.services, "SELECT failures FROM scep_tries") == [(1,)]

    def test_beyond_the_limit_nothing_is_written(self, sqlite_world: World) -> None:
        terms = declared(sqlite_world, self.LIMITED)
        for _ in range(10):
            refused(sqlite_world, terms, "wrong")
        assert rows(sqlite_world.services, "SELECT client, failures FROM scep_tries") == [("192.0.2.7", 3)]

    def test_an_ipv6_client_has_many_addresses(self, sqlite_world: World) -> None:
        terms = declared(sqlite_world, self.LIMITED)
        for number in range(3):
            refused(sqlite_world, terms, "wrong", client=f"2001:db8::{number}")
        assert "too many" in refused(sqlite_world, terms, PASSPHRASE, client="2001:db8::ffff")
        assert check(sqlite_world, terms, PASSPHRASE, client="2001:db8:0:1::1")

    def test_who_sends_no_challenge_uses_up_nothing(self, sqlite_world: World) -> None:
        terms = declared(sqlite_world, self.LIMITED)
        for _ in range(4):
            refused(sqlite_world, terms, None)
        assert rows(sqlite_world.services, "SELECT count(*) FROM scep_tries") == [(0,)]

    def test_no_limit_if_that_is_declared(self, sqlite_world: World) -> None:
        terms = declared(sqlite_world, "{ enabled: true, static_passphrase: !env PASSPHRASE, tries: null }")
        for _ in range(70):
            refused(sqlite_world, terms, "wrong")
        assert check(sqlite_world, terms, PASSPHRASE)
        assert rows(sqlite_world.services, "SELECT count(*) FROM scep_tries") == [(0,)]


class Scripted:
    """Intune as a test wants it."""

    def __init__(self, answer: Callable[[], Proof | None]) -> None:
        self.answer = answer

    def check(self, request: SCEPRequest, terms: SCEPTerms) -> Proof | None:
        return self.answer()


class TestOrder:
    """F116: Intune, then a challenge, then the passphrase."""

    SCEP = (
        "{ enabled: true, static_passphrase: !env PASSPHRASE, challenges: true, intune: { tenant_id: corp.example,"
        " client_id: 11111111-2222-3333-4444-555555555555, client_secret: !env CLIENT_SECRET } }"
    )

    def ask(self, world: World, challenge: str, answer: Callable[[], Proof | None]) -> Proof:
        scep = world.services.scep
        terms = declared(world, self.SCEP, Heard(), CLIENT_SECRET="x~y")
        asked = request(terms, world, challenge)
        return Proofs(world.parts, scep.challenges, scep.passphrases, Scripted(answer)).check(asked, terms)

    @pytest.mark.row("F116")
    def test_intune_is_asked_first(self, sqlite_world: World) -> None:
        proof = self.ask(sqlite_world, PASSPHRASE, lambda: Proof(ProofMethod.INTUNE))
        assert proof.method is ProofMethod.INTUNE

    @pytest.mark.row("F116")
    def test_what_is_none_of_its_own_goes_on(self, sqlite_world: World) -> None:
        assert self.ask(sqlite_world, PASSPHRASE, lambda: None).method is ProofMethod.PASSPHRASE

    def test_what_intune_refuses_nothing_else_lets_in(self, sqlite_world: World) -> None:
        def refuse() -> Proof | None:
            raise NotProved("Intune says no")

        with pytest.raises(NotProved):
            self.ask(sqlite_world, PASSPHRASE, refuse)


def test_no_secret_is_logged(sqlite_world: World, caplog: pytest.LogCaptureFixture) -> None:
    terms = declared(sqlite_world, BOTH)
    text = made(sqlite_world, terms)
    with caplog.at_level(logging.DEBUG):
        check(sqlite_world, terms, text)
        check(sqlite_world, terms, PASSPHRASE)
        refused(sqlite_world, terms, "something wrong")
        shown = repr(request(terms, sqlite_world, text))
    for secret in (text, PASSPHRASE, "something wrong"):
        assert secret not in caplog.text + shown
