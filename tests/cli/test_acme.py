"""`pkiconf acme …` and credentials from the command line: on a terminal, in files, and never anywhere else."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pkiconf.acme.accounts import Registration
from pkiconf.acme.settle import settle
from pkiconf.bootstrap import open_services
from pkiconf.model.acme import OrderWish, Problem, ProblemType
from pkiconf.settings import ProcessSettings
from pkiconf.steps import Step
from tests.acme.place import identifiers, make_account_key
from tests.cli.conftest import CommandLine, clean_environment

PKI = """
authorities: [{ name: ca, key: { curve: p256 } }]
acme_policies:
  - name: internal
    template: web-server
    external_account_bindings: [%s]
"""


def declare(bare: CommandLine, bindings: str = "{ name: ci }") -> Path:
    path = bare.folder / "pki.yaml"
    path.write_text(PKI % bindings)
    return path


def told(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if not line.startswith("#"))


def on_a_terminal(bare: CommandLine, *words: str) -> str:
    """What a command line writes to a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pkiconf", "--state", str(bare.state), *words]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=clean_environment()) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait(60) == 0, said
    os.close(ours)
    return said.decode()


@pytest.fixture
def acme(bare: CommandLine) -> CommandLine:
    """With a binding whose credentials lie in ci.env."""
    bare.ok("apply", declare(bare, "{ name: ci, write_to: ci.env, max_accounts: 2 }"), "--yes")
    return bare


def a_failed_order(acme: CommandLine) -> tuple[str, str]:
    """Names of an account that registered with the binding and of its order, whose challenge failed."""
    with open_services(ProcessSettings(state=acme.state), create=False) as s:
        opened = s.acme.bindings.open(told(acme.folder / "ci.env")["ACME_EAB_KID"], s.parts.now())
        wish = Registration(make_account_key(), ("mailto:ops@corp.example",), True, "127.0.0.1", binding=opened)
        account, _ = s.acme.accounts.register(wish)
        order = s.acme.orders.create(account, OrderWish(identifiers("web.corp.example")))
        authorization = s.acme.authorizations.get(account, order.authorizations[0])
        s.acme.authorizations.respond(account, authorization.name, authorization.challenges[0].type)
        problem = Problem(ProblemType.CONNECTION, "connection refused by 192.0.2.1 port 80")
        s.parts.db.write(Step.ACME_VALIDATED, lambda c: settle(c, authorization.id, problem, 1))
    return account.name, order.name


@pytest.mark.row("F105")
def test_a_terminal_is_told_once(bare: CommandLine) -> None:
    path = declare(bare)
    said = on_a_terminal(bare, "apply", str(path), "--yes")
    secret = said.split("ACME_EAB_HMAC_KEY=")[1].split()[0]
    assert len(secret) == 43
    assert "ACME_EAB_KID=" in said
    assert f"--eab-hmac-key {secret}" in said
    for words in (("apply", str(path), "--yes"), ("plan", str(path)), ("acme", "eab", "list", "--json")):
        assert secret not in on_a_terminal(bare, *words)
    rotated = on_a_terminal(bare, "acme", "eab", "rotate", "internal/ci")
    assert "ACME_EAB_HMAC_KEY=" in rotated
    assert secret not in rotated


@pytest.mark.row("F105")
def test_a_pipe_is_told_nothing_and_nothing_is_made(bare: CommandLine) -> None:
    path = declare(bare)
    result = bare("apply", path, "--yes")
    assert result.code == 4
    assert "eab/internal/ci would be told once, and there is nowhere to tell them" in result.err
    assert "--secrets-file FILE" in result.err
    assert bare.ok("authority", "list", "--json").json == []
    assert bare.ok("acme", "policy", "list").out == "No ACME policies yet.\n"


@pytest.mark.row("F105")
def test_a_secrets_file(bare: CommandLine) -> None:
    path, file = declare(bare), bare.folder / "secrets.env"
    result = bare.ok("apply", path, "--yes", "--secrets-file", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = told(file)["ACME_EAB_HMAC_KEY"]
    assert secret not in result.out + result.err
    assert secret not in bare.ok("apply", path, "--yes").out
    assert secret not in bare.ok("audit", "list", "--json").out
    taken = bare.folder / "notes.txt"
    taken.write_text("mine")
    refused = bare("apply", declare(bare, "{ name: ci }, { name: cd }"), "--yes", "--secrets-file", taken)
    assert refused.code in (1, 4)
    assert taken.read_text() == "mine"
    assert [row["name"] for row in bare.ok("acme", "eab", "list", "--json").json] == ["ci"]


def test_a_wish_that_cannot_be_kept_says_so_before_it_asks(bare: CommandLine) -> None:
    path = declare(bare)
    result = bare("apply", path, "--yes", "--secrets-file", bare.folder / "nowhere" / "x")
    assert result.code == 1
    assert "there is no folder" in result.err
    assert bare.ok("authority", "list", "--json").json == []


@pytest.mark.row("F87")
@pytest.mark.row("F96")
def test_a_template_tells_who_issues_from_it_and_where(acme: CommandLine) -> None:
    (row,) = acme.ok("template", "list", "--json").json
    assert row["issues_unattended"] is True
    assert acme.ok("template", "list").out.rstrip().endswith("yes")
    (directory,) = acme.ok("template", "urls", row["template"], "--json").json["acme"]
    assert directory.endswith("/acme/p/internal/directory")
    assert directory in acme.ok("template", "urls", row["template"]).out


@pytest.mark.row("F103")
def test_policies_are_listed_and_shown(acme: CommandLine) -> None:
    (row,) = acme.ok("acme", "policy", "list", "--json").json
    assert row == {
        "policy": "internal", "state": "active", "templates": {"default": "ca/web-server"}, "bindings": ["ci"],
        "accounts": 0, "owner": "yaml:default",
    }  # fmt: skip
    assert "internal" in acme.ok("acme", "policy", "list").out
    shown = acme.ok("acme", "policy", "show", "internal", "--json").json
    assert shown["directory"] == "http://127.0.0.1:8000/acme/directory"
    assert shown["own_directory"] == "http://127.0.0.1:8000/acme/p/internal/directory"
    assert shown["spec"]["order_lifetime"] == "7d"
    text = acme.ok("acme", "policy", "show", "internal").out
    assert "profiles.default:" in text
    assert "external_account_required: true" in text
    assert "Known policies: internal" in acme.refuses(1, "acme", "policy", "show", "other")


@pytest.mark.row("F96")
def test_a_template_that_a_policy_offers_issues_unattended(acme: CommandLine) -> None:
    (row,) = acme.ok("template", "list", "--json").json
    assert (row["issues_unattended"], row["unattended"]) == (True, ["ACME (policy internal)"])
    assert "ACME (policy internal)" in acme.ok("template", "show", "web-server").out
    path = acme.folder / "pki.yaml"
    path.write_text(PKI.partition("acme_policies")[0] + "acme_policies: [{ name: internal, state: absent }]")
    acme.ok("apply", path, "--yes", "--allow", "retire")
    (row,) = acme.ok("template", "list", "--json").json
    assert (row["issues_unattended"], row["unattended"]) == (False, [])


@pytest.mark.row("F103")
@pytest.mark.row("F104")
def test_bindings_are_made_listed_rotated_and_deleted(acme: CommandLine) -> None:
    file = acme.folder / "x.env"
    made = acme.ok(
        "acme", "eab", "create", "internal/x", "--expires", "2031-01-01", "--unlimited", "--domain", "*.x.example",
        "--write-to", file,
    )  # fmt: skip
    first = told(file)
    assert first["ACME_EAB_KID"] in made.out
    assert first["ACME_EAB_HMAC_KEY"] not in made.out
    row = next(row for row in acme.ok("acme", "eab", "list", "internal", "--json").json if row["name"] == "x")
    assert (row["state"], row["max_accounts"], row["expires"]) == ("active", None, "2031-01-01T00:00:00+00:00")
    assert (row["domains"], row["owner"], row["key"]) == (["*.x.example"], "console", "random")
    acme.ok("acme", "eab", "rotate", "internal/x", "--write-to", file)
    assert told(file)["ACME_EAB_KID"] != first["ACME_EAB_KID"]
    assert "0 of any number" in acme.ok("acme", "eab", "list").out
    for secret in (first["ACME_EAB_HMAC_KEY"], told(file)["ACME_EAB_HMAC_KEY"]):
        assert secret not in acme.ok("acme", "eab", "list", "--json", "--deleted").out
    assert acme.ok("plan", acme.folder / "pki.yaml").code == 0, "what a command made is not taken back by a declaration"
    acme.ok("acme", "eab", "delete", "internal/x")
    assert [row["name"] for row in acme.ok("acme", "eab", "list", "--json").json] == ["ci"]
    deleted = acme.ok("acme", "eab", "delete", "internal/ci")
    assert "take it out of the YAML too" in deleted.err


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (4, ("create", "internal/x"), "this is no terminal"),
        (4, ("rotate", "internal/ci"), "this is no terminal"),
        (1, ("create", "other/x", "--write-to", "x.env"), "Known policies: internal"),
        (4, ("create", "internal/ci", "--write-to", "x.env"), "eab/internal/ci exists already"),
        (4, ("create", "internal/ci", "--write-to", "x.env"), "`pkiconf acme eab rotate internal/ci`"),
        (4, ("create", "internal/x", "--expires", "2020-01-01", "--write-to", "x.env"), "nobody could register"),
        (1, ("create", "internal/X Y", "--write-to", "x.env"), "Write x-y"),
        (1, ("create", "internal/x", "--expires", "soon", "--write-to", "x.env"), "is not a moment"),
        (64, ("create", "internal/x", "--max-accounts", "0", "--write-to", "x.env"), "--max-accounts"),
        (1, ("rotate", "internal/y", "--write-to", "x.env"), "It has: ci"),
        (1, ("delete", "internal/y"), "It has: ci"),
        (1, ("list", "nowhere"), "Known policies: internal"),
        *((64, ("delete", text), "write POLICY/NAME") for text in ("internal", "internal/", "/ci", "a/b/c")),
    ],
)
def test_what_is_refused_of_bindings(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch, code: int, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(acme.folder)
    assert said in acme.refuses(code, "acme", "eab", *words)
    assert not (acme.folder / "x.env").exists()
    assert [row["name"] for row in acme.ok("acme", "eab", "list", "--json").json] == ["ci"]


@pytest.mark.row("F108")
def test_accounts_are_listed_shown_and_deactivated(acme: CommandLine) -> None:
    account, order = a_failed_order(acme)
    (row,) = acme.ok("acme", "account", "list", "--policy", "internal", "--json").json
    assert (row["account"], row["policy"], row["binding"], row["state"]) == (account, "internal", "ci", "valid")
    assert row["contacts"] == ["mailto:ops@corp.example"]
    assert account in acme.ok("acme", "account", "list").out
    shown = acme.ok("acme", "account", "show", f"http://127.0.0.1:8000/acme/account/{account}", "--json").json
    assert shown["orders"] == [{"order": order, "state": "invalid"}]
    assert f"{order} invalid web.corp.example" in acme.ok("acme", "account", "show", account).out
    assert "1 of 2" in acme.ok("acme", "eab", "list").out
    assert "is deactivated" in acme.ok("acme", "account", "deactivate", account).out
    assert "has ended already (revoked)" in acme.ok("acme", "account", "deactivate", account).out
    assert acme.ok("acme", "policy", "list", "--json").json[0]["accounts"] == 0
    assert "there is no ACME account 'x'" in acme.refuses(1, "acme", "account", "show", "x")
    assert "there is no ACME account 'x'" in acme.refuses(1, "acme", "account", "deactivate", "x")
    assert "Known policies: internal" in acme.refuses(1, "acme", "account", "list", "--policy", "x")


def test_an_order_says_why_it_failed(acme: CommandLine) -> None:
    account, order = a_failed_order(acme)
    (row,) = acme.ok("acme", "order", "list", "--account", account, "--json").json
    assert (row["order"], row["state"], row["identifiers"]) == (order, "invalid", ["web.corp.example"])
    assert order in acme.ok("acme", "order", "list").out
    said = acme.ok("acme", "order", "show", f"http://127.0.0.1:8000/acme/order/{order}").out
    assert "It failed: web.corp.example: connection refused by 192.0.2.1 port 80 (connection)" in said
    assert "See that this machine reaches the client" in said
    assert "web.corp.example: invalid" in said
    assert "http://web.corp.example/.well-known/acme-challenge/" in said
    shown = acme.ok("acme", "order", "show", order, "--json").json
    assert shown["replaces"] is None
    assert shown["authorizations"][0]["challenges"][0]["error"]["type"].endswith(":connection")
    assert "there is no ACME order 'x'" in acme.refuses(1, "acme", "order", "show", "x")
    assert "there is no ACME account 'x'" in acme.refuses(1, "acme", "order", "list", "--account", "x")


def test_the_master_key_of_bindings_is_changed_too(acme: CommandLine) -> None:
    said = acme.ok("keystore", "rekey").out
    assert "keys and secrets were moved" in said
    under = acme.ok("keystore", "status", "--json").json
    assert list(under["sealed_under"]) == [under["current"]]
    with open_services(ProcessSettings(state=acme.state), create=False) as s:
        kid = told(acme.folder / "ci.env")["ACME_EAB_KID"]
        assert s.acme.bindings.open(kid, s.parts.now()).key_id == kid
