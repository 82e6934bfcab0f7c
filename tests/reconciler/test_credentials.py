"""Credentials made by an apply: told once, before they hold or right after, and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pkiconf.acme.credentials import Credentials
from pkiconf.authority.telling import CredentialFile, Told
from pkiconf.errors import Conflict, PkiconfError, Refused, Unavailable
from pkiconf.model.secret import Secret
from pkiconf.reconciler.apply import Status, apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.render import render_plan
from pkiconf.reconciler.state import Action
from pkiconf.reconciler.watch import Converged, Converger
from pkiconf.spec.loader import load_files
from tests.acme.telling import Heard, octets_of
from tests.reconciler.conftest import OPERATOR, Installation, changed
from tests.reconciler.test_apply import snapshot

PKI = """
settings: { base_url: "https://pki.corp.example/" }
authorities: [{ name: ca, key: { curve: p256 } }]
acme_policies:
  - name: internal
    template: web-server
    external_account_bindings: [%s]
"""
BINDING = "{ name: ci }"
TOLD = Credentials("eab/internal/ci", "http://pki/acme/directory", "kid", Secret(b"A" * 43))


def apply(installation: Installation, text: str, telling: Any = None, *allow: str, **options: Any) -> Any:
    document = installation.load(text)
    plan = load_plan(installation.services, document, now=installation.services.parts.now())
    actions = [Action(word) for word in allow]
    return apply_plan(
        installation.services, plan, document, actions, OPERATOR, patience=0, telling=telling, **options
    )  # fmt: skip


def bindings(installation: Installation) -> list[str]:
    return [view.row.name for view in installation.services.acme.bindings.list()]


def values(content: bytes) -> dict[str, str]:
    lines = [line for line in content.decode().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.row("F105")
def test_with_nowhere_to_tell_nothing_at_all_is_made(installation: Installation) -> None:
    before = snapshot(installation)
    with pytest.raises(Refused, match="eab/internal/ci, eab/internal/cd would be told once") as refused:
        apply(installation, PKI % "{ name: ci }, { name: cd }, { name: own, write_to: own.env }")
    assert "--secrets-file FILE" in refused.value.hint
    assert "write_to" in refused.value.hint
    assert snapshot(installation) == before
    assert not (installation.folder / "own.env").exists()


@pytest.mark.row("F105")
def test_a_file_is_written_beside_the_declaration(installation: Installation) -> None:
    (installation.folder / "secrets").mkdir()
    text = PKI % "{ name: ci, write_to: secrets/ci.env }"
    assert apply(installation, text).exit_code == 0
    file = installation.folder / "secrets" / "ci.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    told = values(file.read_bytes())
    assert told["ACME_DIRECTORY"] == "https://pki.corp.example/acme/directory"
    opened = installation.services.acme.bindings.open(told["ACME_EAB_KID"], installation.services.parts.now())
    assert opened.key.matches(octets_of(told["ACME_EAB_HMAC_KEY"].encode()))
    example = file.read_text()
    assert f"--eab-kid {told['ACME_EAB_KID']} --eab-hmac-key {told['ACME_EAB_HMAC_KEY']}" in example
    assert "certbot certonly" in example
    assert installation.pending(text) == []
    assert apply(installation, text).exit_code == 0, "nothing is told again"
    assert values(file.read_bytes()) == told


@pytest.mark.row("F105")
def test_the_secret_is_in_no_plan_no_recap_and_no_log(
    installation: Installation, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    document = installation.load(PKI % BINDING)
    plan = load_plan(installation.services, document, now=installation.services.parts.now())
    heard = Heard()
    recap = apply_plan(installation.services, plan, document, (), OPERATOR, telling=heard)
    after = load_plan(installation.services, document, now=installation.services.parts.now())
    said = [
        plan.to_json(),
        render_plan(plan, diff=True),
        after.to_json(),
        repr(recap),
        caplog.text,
        *capfd.readouterr(),
    ]
    said += [str(row) for row in installation.row("audit_event", "body")]
    secret = heard.last.hmac_key.reveal().decode()
    assert not [text for text in said if secret in text]


@pytest.mark.row("F105")
def test_a_terminal_is_told_after_the_commit(installation: Installation) -> None:
    order: list[str] = []

    class Watching(Heard):
        def keep(self, told: Told) -> None:
            order.append(f"keep {bindings(installation)}")

        def show(self, told: Told) -> None:
            order.append(f"show {bindings(installation)}")

    assert apply(installation, PKI % BINDING, Watching()).exit_code == 0
    assert order == ["keep []", "show ['ci']"]


def test_what_waits_for_nobody_is_left_out_and_the_rest_is_done(small_installation: Installation) -> None:
    recap = apply(small_installation, PKI % BINDING, leave_grave=True)
    assert recap.exit_code == 4
    (refused,) = [result for result in recap.results if result.status is Status.REFUSED]
    assert refused.address == "eab/internal/ci"
    assert "nowhere to tell" in refused.message
    assert "acme-policy/internal" in changed(recap)
    assert bindings(small_installation) == []
    assert changed(apply(small_installation, PKI % BINDING, Heard())) == ["eab/internal/ci"]


def test_a_watcher_has_no_terminal(small_installation: Installation) -> None:
    file = small_installation.folder / "pki.yaml"
    file.write_text(PKI % BINDING)
    converger = Converger(small_installation.services, [file], OPERATOR)
    outcome = converger.converge()
    assert isinstance(outcome, Converged)
    assert outcome.recap.count(Status.REFUSED) == 1
    file.write_text(PKI % "{ name: ci, write_to: ci.env }")
    outcome = converger.converge()
    assert isinstance(outcome, Converged)
    assert changed(outcome.recap) == ["eab/internal/ci"]
    assert values((small_installation.folder / "ci.env").read_bytes())


def test_several_gather_in_one_file(small_installation: Installation) -> None:
    file = small_installation.folder / "all.env"
    telling = CredentialFile(file, add=True)
    assert (
        apply(small_installation, PKI % "{ name: a }, { name: b, write_to: b.env }, { name: c }", telling).exit_code
        == 0
    )
    text = file.read_text()
    assert [line.rsplit("/", 1)[1] for line in text.splitlines() if line.startswith("# pkiconf")] == ["a", "c"]
    assert (small_installation.folder / "b.env").exists()
    more = PKI % "{ name: a }, { name: b }, { name: c }, { name: d }"
    assert changed(apply(small_installation, more, telling)) == ["eab/internal/d"]
    assert file.read_text().startswith(text)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda path: path.write_text("settings: {}\n"), Refused, "holds something else"),
        (lambda path: path.mkdir(), Refused, "is not a regular file"),
        (lambda path: os.mkfifo(path), Refused, "is not a regular file"),
        (lambda path: path.symlink_to("/nowhere/at/all"), Unavailable, "there is no folder /nowhere/at"),
        (lambda path: (path.write_bytes(TOLD.render()), path.chmod(0o644)), Unavailable, "others may use it"),
        (
            lambda path: path.write_bytes(b"# pkiconf: external account binding eab/internal/other\n"),
            Refused,
            "eab/intern",
        ),
    ],
)
def test_a_file_that_cannot_be_taken_stops_it_before_anything(
    small_installation: Installation, make: Any, error: type[PkiconfError], said: str
) -> None:
    file = small_installation.folder / "ci.env"
    make(file)
    if file.is_file() and said != "others may use it":
        file.chmod(0o600)
    kept = file.read_bytes() if file.is_file() else b""
    before = snapshot(small_installation)
    with pytest.raises(error, match=said):
        apply(small_installation, PKI % "{ name: ci, write_to: ci.env }")
    assert snapshot(small_installation) == before
    if file.is_file():
        assert file.read_bytes() == kept


def test_a_folder_that_is_not_there(small_installation: Installation) -> None:
    before = snapshot(small_installation)
    with pytest.raises(Unavailable, match="there is no folder"):
        apply(small_installation, PKI % "{ name: ci, write_to: nowhere/ci.env }")
    gathered = CredentialFile(small_installation.folder / "nowhere" / "all.env", add=True)
    with pytest.raises(Unavailable, match="there is no folder"):
        apply(small_installation, PKI % BINDING, gathered)
    with pytest.raises(Refused, match="eab/internal/a and eab/internal/b are both to be written to"):
        apply(small_installation, PKI % "{ name: a, write_to: x.env }, { name: b, write_to: ./x.env }")
    assert snapshot(small_installation) == before


def test_two_at_once_do_not_write_over_each_other(tmp_path: Path) -> None:
    from pkiconf.signing.private_file import alone_with

    file = CredentialFile(tmp_path / "all.env", add=True)
    with alone_with(file.path), pytest.raises(Conflict, match="another process is writing"):
        file.keep(TOLD)
    file.keep(TOLD)
    assert file.path.read_bytes() == TOLD.render()
    assert [path.name for path in tmp_path.iterdir()] == ["all.env"]


def test_what_was_kept_for_a_binding_that_was_not_made_is_replaced(small_installation: Installation) -> None:
    """Killed after the file and before the commit: the next apply makes another key, and the file has that."""
    text = PKI % "{ name: ci, write_to: ci.env }"
    file = small_installation.folder / "ci.env"
    CredentialFile(file).keep(TOLD)
    assert apply(small_installation, text).exit_code == 0
    told = values(file.read_bytes())
    assert small_installation.services.acme.bindings.open(told["ACME_EAB_KID"], small_installation.services.parts.now())


OWN = "{ name: own, key_id: %s, hmac_key: !env HMAC }"
ONE, OTHER = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY", "YUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY"


@pytest.mark.row("F113")
def test_a_declared_key_is_taken_and_its_change_seen(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMAC", ONE)
    text = PKI % (OWN % "k-1")
    installation.settle(text)
    opened = installation.services.acme.bindings.open("k-1", installation.services.parts.now())
    assert opened.key.matches(octets_of(ONE.encode()))
    monkeypatch.setenv("HMAC", OTHER)
    assert installation.pending(text) == [("update", "eab/internal/own")]
    installation.settle(text)
    opened = installation.services.acme.bindings.open("k-1", installation.services.parts.now())
    assert opened.key.matches(octets_of(OTHER.encode()))
    installation.settle(PKI % (OWN % "k-2"))
    assert installation.services.acme.bindings.open("k-2", installation.services.parts.now()).key.matches(
        opened.key.reveal()
    )
    stored = repr(installation.row("acme_binding", "*")) + repr(installation.row("audit_event", "body"))
    assert ONE not in stored
    assert OTHER not in stored


@pytest.mark.row("F113")
def test_a_saved_plan_holds_no_key(small_installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMAC", ONE)
    text = PKI % (OWN % "k-1")
    saved = small_installation.plan(text).to_json()
    assert ONE not in saved
    plan = Plan.from_json(saved)
    recap = apply_plan(small_installation.services, plan, None, (), OPERATOR, patience=0)
    (failed,) = [result for result in recap.results if result.status is Status.FAILED]
    assert failed.address == "eab/internal/own"
    assert "Give the YAML files" in failed.message
    assert bindings(small_installation) == []
    again = small_installation.plan(text)
    monkeypatch.setenv("HMAC", OTHER)
    document = load_files([small_installation.folder / "pki.yaml"])
    recap = apply_plan(small_installation.services, again, document, (), OPERATOR, patience=0)
    (refused,) = [result for result in recap.results if result.status is Status.REFUSED]
    assert "another than was planned with" in refused.message
    assert bindings(small_installation) == []


@pytest.mark.row("F107")
def test_a_binding_taken_out_of_the_list_goes_with_consent(installation: Installation) -> None:
    heard = Heard()
    assert apply(installation, PKI % "{ name: ci }, { name: cd }", heard).exit_code == 0
    less = PKI % "{ name: cd }"
    with pytest.raises(Refused, match="nobody agreed to: retire eab/internal/ci"):
        apply(installation, less)
    assert bindings(installation) == ["ci", "cd"]
    assert changed(apply(installation, less, None, "retire")) == ["eab/internal/ci"]
    assert bindings(installation) == ["cd"]
    recap = apply(installation, PKI % "{ name: ci }, { name: cd }", heard)
    assert changed(recap) == ["eab/internal/ci"]
    assert len({told.key_id for told in heard.shown}) == 3


def test_a_rotated_binding_voids_a_plan_made_before(small_installation: Installation) -> None:
    heard = Heard()
    assert apply(small_installation, PKI % BINDING, heard).exit_code == 0
    text = PKI % "{ name: ci, max_accounts: 7 }"
    plan = small_installation.plan(text)
    small_installation.services.acme.bindings.rotate("internal", "ci", OPERATOR, heard)
    with pytest.raises(Refused, match="out of date"):
        small_installation.apply(text, plan=plan)
    small_installation.settle(text)
    assert small_installation.services.acme.bindings.get("internal", "ci").spec.max_accounts == 7
