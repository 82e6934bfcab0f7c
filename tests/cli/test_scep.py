"""`pkiconf scep …` and `template urls` from the command line."""

from __future__ import annotations

import stat

import pytest

from tests.cli.conftest import CommandLine
from tests.cli.test_acme import on_a_terminal

PKI = """
settings: { base_url: "https://pki.corp.example" }
authorities: [{ name: ca, key: { curve: p256 } }]
templates:
  - name: device
    authority: ca
    starter: device
    scep:
      enabled: true
      static_passphrase: { generate: true, write_to: device.env }
      ndes: { enabled: true, basic_auth: { username: svc, password: !env NDES_PASSWORD } }
  - { name: plain, authority: ca, starter: device }
"""


@pytest.fixture
def scep(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("NDES_PASSWORD", "a password for machines")
    path = bare.folder / "pki.yaml"
    path.write_text(PKI)
    bare.ok("apply", path, "--yes")
    return bare


def passphrase(scep: CommandLine, name: str = "device.env") -> str:
    return (scep.folder / name).read_text().splitlines()[-1].removeprefix("SCEP_CHALLENGE_PASSWORD=")


@pytest.mark.row("F115", "F123")
def test_urls_of_a_template(scep: CommandLine) -> None:
    urls = scep.ok("template", "urls", "device", "--json").json
    assert urls["scep"] == "https://pki.corp.example/scep/ca/device"
    assert urls["ndes"] == "https://pki.corp.example/certsrv/ca/device/mscep/mscep.dll"
    assert urls["ndes_admin"] == "https://pki.corp.example/certsrv/ca/device/mscep_admin/"
    assert "scep:        https://pki.corp.example/scep/ca/device" in scep.ok("template", "urls", "device").out
    assert "scep" not in scep.ok("template", "urls", "plain", "--json").json


@pytest.mark.row("F123")
def test_challenges_are_made_and_listed(scep: CommandLine) -> None:
    assert scep.ok("scep", "challenges", "device").out == "No challenges wait to be used.\n"
    made = scep.ok("scep", "challenge", "device", "--subject", "CN=r7,O=Corp", "--san", "dns:r7.corp.example").out
    other = scep.ok("scep", "challenge", "device", "--ttl", "2d", "--json").json
    assert len(made.strip()) == len(other["challenge"]) == 16
    assert other["template"] == "ca/device"
    first, second = scep.ok("scep", "challenges", "ca/device", "--json").json
    assert (first["good_for"], second["good_for"]) == ("CN=r7,O=Corp, dns:r7.corp.example", "any name")
    listed = scep.ok("scep", "challenges", "device").out
    assert made.strip() not in listed
    assert "operator:" in listed


@pytest.mark.row("F129")
def test_a_passphrase_is_rotated(scep: CommandLine) -> None:
    before = passphrase(scep)
    said = scep.ok("scep", "rotate-passphrase", "device", "--overlap", "2d", "--write-to", scep.folder / "next.env").out
    assert "The one before is good for another 2d." in said
    assert passphrase(scep, "next.env") not in said
    assert passphrase(scep, "next.env") != before
    assert stat.S_IMODE((scep.folder / "next.env").stat().st_mode) == 0o600


@pytest.mark.row("F128")
def test_a_terminal_is_told_once(scep: CommandLine) -> None:
    said = on_a_terminal(scep, "scep", "rotate-passphrase", "device")
    assert said.count("SCEP_CHALLENGE_PASSWORD=") == 1


def test_a_pipe_is_told_nothing_and_nothing_changes(scep: CommandLine) -> None:
    said = scep.refuses(4, "scep", "rotate-passphrase", "device")
    assert "would be told once" in said
    assert "--write-to FILE" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("challenge", "plain"), 4, "takes no challenges"),
        (("challenge", "nothing"), 1, "Known templates: ca/device"),
        (("challenge", "device", "--ttl", "soon"), 64, "'soon' is not a duration"),
        (("challenge", "device", "--ttl", "1y"), 4, "30 days at most"),
        (("challenge", "device", "--san", "r7.corp.example"), 64, "is not KIND:VALUE"),
        (("challenge", "device", "--subject", "/CN=x"), 64, "RFC 4514"),
        (("challenges", "nothing"), 1, "Known templates"),
        (("rotate-passphrase", "plain", "--write-to", "x"), 4, "has no static passphrase"),
        (("rotate-passphrase", "device", "--overlap", "-1d", "--write-to", "x"), 64, "is not a duration"),
    ],
)
def test_refused(scep: CommandLine, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in scep.refuses(code, "scep", *words)


def test_what_lets_a_device_in_is_shown_without_its_secrets(scep: CommandLine) -> None:
    shown = scep.ok("template", "show", "device").out + scep.ok("template", "list").out
    assert "scep.static_passphrase.generate" in shown
    for secret in (passphrase(scep), "a password for machines"):
        assert secret not in shown
