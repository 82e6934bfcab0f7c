"""Certificates approved in advance, from the command line."""

from __future__ import annotations

import plistlib
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, run
from tests.tools import run_tool

DECLARED = """
settings: { base_url: http://pki.corp.example, urls: { enrolment: https://pki.corp.example } }
authorities: [{ name: ca, default_templates: [web-server] }]
templates:
  - { name: device, authority: ca, starter: device, scep: { enabled: true, challenges: true } }
"""
JANE = ("--subject", "CN=Jane Doe,O=Example Corp", "--san", "email:jane@corp.example")


@pytest.fixture
def pki(tmp_path: Path) -> CommandLine:
    made = CommandLine(tmp_path / "state", tmp_path)
    (tmp_path / "pki.yaml").write_text(DECLARED)
    made.ok("apply", tmp_path / "pki.yaml")
    return made


@pytest.mark.row("F17")
def test_the_link_is_printed_where_nobody_is_mailed(pki: CommandLine) -> None:
    done = pki.ok("request", "preapprove", "-t", "ca/device", *JANE, "--days", "30", "--expires", "2d")
    assert re.fullmatch(r"https://pki\.corp\.example/claim/[\w-]{43}\n", done.out)
    assert done.err.startswith("Request 1 is approved. Whoever has this link gets the certificate, until ")
    assert "warning" not in done.err
    (row,) = pki.ok("request", "list", "--state", "awaiting_claim", "--json").json
    assert (row["number"], row["key"], row["names"]) == (1, None, ["email:jane@corp.example"])
    shown = pki.ok("request", "show", "1", "--json").json
    assert (shown["state"], shown["delivered_as"], shown["email"], shown["mail"]) == (
        "awaiting_claim",
        "claim",
        None,
        [],
    )
    token = done.out.strip().rpartition("/")[2]
    assert token not in pki.ok("request", "show", "1").out + str(shown) + pki.ok("audit", "list").out
    assert pki("request", "show", "1", "--csr").code != 0


@pytest.mark.row("F126")
def test_a_profile_goes_to_a_file(pki: CommandLine) -> None:
    out = pki.folder / "ipad.mobileconfig"
    said = pki.ok("request", "preapprove", "-t", "device", "--subject", "CN=Jane's iPad", "--apple", "--out", out)
    assert "Its profile is in" in said.out
    root = pki.folder / "ca.pem"
    pki.ok("authority", "export", "ca", "--out", root)
    verified = run_tool("openssl", "cms", "-verify", "-inform", "der", "-binary", "-in", out, "-CAfile", root)
    assert verified.returncode == 0, verified.stderr
    first = plistlib.loads(verified.stdout)
    assert first["PayloadContent"][-1]["PayloadContent"]["Subject"] == [[["CN", "Jane's iPad"]]]
    again = pki.ok("request", "profile", "1", "--out", "-")
    assert b"PayloadContent" in again.raw
    assert "good until" in again.err


HANDED_OVER = ("request", "preapprove", "-t", "device", "--subject", "CN=iPad", "--apple", "--out")


def test_where_no_profile_can_be_made_nothing_is_approved(pki: CommandLine) -> None:
    full = DECLARED.replace("challenges: true", "challenges: true, ndes: { max_outstanding: 1 }")
    (pki.folder / "pki.yaml").write_text(full)
    pki.ok("apply", pki.folder / "pki.yaml")
    pki.ok(*HANDED_OVER, pki.folder / "one")
    said = pki.refuses(4, *HANDED_OVER, pki.folder / "two")
    assert "1 challenge waits to be used at template/ca/device, and no more may" in said
    assert "raise scep.ndes.max_outstanding" in said
    assert [row["number"] for row in pki.ok("request", "list", "--all", "--json").json] == [1]
    assert not (pki.folder / "two").exists()
    # What is declined gives its place to others.
    pki.ok("request", "decline", "1", "--reason", "it is lost")
    pki.ok(*HANDED_OVER, pki.folder / "two")


@pytest.mark.parametrize("out", ["nowhere/file", "folder"])
def test_for_a_file_that_cannot_be_written_nothing_is_approved(pki: CommandLine, out: str) -> None:
    (pki.folder / "folder").mkdir()
    said = pki.refuses(1, *HANDED_OVER, pki.folder / out)
    assert "cannot be written" in said
    assert pki.ok("request", "list", "--all", "--json").json == []


@pytest.mark.parametrize("out", ["nowhere/file", "folder"])
def test_for_a_file_that_cannot_be_written_no_challenge_is_made(pki: CommandLine, out: str) -> None:
    (pki.folder / "folder").mkdir()
    pki.ok(*HANDED_OVER, pki.folder / "profile")
    before = pki.ok("scep", "challenges", "device", "--json").json
    assert "cannot be written" in pki.refuses(1, "request", "profile", "1", "--out", pki.folder / out)
    assert pki.ok("scep", "challenges", "device", "--json").json == before


def test_the_end_that_is_told_is_the_profiles_own(pki: CommandLine) -> None:
    def days_left(said: str) -> int:
        (until,) = re.findall(r"until (.*) UTC", said)
        left = datetime.strptime(until, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) - datetime.now(UTC)
        return round(left / timedelta(days=1))

    out = pki.folder / "profile"
    assert days_left(pki.ok(*HANDED_OVER, out, "--expires", "60d").out) == 30
    assert days_left(pki.ok("request", "profile", "1", "--out", out).err) == 30


def test_whoever_reads_a_profile_may_enrol_so_it_is_read_by_its_owner_alone(pki: CommandLine) -> None:
    first, second = pki.folder / "first", pki.folder / "second"
    second.touch(0o644)
    pki.ok(*HANDED_OVER, first)
    pki.ok("request", "profile", "1", "--out", second)
    assert [stat.S_IMODE(out.stat().st_mode) for out in (first, second)] == [0o600, 0o600]


def test_a_profile_on_standard_output_is_a_profile_alone(pki: CommandLine) -> None:
    done = pki.ok(*HANDED_OVER, "-")
    assert "Request 1 is approved" in done.err
    assert run_tool("openssl", "cms", "-verify", "-inform", "der", "-noverify", stdin=done.raw).returncode == 0


@pytest.mark.row("F23")
def test_proposed_approved_sent_again_and_declined(pki: CommandLine) -> None:
    said = pki.ok("request", "submit", "-t", "ca/device", *JANE).out
    assert said == ("Request 1 is pending (it brings no key).\nApprove it with: pkiconf request approve 1\n")
    assert "approve it" in pki("request", "sign", "1").err.lower()
    link = pki.ok("request", "approve", "1", "--set", "subject.CN=Jane Roe", "--add-san", "dns:a.corp.example").out
    again = pki.ok("request", "resend", "1").out
    assert link != again
    assert pki.ok("request", "show", "1", "--json").json["names"] == ["email:jane@corp.example", "dns:a.corp.example"]
    assert pki("request", "approve", "1").code == 4
    pki.ok("request", "decline", "1", "--reason", "she has left")
    assert "declined" in pki("request", "resend", "1").err


def test_a_link_in_the_clear_is_warned_of(tmp_path: Path) -> None:
    made = CommandLine(tmp_path / "state", tmp_path)
    (tmp_path / "pki.yaml").write_text("authorities: [{ name: ca }]")
    made.ok("apply", tmp_path / "pki.yaml")
    done = made.ok("request", "preapprove", "-t", "web-server", "--san", "dns:a.example")
    assert "warning: the link begins with http://" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("preapprove", "-t", "device"), 64, "say what the certificate names"),
        (("preapprove", "-t", "device", *JANE, "--out", "x"), 64, "--out goes with --apple"),
        (
            ("preapprove", "-t", "device", *JANE, "--apple", "--email", "a@b.example", "--out", "x"),
            64,
            "--out goes with",
        ),
        (("preapprove", "-t", "device", *JANE, "--expires", "soon"), 64, "is not a duration"),
        (("preapprove", "-t", "device", *JANE, "--expires", "91d"), 4, "at most 90d"),
        (("preapprove", "-t", "device", *JANE, "--days", "3", "--not-after", "2031-01-01"), 64, "not both"),
        (("preapprove", "-t", "device", "--subject", "/CN=x"), 64, "openssl's way"),
        (("preapprove", "-t", "device", "--san", "jane"), 64, "is not KIND:VALUE"),
        (("preapprove", "-t", "nothing", *JANE), 1, "there is no template"),
        (("preapprove", "-t", "device", *JANE, "--email", "jane@corp.example"), 4, "no mail server is declared"),
        (("preapprove", "-t", "web-server", *JANE, "--apple"), 4, "takes no challenges over SCEP"),
        (("preapprove", "-t", "device", *JANE, "--apple", "--san", "ip:192.0.2.1"), 4, "cannot be asked for"),
        (("submit", "-t", "device"), 64, "say what the certificate names"),
        (("submit", "-t", "device", *JANE, "--approve"), 64, "--approve goes with a CSR"),
        (("submit", "x.csr", "-t", "device", *JANE), 64, "the CSR says what is wanted"),
        (("approve", "7"), 1, "there is no request 7"),
        (("resend", "7"), 1, "there is no request 7"),
        (("profile", "7", "--out", "x"), 1, "there is no request 7"),
    ],
)
def test_what_is_refused_leaves_nothing(pki: CommandLine, words: tuple[str, ...], code: int, said: str) -> None:
    done = pki("request", *words)
    assert (done.code, said in done.err) == (code, True), done.err
    assert pki.ok("request", "list", "--all", "--json").json == []
    assert not (pki.folder / "x").exists()


def test_help_names_them() -> None:
    said = run("request", "--help").out
    assert all(word in said for word in ("preapprove", "approve", "resend", "profile"))
