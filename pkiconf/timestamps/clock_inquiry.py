"""Asking the declared time servers now, for people."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.errors import NotFound
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.policy.time_source import bound, describe
from pkiconf.timestamps.clock_watch import AskServers


@dataclass(frozen=True, slots=True)
class ClockReport:
    """`bound`, in microseconds: what most servers say that the clock is off at most, None when too few say anything;
    `limit` is what is tolerated."""

    said: tuple[str, ...]
    bound: int | None
    limit: int

    @property
    def agree(self) -> bool:
        return self.bound is not None and self.bound <= self.limit


@dataclass(frozen=True, slots=True)
class ClockInquiry:
    parts: Parts
    ask_servers: AskServers

    def ask(self) -> ClockReport:
        """All of them, even when fewer would do. Raises NotFound when none are declared."""
        declared = self.parts.db.read(load_settings).clock
        if not declared.ntp:
            raise NotFound("no time servers are declared", "List some in settings.clock.ntp")
        answers = self.ask_servers(declared.ntp, -1)  # which no answer satisfies
        return ClockReport(
            tuple(map(describe, answers)), bound(answers, len(declared.ntp)), declared.tolerance.microseconds
        )
