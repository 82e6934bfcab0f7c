"""Whether this machine's clock can be believed, asked before each token.

With servers of time declared, most of them have to have agreed with it not long ago, and it must not have moved since
by itself: a counter that nobody can set tells (`Timepiece.steady`). Without them the clock has only its own word, and
what is noticed is that it goes back: behind that counter, or behind what was stamped already, also by an earlier run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pkiconf.clock import Timepiece
from pkiconf.errors import Unavailable, WouldWait
from pkiconf.model.time_source import TimeAnswer
from pkiconf.policy.time_source import bound, describe
from pkiconf.spec.timestamp import ClockSettings

AskServers = Callable[[Sequence[str], int], list[TimeAnswer]]
"""What servers say, at least until most of them agree within so many microseconds."""

_SECOND: Final = 1_000_000
_READ_EVERY: Final = 5 * _SECOND
"""How often the declaration is read anew."""

_ASK_AGAIN: Final = _SECOND
"""After an answer that does not suffice the servers are left alone for so long."""

log = logging.getLogger(__name__)


class ClockUnsure(Unavailable):
    """The time is not known well enough to vouch for it."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """`moment` in microseconds since 1970, the steady counter at that moment, and by how much a time may be ahead of
    the clock: what the clock's own error has left of what is allowed."""

    moment: int
    steady: int
    leeway: int
    timepiece: Timepiece

    def check(self, moment: int) -> None:
        """Raises ClockUnsure for one that is ahead of now, which is behind the vouched moment by what passed since."""
        ahead = moment - self.moment - (self.timepiece.steady() - self.steady)
        if ahead > self.leeway:
            raise ClockUnsure(
                f"times are ordered, and one was given that is {ahead / _SECOND:.3f} s ahead of the clock",
                "Wait for so long, or stamp with another authority",
            )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """`bound`: microseconds that the clock was off at most, None when too few answered; `asked_at` and `drift` (the
    clock minus the steady counter) are of that moment."""

    servers: tuple[str, ...]
    bound: int | None
    said: str
    asked_at: int
    drift: int


class ClockWatch:
    """`read` gives what is declared, `stamped` the latest time that any token says, in microseconds since 1970."""

    def __init__(
        self, timepiece: Timepiece, read: Callable[[], ClockSettings], stamped: Callable[[], int], ask: AskServers
    ) -> None:
        self._timepiece = timepiece
        self._read = read
        self._stamped = stamped
        self._ask = ask
        self._settings: tuple[int, ClockSettings] | None = None
        self._verdict: _Verdict | None = None
        self._asking = threading.Lock()
        self._looking = threading.Lock()
        self._drift: int | None = None
        self._latest = 0
        self._complained: str = ""

    def moment(self, error: int | None, *, wait: bool = True) -> Vouched:
        """Now, off by `error` microseconds at most (None: by the declared tolerance). Raises ClockUnsure; without
        `wait`, WouldWait where servers or records may have to be asked."""
        settings = self._current_settings()
        if not wait and (settings.ntp or self._drift is None):
            raise WouldWait
        limit = min(settings.tolerance.microseconds, error or settings.tolerance.microseconds)
        try:
            moment = self._with_servers(settings, limit) if settings.ntp else self._alone(limit)
        except ClockUnsure as ex:
            self._complain(str(ex))
            raise
        self._complained = ""
        return moment

    def _current_settings(self) -> ClockSettings:
        now, known = self._timepiece.steady(), self._settings
        if known is None or not known[0] <= now < known[0] + _READ_EVERY:
            known = self._settings = (now, self._read())
        return known[1]

    def _with_servers(self, settings: ClockSettings, limit: int) -> Vouched:
        every = settings.every.seconds * _SECOND
        verdict = self._verdict
        steady = self._timepiece.steady()
        age = steady - verdict.asked_at if verdict is not None and verdict.servers == settings.ntp else None
        if verdict is None or age is None:
            verdict = self._ask_anew(verdict, settings, limit)
        elif not self._holds(verdict, limit):
            # It may have been good when it was given, and the clock was moved since: then asking helps at once.
            moved = verdict.bound is not None and verdict.bound <= limit
            verdict = self._ask_anew(verdict, settings, limit) if moved or age >= _ASK_AGAIN else verdict
        elif age >= 2 * every:
            verdict = self._ask_anew(verdict, settings, limit)
        elif age >= every and self._asking.acquire(blocking=False):
            # One asks, and the others go on meanwhile by what is known.
            try:
                verdict = self._verdict = self._asked(settings, limit)
            finally:
                self._asking.release()
        off = self._off(verdict)
        if off is None or off > limit:
            raise ClockUnsure(
                f"most of the time servers do not agree with this clock within {limit / _SECOND:g} s ({verdict.said})",
                "Set the clock, or look at settings.clock",
            )
        # The servers know better what is late and what is early than anything that was seen before.
        wall, steady = self._timepiece.wall(), self._timepiece.steady()
        self._drift, self._latest = wall - steady, wall
        return Vouched(wall, steady, limit - off, self._timepiece)

    def _ask_anew(self, seen: _Verdict | None, settings: ClockSettings, limit: int) -> _Verdict:
        with self._asking:
            if self._verdict is seen or self._verdict is None:  # else somebody asked while we waited
                self._verdict = self._asked(settings, limit)
            return self._verdict

    def _asked(self, settings: ClockSettings, limit: int) -> _Verdict:
        answers = self._ask(settings.ntp, limit)
        steady = self._timepiece.steady()
        return _Verdict(
            settings.ntp,
            bound(answers, len(settings.ntp)),
            "; ".join(map(describe, answers)),
            steady,
            self._timepiece.wall() - steady,
        )

    def _holds(self, verdict: _Verdict, limit: int) -> bool:
        off = self._off(verdict)
        return off is not None and off <= limit

    def _off(self, verdict: _Verdict) -> int | None:
        """Whatever the clock moved by itself since then is added to what it may be off."""
        if verdict.bound is None:
            return None
        return verdict.bound + abs(self._timepiece.wall() - self._timepiece.steady() - verdict.drift)

    def _alone(self, limit: int) -> Vouched:
        with self._looking:
            wall, steady = self._timepiece.wall(), self._timepiece.steady()
            if self._drift is None:
                self._latest = max(self._latest, self._stamped())
                self._drift = wall - steady
            back = max(self._drift - (wall - steady), self._latest - wall)
            if back > limit:
                raise ClockUnsure(
                    f"the clock has gone back by {back / _SECOND:.3f} s",
                    "Set it right; servers in settings.clock.ntp can tell that it is right now",
                )
            self._drift, self._latest = wall - steady, max(self._latest, wall)
        return Vouched(wall, steady, limit, self._timepiece)

    def _complain(self, what: str) -> None:
        """Once for each reason: clients ask thousands of times a second."""
        kind = what.partition("(")[0].rstrip("0123456789. s")
        if kind != self._complained:
            self._complained = kind
            log.error("no timestamps: %s", what)
