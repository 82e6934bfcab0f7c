"""Every file of tests/plans is a page an operator could read: what stands, what is declared, what is planned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pkiconf.model.secret import Secret
from pkiconf.policy.starters import overlay
from pkiconf.reconciler.desired import declare, keyed_mark
from pkiconf.reconciler.diff import diff
from pkiconf.reconciler.kinds import get_kind
from pkiconf.reconciler.kinds.kind import View
from pkiconf.reconciler.plan import Measure, Plan, make_plan
from pkiconf.reconciler.render import render_plan
from pkiconf.reconciler.state import Actual, ActualState, Affects, Desired, DesiredState
from pkiconf.spec.loader import load_files

FOLDER = Path(__file__).parent.parent / "plans"
MARK = keyed_mark(Secret(b"a key of the tests, for marks only"))
STANDS = {"base_url": "http://pki.corp.example"}


@dataclass(frozen=True)
class PlanCase:
    name: str
    about: str
    rows: tuple[str, ...]
    text: dict[str, Any]


def load_cases() -> list[PlanCase]:
    reader = YAML(typ="safe")
    cases = []
    for path in sorted(FOLDER.glob("*.yaml")):
        text = reader.load(path)
        cases.append(PlanCase(path.stem, text.pop("about"), tuple(text.pop("rows", ())), text))
    return cases


def resolved(standing: dict[str, Any]) -> dict[str, Actual]:
    """Rows as they would stand had they been created from what a case tells of them."""
    wishes = {
        address: Desired(address, (told or {}).get("spec", {}), "yaml:default") for address, told in standing.items()
    }
    view = View(DesiredState(wishes), ActualState({}), datetime(2030, 1, 1, tzinfo=UTC))
    rows = {}
    for address, told in standing.items():
        spec = get_kind(address).create(wishes[address], view)
        view.resolved[address] = spec
        told = dict(told or {})
        told.pop("affects", None)
        told.pop("blockers", None)
        rows[address] = replace(Actual(address, spec, "yaml:default"), **{**told, "spec": spec})
    return rows


def world(case: PlanCase) -> tuple[ActualState, dict[str, Measure]]:
    told = case.text.get("actual") or {}
    told.setdefault("settings", {"spec": STANDS, "owner": "implied"})
    actual = ActualState(resolved(told), frozenset(case.text.get("buried", ())))
    measures = {
        address: Measure(Affects(**row.get("affects", {})), tuple(row.get("blockers", ())))
        for address, row in told.items()
        if row
    }
    return actual, measures


def plan_of(case: PlanCase, folder: Path) -> Plan:
    file = folder / "pki.yaml"
    file.write_text(case.text["declared"])
    for name, content in case.text.get("files", {}).items():
        (folder / name).write_text(content)
    actual, measures = world(case)
    desired = declare(load_files([file]), case.text.get("workspace", "default"), MARK)
    difference = diff(desired, actual, case.text["now"].replace(tzinfo=UTC), prune=case.text.get("prune", False))
    return make_plan(difference, actual, desired.workspace, measures, tuple(case.text.get("limit", ())))


def described(plan: Plan, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plan's changes with as many fields as the case speaks of, and always what refuses or waits."""
    rows = []
    for change in plan.changes:
        if not (change.pending or change.refused or change.waiting):
            continue
        row: dict[str, Any] = {"action": change.action.value, "address": change.address, "reason": change.reason}
        for name in ("refused", "waiting", "owner", "moved_from"):
            value = getattr(change, name)
            asked = any(name in told for told in wanted if told["address"] == change.address)
            if value and (asked or name in ("refused", "waiting")):
                row[name] = value
        told = next((told for told in wanted if told["address"] == change.address), {})
        if "after" in told:
            row["after"] = told["after"] if overlay(change.after or {}, told["after"]) == change.after else change.after
        if "affects" in told:
            row["affects"] = {name: getattr(change.affects, name) for name in told["affects"]}
        rows.append(row)
    return rows


CASES = load_cases()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.row(row) for row in case.rows]) for case in CASES]
)
def test_plan(case: PlanCase, tmp_path: Path) -> None:
    plan = plan_of(case, tmp_path)
    wanted = case.text["plan"] or []
    assert described(plan, wanted) == wanted, case.about
    messages = [f"{finding.address}: {finding.message}".removeprefix(": ") for finding in plan.findings]
    assert messages == case.text.get("findings", []), case.about
    assert Plan.from_json(plan.to_json()) == plan
    shown = render_plan(plan, colour=False, diff=True)
    for line in case.text.get("shown", ()):
        assert line in shown


def test_there_are_cases() -> None:
    assert len(CASES) > 30
