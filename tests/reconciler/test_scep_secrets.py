"""Secrets of SCEP between a plan and its apply: the ones that were planned with, or none."""

from __future__ import annotations

import pytest

from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.recap import Recap, Status
from pkiconf.spec.document import Document
from pkiconf.spec.loader import load_files
from tests.scep.place import DECLARATION, PASSPHRASE, terms_of
from tests.wholeness import rows
from tests.world import OPERATOR, World


def load(world: World, passphrase: str) -> Document:
    path = world.folder / "pki.yaml"
    path.write_text(DECLARATION.format(scep="{ enabled: true, static_passphrase: !env PASSPHRASE }"))
    return load_files([path], environment={"PASSPHRASE": passphrase})


def plan_of(world: World, document: Document) -> Plan:
    return load_plan(world.services, document, now=world.clock.now())


def failure(recap: Recap) -> str:
    (found,) = [result.message for result in recap.results if result.status in (Status.FAILED, Status.REFUSED)]
    return found


def test_a_secret_that_was_changed_since_the_plan_is_refused(sqlite_world: World) -> None:
    plan = plan_of(sqlite_world, load(sqlite_world, PASSPHRASE))
    recap = apply_plan(sqlite_world.services, plan, load(sqlite_world, "another passphrase"), (), OPERATOR)
    assert "scep.static_passphrase.secret of template/issuing/device is another than was planned" in failure(recap)
    assert rows(sqlite_world.services, "SELECT count(*) FROM scep_secret") == [(0,)]
    assert rows(sqlite_world.services, "SELECT count(*) FROM template WHERE name = 'device'") == [(0,)]


def test_a_saved_plan_holds_no_secret(sqlite_world: World) -> None:
    document = load(sqlite_world, PASSPHRASE)
    saved = plan_of(sqlite_world, document).to_json()
    assert PASSPHRASE not in saved
    recap = apply_plan(sqlite_world.services, Plan.from_json(saved), None, (), OPERATOR)
    assert "reads scep.static_passphrase.secret. Give the YAML files instead of the plan" in failure(recap)


def test_a_saved_plan_with_its_files_is_carried_out(sqlite_world: World) -> None:
    document = load(sqlite_world, PASSPHRASE)
    saved = Plan.from_json(plan_of(sqlite_world, document).to_json())
    recap = apply_plan(sqlite_world.services, saved, document, (), OPERATOR)
    assert recap.exit_code == 0
    assert sqlite_world.services.scep.passphrases.find(terms_of(sqlite_world), PASSPHRASE)


@pytest.mark.parametrize("name", ["PASSPHRASE", "OTHER"])
def test_where_the_secret_comes_from_does_not_matter(sqlite_world: World, name: str) -> None:
    document = load(sqlite_world, PASSPHRASE)
    apply_plan(sqlite_world.services, plan_of(sqlite_world, document), document, (), OPERATOR)
    path = sqlite_world.folder / "pki.yaml"
    path.write_text(path.read_text().replace("!env PASSPHRASE", f"!env {name}"))
    again = plan_of(sqlite_world, load_files([path], environment={name: PASSPHRASE}))
    assert not again.pending
