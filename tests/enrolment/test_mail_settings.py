"""The password of the mail server: sealed with the settings, kept while they stand, forgotten with its declaration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkiconf.authority.settings import MAIL_PASSWORD
from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.signing.keyring import secret_identity
from pkiconf.spec.loader import load_files
from pkiconf.store import keys
from tests.world import OPERATOR, World

WITH = "settings: { mail: { server: smtp.corp.example, from: pki@corp.example, username: pki, password: !env SECRET } }"
WITHOUT = "settings: { mail: { server: smtp.corp.example, from: pki@corp.example, username: null, password: null } }"


def stored(world: World) -> bytes | None:
    row = world.parts.db.read(lambda c: keys.find_secret(c, MAIL_PASSWORD))
    if row is None:
        return None
    return world.parts.keyring.unseal(secret_identity(MAIL_PASSWORD), row.sealed, row.wrapping_key_id).reveal()


@pytest.mark.row("F19")
def test_it_follows_its_declaration(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "one long password")
    assert world.apply(WITH).exit_code == 0
    assert stored(world) == b"one long password"
    assert world.apply(WITH).counts["changed"] == 0
    world.apply(WITH.replace("smtp.", "mail."))
    assert stored(world) == b"one long password"
    monkeypatch.setenv("SECRET", "another long password")
    assert world.apply(WITH).counts["changed"] == 1
    assert stored(world) == b"another long password"
    world.apply(WITHOUT)
    assert stored(world) is None


def test_it_is_forgotten_with_the_server(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "one long password")
    sqlite_world.apply(WITH)
    sqlite_world.apply("settings: { mail: null }")
    assert stored(sqlite_world) is None


def test_a_plan_alone_does_not_hold_it(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "one long password")
    path = tmp_path / "pki.yaml"
    path.write_text(WITH)
    plan = load_plan(sqlite_world.services, load_files([path]), now=sqlite_world.clock.now())
    assert "one long password" not in plan.to_json()
    recap = apply_plan(sqlite_world.services, plan, None, (), OPERATOR)
    assert "reads mail.password" in str(recap.results)
    assert stored(sqlite_world) is None
    monkeypatch.setenv("SECRET", "changed since then")
    recap = apply_plan(sqlite_world.services, plan, load_files([path]), (), OPERATOR)
    assert "another than was planned with" in str(recap.results)
    assert stored(sqlite_world) is None
    assert sqlite_world.services.settings.read().mail is None
