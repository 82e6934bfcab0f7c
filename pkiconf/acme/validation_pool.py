"""Validations side by side: what is due starts at once in a thread of its own, and waits for nothing else.

One thread calls `start_due`, `wait_for_all` and `stop`; whoever ends an attempt may wake it with `ring`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Final

from pkiconf.acme.validation import Task, Validations
from pkiconf.errors import PkiconfError

SIZE: Final = 16
"""How many attempts run at once: mostly they wait for the network, or for the disk together."""

_SOONEST: Final = 0.05  # seconds

log = logging.getLogger(__name__)


class ValidationPool:
    def __init__(self, validations: Validations, holder: str, ring: Callable[[], None], size: int = SIZE) -> None:
        self._validations = validations
        self._holder = holder
        self._ring = ring
        self._size = size
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
            tasks = self._validations.claim(self._holder, free)
            started += len(tasks)
            with self._changed:
                self._running.update((task.job.id, task) for task in tasks)
                # Where all places were taken there may be more: then the first one that gets free is told of.
                self._wants_more = len(tasks) == free
            for task in tasks:
                self._tasks.put(task)
            self._add_threads()
            if len(tasks) < free:
                break
        return started

    def seconds_to_next(self, now: int, most: float) -> float:
        """How long there will be nothing to start. Raises Unavailable."""
        if not self._free():
            return most
        due_at = self._validations.next_due()
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
        with self._changed:
            self._running.pop(task.job.id, None)
            ring = self._wants_more
            self._changed.notify_all()
        if ring:
            self._ring()
