"""Whether servers of time agree with this machine's clock: what most of those that were declared can vouch for."""

from __future__ import annotations

from collections.abc import Sequence

from pkiconf.model.time_source import TimeAnswer, TimeSample


def majority(servers: int) -> int:
    return servers // 2 + 1


def bound(answers: Sequence[TimeAnswer], servers: int) -> int | None:
    """Microseconds that the clock is off at most, by the word of most of the declared servers; None when fewer than
    that have said anything. One that lies or is silent counts against us, and alone it changes nothing."""
    found = sorted(answer.furthest for answer in answers if isinstance(answer, TimeSample))
    needed = majority(servers)
    return found[needed - 1] if len(found) >= needed else None


def describe(answer: TimeAnswer) -> str:
    """In one line, for people."""
    if isinstance(answer, TimeSample):
        return f"{answer.server}: {answer.offset / 1e6:+.3f} s ± {answer.error / 1e6:.3f} s"
    return f"{answer.server}: {answer.why}"
