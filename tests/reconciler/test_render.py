"""What a plan looks like to whoever reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.render import render_plan
from pkiconf.reconciler.state import Action, Affects, Change, Finding, Severity

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def plan(*changes: Change, findings: tuple[Finding, ...] = ()) -> Plan:
    return Plan(NOW, "0" * 64, "default", changes, findings)


ROLLOVER = Change(
    "authority/issuing",
    Action.ROLLOVER,
    "key: ec-p256 → ml-dsa-65",
    {"key": {"type": "ec", "curve": "p256"}},
    {"key": {"type": "ml-dsa", "parameter_set": 65, "curve": None}},
    Affects(1, 2, 1),
    generation=3,
)
UNCHANGED = Change("settings", Action.UNCHANGED, "")


@pytest.mark.row("F96")
def test_a_created_template_says_that_it_does_not_issue_unattended() -> None:
    created = Change(
        "template/a/web", Action.CREATE, "declared", None, {"name": "web", "authority": "a", "enabled": True}
    )
    text = render_plan(plan(created))
    assert "    issues unattended: no\n" in text
    assert "Templates that issue unattended: none\n" in text
    assert plan(created).to_document()["unattended"] == []


def test_a_grave_change_tells_what_it_touches_and_how_to_agree() -> None:
    assert render_plan(plan(ROLLOVER, UNCHANGED), diff=True) == (
        "⟳ authority/issuing  rollover: key: ec-p256 → ml-dsa-65\n"
        "      - key.type: ec\n"
        "      + key.type: ml-dsa\n"
        "      - key.curve: p256\n"
        "      + key.parameter_set: 65\n"
        "    affects: 1 live certificate, 2 templates, 1 subordinate authority\n"
        "    needs consent: --allow rollover\n"
        "\n"
        "Plan: 1 to roll over; 1 unchanged.\n"
    )


def test_fields_are_listed_on_request_only() -> None:
    assert "key.curve" not in render_plan(plan(ROLLOVER))


def test_nothing_to_do_is_said() -> None:
    assert render_plan(plan(UNCHANGED)) == "Nothing to do: all 1 objects are as declared.\n"


def test_colour_is_asked_for() -> None:
    assert "\x1b[" not in render_plan(plan(ROLLOVER))
    assert "\x1b[35m⟳ authority/issuing" in render_plan(plan(ROLLOVER), colour=True)


def test_refusals_waits_and_findings_are_shown_although_nothing_changes() -> None:
    stuck = Change(
        "authority/a", Action.UNCHANGED, "", waiting="a certificate", refused="it cannot be", at="pki.yaml:7:5"
    )
    found = Finding("authority/a", Severity.WARNING, "take care", "pki.yaml:1:2")
    text = render_plan(plan(stuck, findings=(found, Finding("", Severity.INFO, "by the way"))))
    assert (
        "= authority/a  unchanged\n    waits for a certificate\n    cannot be done: it cannot be  (pki.yaml:7:5)\n"
        in text
    )
    assert "  ! authority/a: take care  (pki.yaml:1:2)\n  i by the way\n" in text
    assert "Plan: 1 waiting, 1 impossible; 1 unchanged." in text


def test_json_has_the_published_shape() -> None:
    saved = json.loads(plan(ROLLOVER, findings=(Finding("settings", Severity.INFO, "x"),)).to_json())
    assert {"format_version", "generated_at", "digest", "changes", "findings"} <= set(saved)
    (change,) = saved["changes"]
    assert {"address", "action", "reason", "before", "after", "affects"} <= set(change)
    assert change["action"] == "rollover"
    assert change["affects"] == {"live_certificates": 1, "templates": 2, "authorities": 1, "accounts": 0}
    assert saved["format_version"] == 1
    assert Plan.from_json(json.dumps(saved)) == plan(ROLLOVER, findings=(Finding("settings", Severity.INFO, "x"),))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ((), 0),
        ((UNCHANGED,), 0),
        ((ROLLOVER, UNCHANGED), 2),
        ((Change("authority/a", Action.UNCHANGED, "", waiting="x"),), 3),
        ((Change("authority/a", Action.CREATE, "", waiting="x", deferred=True),), 3),
        ((Change("authority/a", Action.CREATE, "", waiting="x"),), 2),
        ((Change("authority/a", Action.UNCHANGED, "", refused="x"), ROLLOVER), 4),
    ],
)
def test_exit_codes(changes: tuple[Change, ...], code: int) -> None:
    assert plan(*changes).exit_code == code


def test_consent_is_asked_by_action() -> None:
    retire = Change("authority/b", Action.RETIRE, "state: absent")
    both = plan(ROLLOVER, retire, UNCHANGED)
    assert [c.address for c in both.without_consent(())] == ["authority/issuing", "authority/b"]
    assert [c.address for c in both.without_consent([Action.ROLLOVER])] == ["authority/b"]
    assert both.without_consent([Action.ROLLOVER, Action.RETIRE]) == ()
