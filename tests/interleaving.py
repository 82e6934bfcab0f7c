"""Two transactions of PostgreSQL, of which one is stopped between its look and its commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import text

from tests.world import World

T = TypeVar("T")
_WAITING = text(
    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity a USING (pid)"
    " WHERE NOT granted AND a.datname = current_database()"
)
_PATIENCE = 60.0


class Stop:
    """Where the first thread that comes by waits until it may go on."""

    def __init__(self, passed: Callable[..., Any]) -> None:
        self._passed = passed
        self._first = threading.Lock()
        self.reached, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, *given: Any) -> Any:
        found = self._passed(*given)
        if self._first.acquire(blocking=False):
            self.reached.set()
            assert self.may_go_on.wait(_PATIENCE)
        return found


def in_the_midst(
    world: World, stop: Stop, act: Callable[[], T], other: Callable[[], object]
) -> tuple[T, BaseException | None]:
    """What `act` returns, which comes by `stop`, and how `other` failed, which begins meanwhile and has to wait until
    `act` has ended."""
    with ThreadPoolExecutor(2) as threads:
        acting = threads.submit(act)
        assert stop.reached.wait(_PATIENCE)
        waiting = threads.submit(other)
        try:
            until = time.monotonic() + _PATIENCE
            while not world.parts.db.look(lambda c: c.execute(_WAITING).scalar()):
                assert not waiting.done(), "it did not wait"
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            stop.may_go_on.set()
        return acting.result(_PATIENCE), waiting.exception(_PATIENCE)
