"""What a template lets devices do, as its rows say now; and from where."""

from __future__ import annotations

import pytest

from pkiconf.errors import NotFound, Refused
from pkiconf.reconciler.state import Action
from pkiconf.scep.access import check_may_enrol, check_may_fetch
from pkiconf.scep.terms import TermsLookup
from tests.scep.place import declare, declared, terms_of
from tests.world import World

OPEN = "{ enabled: true, challenges: true }"


@pytest.mark.row("F78", "F115")
def test_off_by_default_and_by_declaration(world: World) -> None:
    declared(world, "null")
    terms = world.services.scep.terms
    with pytest.raises(Refused, match="not enabled"):
        terms.at("issuing", "device")
    declared(world, OPEN)
    assert terms.at("issuing", "device").enabled
    declared(world, "{ enabled: false }")
    with pytest.raises(Refused, match="not enabled"):
        terms.at("issuing", "device")


@pytest.mark.parametrize(
    ("authority", "template"),
    [
        ("issuing", "nothing"),
        ("nothing", "device"),
        ("", ""),
        ("issuing", "dev\0ice"),
        ("é", "device"),
        ("x" * 999, "y"),
    ],
)
def test_a_url_that_names_nothing(world: World, authority: str, template: str) -> None:
    declared(world, OPEN)
    with pytest.raises(NotFound, match="no such template"):
        world.services.scep.terms.at(authority, template)


def test_every_value_is_there(sqlite_world: World) -> None:
    spec = declared(sqlite_world, OPEN).spec
    assert (spec.strip_root, spec.legacy, spec.approval, spec.unproved) == (False, True, False, "refuse")
    assert (spec.renewal.enabled, spec.renewal.window, spec.renewal.grace) == (True, None, None)
    assert str(spec.ndes.challenge_ttl) == "60m"


def test_other_processes_see_a_change_at_once(world: World) -> None:
    declared(world, OPEN)
    other = TermsLookup(world.parts)
    kept = other.at("issuing", "device")
    assert other.at("issuing", "device") is kept
    declared(world, "{ strip_root: true }")
    assert other.at("issuing", "device").spec.strip_root


@pytest.mark.parametrize(
    "change",
    [
        "  - { name: device, authority: issuing, enabled: false }",
        "  - { name: device, authority: issuing, state: absent }",
    ],
)
def test_a_template_that_issues_nothing_lets_nobody_enrol(sqlite_world: World, change: str) -> None:
    declared(sqlite_world, OPEN)
    sqlite_world.apply(
        f"authorities: [{{ name: root }}, {{ name: issuing, issuer: root }}]\ntemplates:\n{change}",
        allow=(Action.RETIRE,),
    )
    assert not terms_of(sqlite_world).enabled


def test_nor_does_one_of_a_retired_authority(sqlite_world: World) -> None:
    declared(sqlite_world, OPEN)
    sqlite_world.apply(
        "authorities: [{ name: root }, { name: issuing, issuer: root, state: absent }]", allow=(Action.RETIRE,)
    )
    assert not terms_of(sqlite_world).enabled


def test_the_url_stays_when_the_template_is_renamed(sqlite_world: World) -> None:
    declared(sqlite_world, OPEN)
    sqlite_world.apply(
        "authorities: [{ name: root }, { name: issuing, issuer: root }]\n"
        "templates: [{ name: router, moved: device, authority: issuing }]"
    )
    found = sqlite_world.services.scep.terms.at("issuing", "device")
    assert (found.address, found.place.slug) == ("template/issuing/router", "device")


class TestAccess:
    LISTED = "{ enabled: true, challenges: true, ip_acl: { allow: [10.20.0.0/16, 192.0.2.7, '2001:db8::/48'] } }"

    @pytest.mark.row("F84", "F130")
    @pytest.mark.parametrize("client", ["10.20.0.1", "10.20.255.255", "192.0.2.7", "2001:db8::1", "::ffff:10.20.0.1"])
    def test_who_is_listed_may_come(self, sqlite_world: World, client: str) -> None:
        terms = declared(sqlite_world, self.LISTED)
        check_may_enrol(terms, client)
        check_may_fetch(terms, client)

    @pytest.mark.row("F84", "F130")
    @pytest.mark.parametrize(
        "client",
        [
            "10.21.0.0",
            "192.0.2.8",
            "2001:db8:1::",
            "::1",
            "127.0.0.1",
            "",
            "unix:",
            "10.20.0.1, 10.9.9.9",
            "10.20.0",
            "0",
        ],
    )
    def test_who_is_not_may_not(self, sqlite_world: World, client: str) -> None:
        terms = declared(sqlite_world, self.LISTED)
        for ask in (check_may_enrol, check_may_fetch):
            with pytest.raises(Refused, match="not offered to your address"):
                ask(terms, client)

    @pytest.mark.row("F125", "F130")
    def test_it_is_for_one_or_for_both(self, sqlite_world: World) -> None:
        acl = "{ enabled: true, challenges: true, ip_acl: { allow: [10.0.0.0/8], applies_to: %s } }"
        terms = declared(sqlite_world, acl % "scep")
        check_may_fetch(terms, "192.0.2.7")
        with pytest.raises(Refused):
            check_may_enrol(terms, "192.0.2.7")
        terms = declared(sqlite_world, acl % "ndes")
        check_may_enrol(terms, "192.0.2.7")
        with pytest.raises(Refused):
            check_may_fetch(terms, "192.0.2.7")

    def test_without_a_list_everybody_may(self, sqlite_world: World) -> None:
        terms = declared(sqlite_world, OPEN)
        for client in ("192.0.2.7", "2001:db8::1", "", "unix:"):
            check_may_enrol(terms, client)
            check_may_fetch(terms, client)


@pytest.mark.parametrize("more", ["", ", static_passphrase: null", ", challenges: false, ndes: { enabled: false }"])
def test_nothing_that_could_let_in_is_a_plan_error(sqlite_world: World, more: str) -> None:
    recap = declare(sqlite_world, f"{{ enabled: true{more} }}")
    assert recap.exit_code != 0
    assert any("nothing could let a request in" in result.message for result in recap.results)
