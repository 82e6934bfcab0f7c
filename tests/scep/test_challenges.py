"""One-time challenges: good once, for a while, for the names they are bound to, and never told again."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.model.actor import Actor
from pkiconf.model.scep import BoundNames
from pkiconf.scep.challenges import MOST_TRIES, CacheFull, Challenge
from pkiconf.scep.terms import SCEPTerms
from pkiconf.steps import Step
from pkiconf.store.audit import list_events
from pkiconf.store.scep_challenges import ChallengeRow, release
from tests.scep.place import declared
from tests.wholeness import rows
from tests.world import OPERATOR, World

OPEN = "{ enabled: true, challenges: true }"
BOUND = BoundNames(parse_name_text("CN=router-7,O=Corp"), (parse_general_name_text("dns:router-7.corp.example"),))


def made(world: World, terms: SCEPTerms, **options: object) -> str:
    return world.services.scep.challenges.create(terms.template_id, OPERATOR, **options).reveal().decode()  # type: ignore[arg-type]


def found(world: World, terms: SCEPTerms, text: str) -> Challenge:
    one = world.services.scep.challenges.find(terms.template_id, text)
    assert one is not None
    return one


def consume(world: World, one: Challenge, transaction_id: str = "T1") -> None:
    world.parts.db.write(
        Step.CERTIFICATE_RESERVE, lambda c: world.services.scep.challenges.consume(c, one, transaction_id)
    )


@pytest.mark.row("F122", "F123")
def test_one_is_good_once(world: World) -> None:
    terms = declared(world, OPEN)
    one = found(world, terms, made(world, terms))
    consume(world, one)
    with pytest.raises(Conflict, match="used by another request"):
        consume(world, one, "T2")
    assert found(world, terms, made(world, terms)).row.consumed_at is None


def test_of_requests_at_once_one_wins(world: World) -> None:
    terms = declared(world, OPEN)
    one = found(world, terms, made(world, terms))
    begin, won, lost = threading.Barrier(4), [], []

    def take(number: int) -> None:
        begin.wait()
        try:
            consume(world, one, f"T{number}")
            won.append(number)
        except Conflict:
            lost.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    assert rows(world.services, "SELECT consumed_by FROM scep_challenge") == [(f"T{won[0]}",)]


@pytest.mark.row("F122")
def test_it_ends_when_its_time_is_over(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, OPEN)
    text = made(world, terms)
    world.pass_time(timedelta(minutes=59))
    assert found(world, terms, text).state(int(world.clock.now().timestamp())) == "unused"
    world.pass_time(timedelta(minutes=1))
    one = found(world, terms, text)
    assert one.state(int(world.clock.now().timestamp())) == "expired"
    with pytest.raises(Conflict, match="expired"):
        consume(world, one)


def test_the_template_says_how_long_unless_told_otherwise(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, "{ enabled: true, challenges: true, ndes: { challenge_ttl: 5m } }")
    now = int(world.clock.now().timestamp())
    assert found(world, terms, made(world, terms)).row.expires_at == now + 300
    assert found(world, terms, made(world, terms, ttl=timedelta(days=2))).row.expires_at == now + 2 * 86400


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_none_is_good_for_ever(sqlite_world: World, ttl: timedelta) -> None:
    terms = declared(sqlite_world, OPEN)
    with pytest.raises(Refused, match="30 days"):
        made(sqlite_world, terms, ttl=ttl)
    assert sqlite_world.services.scep.challenges.list(terms.template_id) == []


def test_only_so_many_may_wait(world: World) -> None:
    terms = declared(world, "{ enabled: true, challenges: true, ndes: { max_outstanding: 2 } }")
    first = made(world, terms)
    made(world, terms)
    with pytest.raises(CacheFull, match=r"2 challenges wait .*template/issuing/device.*max_outstanding"):
        made(world, terms)
    consume(world, found(world, terms, first))
    made(world, terms)
    with pytest.raises(CacheFull):
        made(world, terms)
    world.pass_time(timedelta(hours=1))
    made(world, terms)


def test_it_is_sixteen_capital_digits_and_stands_nowhere_in_plain(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, OPEN)
    text = made(world, terms, bound=BOUND)
    assert len(text) == 16
    assert set(text) <= set("0123456789ABCDEF")
    dump = "\n".join(str(row) for row in rows(world.services, "SELECT * FROM scep_challenge"))
    events = "\n".join(event.body for event in world.parts.db.read(lambda c: list_events(c, limit=1000)))
    for place in (dump, events, repr(found(world, terms, text))):
        assert text not in place
        assert text.lower() not in place
    assert '"bound":{"sans":["dns:router-7.corp.example"],"subject":"CN=router-7,O=Corp"}' in events


def test_what_it_is_bound_to_is_read_again(world: World) -> None:
    terms = declared(world, OPEN)
    assert found(world, terms, made(world, terms, bound=BOUND)).bound == BOUND
    assert found(world, terms, made(world, terms)).bound is None


def test_it_belongs_to_its_template(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, OPEN)
    text = made(world, terms)
    assert world.services.scep.challenges.find(terms.template_id + 1, text) is None


@pytest.mark.parametrize("text", ["", "0", "0123456789ABCDEF", "x" * 10_000, "\0", "é", "\ud800"])
def test_what_was_never_made_is_not_found(sqlite_world: World, text: str) -> None:
    terms = declared(sqlite_world, OPEN)
    made(sqlite_world, terms)
    assert sqlite_world.services.scep.challenges.find(terms.template_id, text) is None


def test_given_back_it_is_good_again(world: World) -> None:
    terms = declared(world, OPEN)
    one, other = found(world, terms, made(world, terms)), found(world, terms, made(world, terms))
    consume(world, one, "T1")
    consume(world, other, "T2")

    def give_back(transaction_id: str) -> None:
        world.parts.db.write(Step.CERTIFICATE_ABANDON, lambda c: release(c, terms.template_id, transaction_id))

    give_back("another")
    give_back("T1")
    consume(world, one, "T3")
    with pytest.raises(Conflict):
        consume(world, other, "T4")


def test_names_may_be_wrong_only_so_often(world: World) -> None:
    terms = declared(world, OPEN)
    text = made(world, terms, bound=BOUND)
    for number in range(MOST_TRIES):
        one = found(world, terms, text)
        assert one.state(int(world.clock.now().timestamp())) == "unused"
        assert one.row.tries == number
        world.services.scep.challenges.record_try(one)
    one = found(world, terms, text)
    assert one.state(int(world.clock.now().timestamp())) == "spent"
    with pytest.raises(Conflict):
        consume(world, one)


@pytest.mark.parametrize(
    ("scep", "said"),
    [
        ("{ enabled: false, challenges: true }", "challenges: true} in its declaration"),
        ("{ enabled: true, static_passphrase: !env PASSPHRASE }", "challenges: true"),
        ("null", "challenges: true} in its declaration"),
    ],
)
def test_none_is_made_where_none_is_taken(sqlite_world: World, scep: str, said: str) -> None:
    terms = declared(sqlite_world, scep)
    with pytest.raises(Refused, match=said):
        made(sqlite_world, terms)
    assert rows(sqlite_world.services, "SELECT count(*) FROM scep_challenge") == [(0,)]


def test_not_everybody_makes_them(sqlite_world: World) -> None:
    terms = declared(sqlite_world, OPEN)
    challenges = sqlite_world.services.scep.challenges
    for actor in (Actor("acme", "x", "account-key"), Actor("ndes", "x", ""), Actor("nobody", "x", "x")):
        with pytest.raises(Refused):
            challenges.create(terms.template_id, actor)
    challenges.create(terms.template_id, Actor("ndes", "svc-mdm", "basic-authentication"))
    with pytest.raises(NotFound):
        challenges.create(4711, OPERATOR)


def test_old_ones_are_forgotten(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, OPEN)
    text = made(world, terms)
    world.pass_time(timedelta(days=7))
    made(world, terms)
    assert world.services.scep.challenges.find(terms.template_id, text) is not None
    world.pass_time(timedelta(hours=2))
    made(world, terms)
    assert world.services.scep.challenges.find(terms.template_id, text) is None


def test_a_row_says_what_became_of_it() -> None:
    row = ChallengeRow(1, 1, b"", None, None, 0, "operator:x", 0, 100, None, None)
    assert Challenge(row, None).state(99) == "unused"
    assert Challenge(row, None).state(100) == "expired"
    used = ChallengeRow(1, 1, b"", None, None, 0, "operator:x", 0, 100, 50, "T")
    assert Challenge(used, None).state(1000) == "used"
