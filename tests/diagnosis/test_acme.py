"""What a check-up says of ACME policies and bindings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkiconf.diagnosis.acme import check_acme
from pkiconf.diagnosis.finding import Finding, Severity
from pkiconf.reconciler.state import Action
from tests.acme.telling import Heard
from tests.world import OPERATOR, World

PKI = """
authorities: [{ name: ca, default_templates: [web-server, client] }]
acme_policies:
"""
SOUND = """
  - name: sound
    template: ca/web-server
    external_account_bindings: [{ name: ci, expires: 2030-02-01 }, { name: always }]
"""


def look(world: World) -> list[Finding]:
    return world.parts.db.read(lambda c: list(check_acme(c, world.clock.now())))


@pytest.fixture
def sound(world: World) -> World:
    assert world.apply(PKI + SOUND, telling=Heard()).exit_code == 0
    return world


def test_all_is_well(sound: World) -> None:
    assert [(finding.severity, finding.text) for finding in look(sound)] == [(Severity.OK, "sound")]


def test_no_policies_are_no_fault(sqlite_world: World) -> None:
    assert [(finding.severity, finding.text) for finding in look(sqlite_world)] == [(Severity.OK, "no policies")]


def test_a_binding_that_has_expired(sound: World) -> None:
    sound.pass_time(timedelta(days=40))
    (finding,) = look(sound)
    assert finding.severity is Severity.WARNING
    assert finding.text == (
        "binding ci of policy sound expired at 2030-02-01T00:00:00+00:00: nobody registers with it any more"
    )
    assert finding.remedy


def test_doors_that_are_open_or_that_are_not_there(sound: World) -> None:
    more = """
  - { name: open, template: ca/web-server, external_account_required: false }
  - { name: shut, template: ca/client }
"""
    assert sound.apply(PKI + SOUND + more, telling=Heard()).exit_code == 0
    assert [finding.text for finding in look(sound)] == [
        "whoever reaches the directory of policy open can register",
        "policy shut has no external account binding, so nobody can register with it",
    ]


def test_a_policy_whose_authority_has_retired(sound: World) -> None:
    row = sound.services.lookup.get("ca").row
    sound.services.authorities.retire("ca", row.generation, OPERATOR)
    (finding,) = look(sound)
    assert finding.text == (
        "profile default of policy sound issues nothing: ca/web-server belongs to ca, which is retired"
    )


def test_a_retired_policy_is_not_spoken_of(sound: World) -> None:
    gone = PKI + "  - { name: sound, state: absent }"
    assert sound.apply(gone, allow=(Action.RETIRE,)).exit_code == 0
    sound.pass_time(timedelta(days=400))
    assert [finding.severity for finding in look(sound)] == [Severity.OK]
