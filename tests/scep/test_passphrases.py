"""Static passphrases: declared or made, replaced with or without an overlap, stored as digests."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkiconf.errors import NotFound, Refused
from pkiconf.model.actor import Actor
from pkiconf.reconciler.recap import Status
from pkiconf.reconciler.state import Action
from pkiconf.scep.terms import SCEPTerms
from pkiconf.store.audit import list_events
from pkiconf.store.scep_secrets import SecretKind
from tests.scep.place import PASSPHRASE, PASSWORD, Heard, declare, declared, terms_of
from tests.wholeness import rows
from tests.world import OPERATOR, World

STATIC = "{ enabled: true, static_passphrase: !env PASSPHRASE }"
RANDOM = "{ enabled: true, static_passphrase: { generate: true } }"
NDES = "{ enabled: true, ndes: { enabled: true, basic_auth: { username: 'CORP\\svc', password: !env PASSWORD } } }"
INTUNE = (
    "{ enabled: true, intune: { tenant_id: corp.example, client_id: 11111111-2222-3333-4444-555555555555,"
    " client_secret: !env CLIENT_SECRET } }"
)


def lets_in(world: World, terms: SCEPTerms, *texts: str) -> list[bool]:
    return [world.services.scep.passphrases.find(terms, text) is not None for text in texts]


@pytest.mark.row("F79", "F128")
def test_a_declared_one_lets_in_and_no_other(world: World) -> None:
    terms = declared(world, STATIC)
    wrong = ("", " ", PASSPHRASE[:-1], PASSPHRASE + "x", PASSPHRASE.upper(), "é" * 300, "\0", "\udcff")
    assert lets_in(world, terms, PASSPHRASE, *wrong) == [True, *([False] * len(wrong))]


def test_of_each_template_its_own(sqlite_world: World) -> None:
    world = sqlite_world
    declare(world, STATIC)
    another = "- { name: other, authority: issuing, scep: { enabled: true, challenges: true } }"
    recap = declare(world, f"{STATIC}\n  {another}")
    assert recap.exit_code == 0
    other = world.services.scep.terms.find("issuing", "other")
    assert other is not None
    assert lets_in(world, other, PASSPHRASE) == [False]


@pytest.mark.row("F128")
def test_it_stands_nowhere_in_plain(sqlite_world: World) -> None:
    world = sqlite_world
    heard = Heard()
    recap = declare(world, STATIC)
    terms = declared(world, f"{{ static_passphrase: {{ generate: true }}, {NDES[1:]}", heard)
    tables = ("scep_secret", "template", "template_version", "applied", "audit_event")
    dump = "\n".join(str(row) for table in tables for row in rows(world.services, f"SELECT * FROM {table}"))
    for secret in (PASSPHRASE, PASSWORD, heard.passphrase):
        assert secret not in dump
        assert secret not in str(recap.results) + repr(terms)
    assert "hmac:" in dump  # the mark by which a change is seen


@pytest.mark.row("F129")
def test_another_one_ends_the_one_before(world: World) -> None:
    declared(world, STATIC)
    recap = declare(world, STATIC, PASSPHRASE="another passphrase")
    assert [r.message for r in recap.results if r.status is Status.CHANGED] == [
        "scep.static_passphrase.secret: changed (secret)"
    ]
    assert lets_in(world, terms_of(world), PASSPHRASE, "another passphrase") == [False, True]
    assert rows(world.services, "SELECT count(*) FROM scep_secret WHERE until_at IS NULL") == [(1,)]


@pytest.mark.row("F129")
def test_with_an_overlap_both_are_good_for_a_while(world: World) -> None:
    scep = "{ enabled: true, static_passphrase: { secret: !env PASSPHRASE, overlap: 2d } }"
    declared(world, scep)
    terms = declared(world, scep, PASSPHRASE="another passphrase")
    assert lets_in(world, terms, PASSPHRASE, "another passphrase") == [True, True]
    world.pass_time(timedelta(days=2))
    assert lets_in(world, terms, PASSPHRASE, "another passphrase") == [False, True]


def test_unchanged_it_is_not_written_again(sqlite_world: World) -> None:
    declared(sqlite_world, STATIC)
    recap = declare(sqlite_world, STATIC)
    assert {result.status for result in recap.results} == {Status.OK}
    assert rows(sqlite_world.services, "SELECT count(*) FROM scep_secret") == [(1,)]


@pytest.mark.row("F128")
def test_a_random_one_is_told_once(world: World) -> None:
    heard = Heard()
    terms = declared(world, RANDOM, heard)
    assert len(heard.kept) == len(heard.shown) == 1
    assert len(heard.passphrase) == 32
    assert lets_in(world, terms, heard.passphrase) == [True]
    declared(world, RANDOM, heard)
    assert len(heard.shown) == 1


def test_without_a_place_to_tell_it_nothing_is_made(sqlite_world: World) -> None:
    with pytest.raises(Refused, match=r"template/issuing/device would be told once.*write_to"):
        declare(sqlite_world, RANDOM)
    assert rows(sqlite_world.services, "SELECT count(*) FROM template") == [(0,)]


def test_a_file_gets_it_readable_by_its_owner_only(sqlite_world: World) -> None:
    world = sqlite_world
    terms = declared(world, "{ enabled: true, static_passphrase: { generate: true, write_to: scep.env } }")
    file = world.folder / "scep.env"
    assert file.stat().st_mode & 0o777 == 0o600
    line = file.read_text().splitlines()[-1]
    assert lets_in(world, terms, line.removeprefix("SCEP_CHALLENGE_PASSWORD=")) == [True]
    assert file.read_text().startswith("# pkiconf: SCEP passphrase template/issuing/device\n")


def test_a_file_of_something_else_is_not_overwritten(sqlite_world: World) -> None:
    file = sqlite_world.folder / "scep.env"
    file.touch(mode=0o600)
    file.write_text("precious\n")
    with pytest.raises(Refused, match="holds something else"):
        declare(sqlite_world, "{ enabled: true, static_passphrase: { generate: true, write_to: scep.env } }")
    assert file.read_text() == "precious\n"


@pytest.mark.row("F129")
def test_rotation_tells_another_one(world: World) -> None:
    heard = Heard()
    terms = declared(world, RANDOM, heard)
    first = heard.passphrase
    world.services.scep.passphrases.rotate(terms.template_id, OPERATOR, heard)
    second = heard.passphrase
    assert lets_in(world, terms, first, second) == [False, True]
    world.services.scep.passphrases.rotate(terms.template_id, OPERATOR, heard, timedelta(hours=1))
    assert lets_in(world, terms, first, second, heard.passphrase) == [False, True, True]
    world.pass_time(timedelta(hours=1))
    assert lets_in(world, terms, first, second, heard.passphrase) == [False, False, True]
    events = [event.fields["action"] for event in world.parts.db.read(lambda c: list_events(c, limit=1000))]
    assert events.count("template.scep-passphrase") == 2


@pytest.mark.row("F129")
def test_a_cancelled_rotation_keeps_the_old_one(sqlite_world: World) -> None:
    class Full(Heard):
        def keep(self, told: object) -> None:
            raise Refused("the file holds something else")

    heard = Heard()
    terms = declared(sqlite_world, RANDOM, heard)
    with pytest.raises(Refused, match="something else"):
        sqlite_world.services.scep.passphrases.rotate(terms.template_id, OPERATOR, Full())
    assert lets_in(sqlite_world, terms, heard.passphrase) == [True]


@pytest.mark.parametrize(
    ("scep", "said"),
    [(STATIC, "is declared.*overlap"), ("{ enabled: true, challenges: true }", "has no static passphrase")],
)
def test_only_random_ones_are_rotated(sqlite_world: World, scep: str, said: str) -> None:
    terms = declared(sqlite_world, scep)
    heard = Heard()
    with pytest.raises(Refused, match=said):
        sqlite_world.services.scep.passphrases.rotate(terms.template_id, OPERATOR, heard)
    assert heard.kept == []


def test_only_a_person_rotates(sqlite_world: World) -> None:
    terms = declared(sqlite_world, RANDOM, Heard())
    for actor in (Actor("system", "worker", "in-process"), Actor("ndes", "x", "basic-authentication")):
        with pytest.raises(Refused, match="may not"):
            sqlite_world.services.scep.passphrases.rotate(terms.template_id, actor, Heard())


def test_removed_it_lets_in_nobody(sqlite_world: World) -> None:
    heard = Heard()
    declared(sqlite_world, STATIC)
    terms = declared(sqlite_world, "{ static_passphrase: null, challenges: true }")
    assert lets_in(sqlite_world, terms, PASSPHRASE) == [False]
    declared(sqlite_world, RANDOM, heard)
    terms = declared(sqlite_world, "{ static_passphrase: null }")
    assert lets_in(sqlite_world, terms, heard.passphrase) == [False]


def test_from_declared_to_random_and_back(sqlite_world: World) -> None:
    heard = Heard()
    declared(sqlite_world, STATIC)
    terms = declared(sqlite_world, RANDOM, heard)
    assert lets_in(sqlite_world, terms, PASSPHRASE, heard.passphrase) == [False, True]
    terms = declared(sqlite_world, STATIC)
    assert lets_in(sqlite_world, terms, PASSPHRASE, heard.passphrase) == [True, False]


@pytest.mark.row("F83")
def test_the_page_has_a_user_and_a_password(world: World) -> None:
    terms = declared(world, NDES)
    fetcher = world.services.scep.passphrases.is_fetcher
    assert fetcher(terms, "CORP\\svc", PASSWORD)
    for name, password in (("svc", PASSWORD), ("corp\\svc", PASSWORD), ("CORP\\svc", "x"), ("", ""), ("CORP\\svc", "")):
        assert not fetcher(terms, name, password)
    declared(world, NDES, PASSWORD="another password")
    assert not fetcher(terms_of(world), "CORP\\svc", PASSWORD)
    assert fetcher(terms_of(world), "CORP\\svc", "another password")


def test_one_purpose_is_not_another(sqlite_world: World) -> None:
    terms = declared(sqlite_world, f"{{ static_passphrase: !env PASSPHRASE, {NDES[1:]}")
    assert lets_in(sqlite_world, terms, PASSWORD) == [False]
    assert not sqlite_world.services.scep.passphrases.is_fetcher(terms, "CORP\\svc", PASSPHRASE)


@pytest.mark.row("F80")
def test_what_has_to_be_told_to_others_is_sealed(world: World) -> None:
    terms = declared(world, INTUNE, CLIENT_SECRET="first~secret")
    secrets = world.services.scep.secrets
    assert secrets.reveal(terms.template_id, SecretKind.INTUNE).reveal() == b"first~secret"
    declared(world, INTUNE, CLIENT_SECRET="second~secret")
    assert secrets.reveal(terms.template_id, SecretKind.INTUNE).reveal() == b"second~secret"
    names = rows(world.services, "SELECT sealed FROM sealed_secret WHERE name LIKE 'scep-intune/%'")
    assert len(names) == 1
    assert b"second" not in bytes(names[0][0])
    declared(world, "{ intune: null, challenges: true }")
    with pytest.raises(NotFound, match="no intune secret"):
        secrets.reveal(terms.template_id, SecretKind.INTUNE)
    assert rows(world.services, "SELECT count(*) FROM sealed_secret WHERE name LIKE 'scep-intune/%'") == [(0,)]


def test_a_destroyed_authority_takes_its_secrets_along(world: World) -> None:
    declared(world, INTUNE, CLIENT_SECRET="first~secret")
    recap = world.apply(
        "authorities: [{ name: root }, { name: issuing, state: absent }]",
        allow=(Action.RETIRE,),
    )
    assert recap.exit_code == 0
    world.services.destruction.destroy("issuing", OPERATOR, world.folder / "gone.tar")
    assert rows(world.services, "SELECT count(*) FROM scep_secret") == [(0,)]
    assert rows(world.services, "SELECT count(*) FROM sealed_secret WHERE name LIKE 'scep-intune/%'") == [(0,)]
