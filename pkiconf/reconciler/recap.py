"""What became of a plan: one result a change, and one line for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pkiconf.reconciler.state import Action


class Status(StrEnum):
    OK = "ok"
    CHANGED = "changed"
    FAILED = "failed"
    REFUSED = "refused"  # policy, state, or consent that was not given
    WAITING = "waiting"  # nothing could be done yet
    SKIPPED = "skipped"  # what it needs failed


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one change. `waits_for` is set also when the change was made and something is still to come."""

    address: str
    action: Action
    status: Status
    message: str = ""
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class Recap:
    results: tuple[Result, ...]

    def count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results)

    @property
    def waiting(self) -> int:
        return sum(bool(result.waits_for) for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        return {
            "ok": self.count(Status.OK),
            "changed": self.count(Status.CHANGED),
            "failed": self.count(Status.FAILED),
            "waiting": self.waiting,
            "refused": self.count(Status.REFUSED),
            "skipped": self.count(Status.SKIPPED),
        }

    @property
    def exit_code(self) -> int:
        """0 done, 1 something failed, 4 something was refused, 3 something waits; the first that holds."""
        if self.count(Status.FAILED):
            return 1
        if self.count(Status.REFUSED):
            return 4
        return 3 if self.waiting else 0

    def __str__(self) -> str:
        shown = self.counts
        always = ("ok", "changed", "failed", "waiting")
        return " ".join(f"{name}={count}" for name, count in shown.items() if count or name in always)
