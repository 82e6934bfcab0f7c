"""What a process keeps from one enrolment to the next is believed only where it is looked at again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from pkiconf.model.scep import NOT_PROVED
from tests.scep.devices import BY_PASSPHRASE, DECLARATION, Fleet, fleet
from tests.scep.place import PASSPHRASE, environment
from tests.scep_client import Answer, Device, make_request
from tests.wholeness import rows
from tests.world import World

OTHER = "another passphrase"
OVERLAP = "{ enabled: true, static_passphrase: { secret: !env PASSPHRASE, overlap: 2d } }"


LIMITED = ', names: { allow: { dns: ["*.corp.example"], uri: ["*"] } }'


def replace(world: World, scep: str, more: str = "") -> None:
    with environment(PASSPHRASE=OTHER):
        recap = world.apply(DECLARATION.format(scep=scep, key="{ type: ec, curve: p256 }", more=more))
    assert recap.exit_code == 0, recap.results


def ask(devices: Fleet, challenge: str, client: str = "192.0.2.7", name: str = "dns:device-1.corp.example") -> Answer:
    device = Device.fresh()
    kind, _, value = name.partition(":")
    names = x509.SubjectAlternativeName(
        [x509.DNSName(value) if kind == "dns" else x509.UniformResourceIdentifier(value)]
    )
    asked = make_request(device.key, dns=(), challenge=challenge, extensions=[(names, False)])
    return devices.ask(device, asked, client=client)


def is_kept(devices: Fleet) -> bool:
    return devices.world.services.scep.passphrases.recall(devices.place.terms, PASSPHRASE) is not None


@pytest.mark.row("F129")
def test_a_passphrase_that_was_replaced_lets_nobody_in(world: World) -> None:
    devices = fleet(world)
    devices.enrol()
    replace(world, BY_PASSPHRASE % "")
    assert is_kept(devices)
    answer = ask(devices, PASSPHRASE)
    assert (answer.status, answer.fail_info, answer.text) == ("2", "2", NOT_PROVED)
    assert not is_kept(devices)
    assert (devices.issued(), devices.transactions()) == (1, 1)
    assert rows(world.services, "SELECT client, failures FROM scep_tries") == [("192.0.2.7", 1)]
    assert ask(devices, OTHER).status == "0"
    assert ask(devices, PASSPHRASE).text == NOT_PROVED
    assert rows(world.services, "SELECT failures FROM scep_tries") == [(2,)]


@pytest.mark.parametrize("name", ["uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1", "dns:elsewhere.example"])
def test_nor_is_it_told_to_who_has_it_what_the_template_refuses(world: World, name: str) -> None:
    """Neither the names that nobody vouches for, nor those that it does not allow."""
    devices = fleet(world, more=LIMITED)
    devices.enrol()
    replace(world, BY_PASSPHRASE % "", LIMITED)
    assert is_kept(devices)
    for number in (1, 2):
        answer = ask(devices, PASSPHRASE, name=name)
        assert (answer.status, answer.fail_info, answer.text) == ("2", "2", NOT_PROVED)
        assert rows(world.services, "SELECT failures FROM scep_tries") == [(number,)]
    assert ask(devices, OTHER, name=name).status == "2"
    assert rows(world.services, "SELECT failures FROM scep_tries") == [(2,)]


def test_one_that_has_ended_lets_nobody_in(world: World) -> None:
    devices = fleet(world, OVERLAP)
    replace(world, OVERLAP)
    assert [ask(devices, word).status for word in (PASSPHRASE, OTHER)] == ["0", "0"]
    world.pass_time(timedelta(days=2))
    assert is_kept(devices)
    assert ask(devices, PASSPHRASE).text == NOT_PROVED
    assert ask(devices, OTHER).status == "0"
    assert devices.issued() == 3


def test_a_new_one_is_taken_at_once(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    devices.enrol()
    replace(sqlite_world, BY_PASSPHRASE % "")
    assert ask(devices, OTHER).status == "0"
    assert rows(sqlite_world.services, "SELECT count(*) FROM scep_tries") == [(0,)]


def test_who_was_wrong_too_often_waits_also_with_the_right_one(world: World) -> None:
    devices = fleet(world, BY_PASSPHRASE % ", tries: { count: 2, per: 10m }")
    for _ in range(2):
        assert ask(devices, "wrong").text == NOT_PROVED
    assert ask(devices, PASSPHRASE).text == NOT_PROVED
    assert ask(devices, PASSPHRASE, client="192.0.2.8").status == "0"
    world.pass_time(timedelta(minutes=10))
    assert ask(devices, PASSPHRASE).status == "0"
    assert devices.issued() == 2
