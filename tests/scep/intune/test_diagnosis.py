"""`pkiconf scep intune check`: what is missing, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pkiconf.cli.app import main
from pkiconf.errors import NotFound, Refused
from pkiconf.scep.intune.diagnosis import IntuneFinding
from tests.intune_server import Said, StandIn, error
from tests.intune_tenant import SECRET
from tests.intune_world import TEMPLATE, IntuneWorld, declaration

STEPS = [
    "token for Microsoft Graph", "clock", "token for Intune", "ScepRequestValidationFEService", "PkiConnectorFEService",
    "validation",
]  # fmt: skip


def _found(world: IntuneWorld) -> dict[str, IntuneFinding]:
    return {finding.step: finding for finding in world.intune.diagnosis.check(TEMPLATE)}


@pytest.mark.row("F118")
def test_all_is_well(world: IntuneWorld) -> None:
    found = _found(world)
    assert list(found) == STEPS
    assert all(finding.is_good for finding in found.values()), found
    assert found["token for Intune"].detail == "given, with scep_challenge_provider"
    assert found["ScepRequestValidationFEService"].detail.startswith(f"at {world.stand_in.url}/validation/")
    assert "CertificateRequestDecodingFailed" in found["validation"].detail
    assert "downloadRevocationRequests" not in world.stand_in.acts, "who fetches them has to answer"
    assert world.stand_in.notified == []


def _roles(kind: str) -> Callable[[StandIn], None]:
    def act(stand_in: StandIn) -> None:
        stand_in.roles[kind] = ["User.Read.All"]

    return act


def _always(act: str, said: Said) -> Callable[[StandIn], None]:
    def spoil(stand_in: StandIn) -> None:
        stand_in.always[act] = said

    return spoil


def _none(stand_in: StandIn) -> None:
    stand_in.endpoints = []


def _yes(stand_in: StandIn) -> None:
    stand_in.verdicts["validateRequest"] = "Success"


def _opaque(stand_in: StandIn) -> None:
    stand_in.always["token"] = Said(200, {"access_token": "opaque", "expires_in": 3599})


WRONG: dict[str, tuple[Callable[[StandIn], None], str, str, str]] = {
    "no permission at Graph": (_roles("graph"), "token for Microsoft Graph", "Application.Read.All", "admin consent"),
    "Graph refuses": (_roles("graph"), "ScepRequestValidationFEService", "403", "Application.Read.All"),
    "no permission at Intune": (_roles("intune"), "token for Intune", "scep_challenge_provider", "admin consent"),
    "Intune refuses": (_roles("intune"), "validation", "403", "scep_challenge_provider"),
    "no Intune": (_none, "PkiConnectorFEService", "offers this tenant no", "licence"),
    "wrong secret": (
        _always("token", Said(401, {"error": "invalid_client", "error_description": "AADSTS7000215: no"})),
        "token for Microsoft Graph", "AADSTS7000215", "Value",
    ),
    "validation is ill": (_always("validateRequest", error(500)), "validation", "500", ""),
    "validation says yes to everything": (_yes, "validation", "let in something", "not Intune"),
}  # fmt: skip


@pytest.mark.row("F118")
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(world: IntuneWorld, case: str) -> None:
    spoil, step, detail, hint = WRONG[case]
    spoil(world.stand_in)
    finding = _found(world)[step]
    assert not finding.is_good
    assert detail in finding.detail
    assert hint in finding.hint


def test_without_a_token_nothing_more_is_asked(world: IntuneWorld) -> None:
    world.stand_in.always["token"] = error(500)
    assert list(_found(world)) == STEPS[:1]


def test_a_token_that_cannot_be_read_is_not_judged(world: IntuneWorld) -> None:
    _opaque(world.stand_in)
    found = _found(world)
    assert found["token for Intune"].is_good
    assert "cannot be read" in found["token for Intune"].detail


@pytest.mark.parametrize(("hours", "said"), [(3, "10800 seconds behind"), (-3, "10800 seconds ahead of")])
def test_a_clock_that_is_wrong_is_said(world: IntuneWorld, hours: int, said: str) -> None:
    own = world.pki.clock.now
    world.stand_in.tenant.now = lambda: own() + timedelta(hours=hours)
    finding = _found(world)["clock"]
    assert not finding.is_good
    assert said in finding.detail


def test_an_answer_to_no_request_is_answer_enough(world: IntuneWorld) -> None:
    world.stand_in.always["validateRequest"] = error(400, "BadRequest")
    assert _found(world)["validation"].is_good


def test_who_has_no_intune(world: IntuneWorld) -> None:
    with pytest.raises(NotFound):
        world.intune.diagnosis.check("issuing/nothing")
    with pytest.raises(Refused, match="not declared with Intune"):
        world.intune.diagnosis.check("root/web-server" if False else _another(world))


def _another(world: IntuneWorld) -> str:
    text = (world.pki.folder / "pki.yaml").read_text()
    world.pki.apply(f"{text}\n  - {{name: plain, authority: issuing}}\n")
    return "issuing/plain"


@pytest.fixture
def command(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line, over an installation with the stand-in's tenant; it is trusted as an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{stand_in.trust}")
    monkeypatch.setenv("INTUNE_SECRET", SECRET)
    file = tmp_path / "intune.yaml"
    file.write_text(declaration(stand_in))

    def run(*words: str) -> int:
        return main(["--state", f"{tmp_path / 'state-of-command'}", *words])

    assert run("apply", f"{file}") == 0
    return run


@pytest.mark.row("F118")
def test_the_command(command: Callable[..., int], stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    from datetime import UTC, datetime

    stand_in.tenant.now = lambda: datetime.now(UTC)
    capsys.readouterr()
    assert command("scep", "intune", "check", TEMPLATE) == 0
    printed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in printed.splitlines()] == [f"ok    {step}" for step in STEPS]
    stand_in.roles["intune"] = []
    assert command("scep", "intune", "check", TEMPLATE) == 1
    printed = capsys.readouterr().out
    assert "error token for Intune: the application has no permission scep_challenge_provider" in printed
    assert "      → Add it under API permissions" in printed
    assert SECRET not in printed
    assert command("scep", "intune", "check", TEMPLATE, "--json") == 1
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert {one["step"] for one in found if not one["is_good"]} == {"token for Intune", "validation"}


def test_the_command_refuses(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("scep", "intune", "check", "issuing/nothing") == 1
    assert command("scep", "intune", "check") == 64
    assert command("scep", "intune", "chek", TEMPLATE) == 64
