"""Validations side by side: what is due starts at once in a thread of its own, and waits for nothing else.

One thread calls `start_due`, `wait_for_all` and `stop`; whoever ends an attempt may wake it with `ring`, and says with
`tell` which authorization it was about.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Final

from pkiconf.acme.validation import Task, Validations
from pkiconf.errors import PkiconfError

SIZE: Final = 16
"""How many attempts run at once: mostly they wait for the network, or for the disk together."""

SHARE: Final = 4
"""How many of them may be one account's: servers that never answer keep only those waiting who named them."""

_SOONEST: Final = 0.05  # seconds

log = logging.getLogger(__name__)


class ValidationPool:
    def __init__(
        self,
        validations: Validations,
        holder: str,
        ring: Callable[[], None],
        size: int = SIZE,
        share: int = SHARE,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._validations = validations
        self._holder = holder
        self._ring = ring
        self._tell = tell
        self._size = size
        self._share = share
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._threads = 0
        self._running: dict[int, Task] = {}
        self._changed = Condition()
        self._wants_more = False
        self._stopped = False

    def start_due(self) -> int:
        """Claim what is due, as far as there are places, and begin; how many. Raises Unavailable."""
        started = 0
        while free := self._free():
            found = self._validations.claim(self._holder, free, self._crowded())
            tasks = self._take(found)
            started += len(tasks)
            with self._changed:
                # Where all places were taken there may be more: then the first one that gets free is told of.
                self._wants_more = len(found) == free or bool(self._crowded())
            for task in tasks:
                self._tasks.put(task)
            self._add_threads()
            if len(found) < free:
                break
        return started

    def _crowded(self) -> list[str]:
        """Accounts, as jobs name them, that have all the places that are theirs. Called by `start_due`'s thread."""
        with self._changed:
            counts = Counter(task.job.payload for task in self._running.values())
        return [account for account, count in counts.items() if count >= self._share]

    def _take(self, found: list[Task]) -> list[Task]:
        """Let those run that keep to their account's share; the others are given back, and claimed when it has room."""
        taken: list[Task] = []
        left: list[Task] = []
        with self._changed:
            counts = Counter(task.job.payload for task in self._running.values())
            for task in found:
                counts[task.job.payload] += 1
                (taken if counts[task.job.payload] <= self._share else left).append(task)
            self._running.update((task.job.id, task) for task in taken)
        for task in left:
            self._validations.give_back(task)
        return taken

    def seconds_to_next(self, now: int, most: float) -> float:
        """How long there will be nothing to start. Raises Unavailable."""
        if not self._free():
            return most
        due_at = self._validations.next_due(self._crowded())
        return most if due_at is None else min(most, max(_SOONEST, due_at - now))

    def wait_for_all(self, seconds: float | None = None) -> bool:
        """True once nothing runs, False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def stop(self, seconds: float) -> None:
        """Let attempts end for so long; what has not ended is given back, so that nobody has to wait for its claim."""
        with self._changed:
            self._stopped = True
        self.wait_for_all(seconds)
        with self._changed:
            left = list(self._running.values())
        for task in left:
            self._validations.give_back(task)

    def _free(self) -> int:
        with self._changed:
            return self._size - len(self._running)

    def _add_threads(self) -> None:
        with self._changed:
            missing = len(self._running) - self._threads
            self._threads += max(missing, 0)
        for _ in range(missing):
            # A daemon: one that hangs in a stranger's server must not keep the process from ending.
            Thread(target=self._work, name="validation", daemon=True).start()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                self._validations.attempt(task)
            except Exception as ex:
                if not self._stopped:
                    log.warning(
                        "the validation job %s: %s", task.job.dedupe, ex, exc_info=not isinstance(ex, PkiconfError)
                    )
            self._end(task)

    def _end(self, task: Task) -> None:
        self._tell(task.job.dedupe)
        with self._changed:
            self._running.pop(task.job.id, None)
            ring = self._wants_more
            self._changed.notify_all()
        if ring:
            self._ring()
