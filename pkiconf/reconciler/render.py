"""A plan as text: like a diff, with a reason for each change and what it touches. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from pkiconf.reconciler.fields import field_changes, flatten, show
from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.state import NEEDS_CONSENT, SIGNS, Action, Change, Severity, kind_of

_RESET: Final = "\x1b[0m"
_COLOURS: Final = {
    Action.CREATE: "\x1b[32m",
    Action.UPDATE: "\x1b[33m",
    Action.RENEW: "\x1b[36m",
    Action.ROLLOVER: "\x1b[35m",
    Action.REPLACE: "\x1b[31m",
    Action.RETIRE: "\x1b[31m",
    Action.UNCHANGED: "\x1b[2m",
}
_WORDS: Final = {
    Action.CREATE: "to create",
    Action.UPDATE: "to update",
    Action.RENEW: "to renew",
    Action.ROLLOVER: "to roll over",
    Action.REPLACE: "to replace",
    Action.RETIRE: "to retire",
}


def render_plan(plan: Plan, colour: bool = False, diff: bool = False) -> str:
    """Ends in a newline. With `diff` changed objects list each field before and after, line by line; unchanged
    objects are counted and not listed. New objects always list every value, the defaults among them."""
    return "\n".join([*_lines(plan, colour, diff), ""])


def _lines(plan: Plan, colour: bool, diff: bool) -> Iterator[str]:
    for change in plan.changes:
        if change.pending or change.waiting or change.refused:
            yield from _change(change, colour, diff)
            yield ""
    if plan.findings:
        yield "Findings:"
        for finding in plan.findings:
            mark = "!" if finding.severity is Severity.WARNING else "i"
            place = f"  ({finding.at})" if finding.at else ""
            about = f"{finding.address}: " if finding.address else ""
            yield f"  {mark} {about}{finding.message}{place}"
        yield ""
    if any(kind_of(change.address) in ("template", "acme-policy") for change in plan.pending):
        yield f"Templates that issue unattended: {', '.join(plan.unattended) or 'none'}"
    yield _summary(plan)


def _change(change: Change, colour: bool, diff: bool) -> Iterator[str]:
    head = f"{SIGNS[change.action]} {change.address}  {change.action.value}"
    if change.reason:
        head += f": {change.reason}"
    yield _paint(head, change.action, colour)
    if change.action is Action.CREATE:
        for path, value in flatten(change.after or {}):
            if path not in ("name", "authority"):
                yield f"      {path}: {show(value)}"
    elif diff and change.before is not None and change.after is not None:
        yield from _field_lines(change)
    touched = _touched(change)
    if touched and change.action is not Action.UNCHANGED:
        yield f"    affects: {touched}"
    if kind_of(change.address) == "template" and change.after is not None:
        yield f"    issues unattended: {', '.join(change.unattended) or 'no'}"
    if change.action in NEEDS_CONSENT:
        yield f"    needs consent: --allow {change.action.value}"
    if change.waiting:
        yield f"    waits for {change.waiting}"
    if change.refused:
        place = f"  ({change.at})" if change.at else ""
        yield _paint(f"    cannot be done: {change.refused}{place}", Action.RETIRE, colour)


def _field_lines(change: Change) -> Iterator[str]:
    for field in field_changes(change.before or {}, change.after or {}):
        if field.before is not None:
            yield f"      - {field.path}: {show(field.before)}"
        if field.after is not None:
            yield f"      + {field.path}: {show(field.after)}"


def _touched(change: Change) -> str:
    affects, below = change.affects, "subordinate " if kind_of(change.address) == "authority" else ""
    counted = (
        (affects.live_certificates, "live certificate"),
        (affects.templates, "template"),
        (affects.authorities, f"{below}authority"),
        (affects.accounts, "account"),
    )
    return ", ".join(f"{number} {_plural(noun, number)}" for number, noun in counted if number)


def _plural(noun: str, number: int) -> str:
    if number == 1:
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def _paint(text: str, action: Action, colour: bool) -> str:
    return f"{_COLOURS[action]}{text}{_RESET}" if colour else text


def _summary(plan: Plan) -> str:
    counts = Counter(change.action for change in plan.changes)
    unchanged = counts.pop(Action.UNCHANGED, 0)
    parts = [f"{number} {_WORDS[action]}" for action, number in counts.items()]
    waiting = sum(1 for change in plan.changes if change.waiting)
    if waiting:
        parts.append(f"{waiting} waiting")
    if plan.refused:
        parts.append(f"{len(plan.refused)} impossible")
    if not parts:
        return f"Nothing to do: all {unchanged} objects are as declared."
    return f"Plan: {', '.join(parts)}; {unchanged} unchanged."
