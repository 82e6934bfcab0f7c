"""Group commit: what many threads want to write becomes durable together.

A durable commit waits for the disk, and while one waits the others gather. The first thread to arrive leads:
it takes everyone who waits into one transaction, and then hands the lead to the first of those who came
meanwhile. Nobody leads more than one group, so nobody works for others for ever; nobody waits longer than the
time-out for a group, nor longer than a multiple of it for the end of the group that took it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from pkiconf.errors import Unavailable

W = TypeVar("W")

_LARGEST_GROUP: Final = 64
_PATIENCE: Final = 4  # time-outs that a taken entry waits for its group's end


class _Phase(Enum):
    WAITING = auto()
    LEADING = auto()
    TAKEN = auto()
    DONE = auto()


class Entry(Generic[W]):
    """What one thread wants written and, in the end, either its `result` or its `error`."""

    __slots__ = ("error", "phase", "ready", "result", "work")

    def __init__(self, work: W) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.phase = _Phase.WAITING
        self.ready = Lock()
        self.ready.acquire()


class GroupCommit(Generic[W]):
    """`run` is given the entries of a group; it sets every entry's `result` or `error` before it returns, and
    may raise only what the leading thread alone must see (KeyboardInterrupt and its like)."""

    def __init__(self, run: Callable[[Sequence[Entry[W]]], None], timeout: float) -> None:
        self._run = run
        self._timeout = timeout
        self._mutex = Lock()
        self._waiting: deque[Entry[W]] = deque()
        self._led = False

    def submit(self, work: W) -> Any:  # noqa: ANN401 - whatever `run` makes of it
        """Its result, once committed; or its own exception; or Unavailable."""
        entry = Entry(work)
        try:
            self._join(entry)
            if entry.phase is _Phase.WAITING or entry.phase is _Phase.TAKEN:
                self._await(entry)
            if entry.phase is _Phase.LEADING:
                self._lead(entry)
        finally:
            self._leave(entry)
        error, entry.error = entry.error, None
        try:
            if error is not None:
                raise error
            return entry.result
        finally:
            del error  # what its frames hold, it must not be: they are those of a whole request

    def _join(self, entry: Entry[W]) -> None:
        with self._mutex:
            if self._led:
                self._waiting.append(entry)
            else:
                self._led = True
                entry.phase = _Phase.LEADING

    def _await(self, entry: Entry[W]) -> None:
        if entry.ready.acquire(timeout=self._timeout):
            return
        with self._mutex:
            if entry.phase is _Phase.WAITING:
                self._waiting.remove(entry)
                entry.phase = _Phase.DONE
                raise Unavailable(
                    f"the database is busy: this write has waited for {self._timeout:g} seconds", "Try again"
                )
        if entry.phase is _Phase.TAKEN and not entry.ready.acquire(timeout=self._timeout * _PATIENCE):
            raise Unavailable(
                f"a write has not ended within {self._timeout * _PATIENCE:g} seconds",
                "Whether it took place is not known: look before you repeat it, and look at the disk",
            )

    def _lead(self, entry: Entry[W]) -> None:
        with self._mutex:
            group = [entry]
            while self._waiting and len(group) < _LARGEST_GROUP:
                taken = self._waiting.popleft()
                taken.phase = _Phase.TAKEN
                group.append(taken)
        try:
            self._run(group)
        except BaseException:
            for unserved in group[1:]:
                unserved.error = unserved.error or _interrupted()
            raise
        finally:
            for served in group[1:]:
                served.phase = _Phase.DONE
                served.ready.release()

    def _leave(self, entry: Entry[W]) -> None:
        """Pass the lead on, or step out of the line: also when an interrupt ended the wait."""
        with self._mutex:
            if entry.phase is _Phase.WAITING and entry in self._waiting:
                self._waiting.remove(entry)
            if entry.phase is _Phase.LEADING:
                if self._waiting:
                    heir = self._waiting.popleft()
                    heir.phase = _Phase.LEADING
                    heir.ready.release()
                else:
                    self._led = False
            entry.phase = _Phase.DONE


def _interrupted() -> Unavailable:
    return Unavailable(
        "the process was interrupted during this write",
        "Whether it took place is not known: look before you repeat it",
    )
