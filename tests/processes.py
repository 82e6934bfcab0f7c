"""Processes of a test's own, forked off one that has imported the program but opened nothing.

Starting Python takes a second, a fork a few milliseconds; what is killed, and how, is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pkiconf.bootstrap", "pkiconf.worker", "pkiconf.cli.app", "pkiconf.cli.authority", "pkiconf.cli.backup",
     "pkiconf.cli.cert", "pkiconf.cli.reconcile", "pkiconf.cli.request", "pkiconf.cli.serving",
     "pkiconf.reconciler.apply", "pkiconf.reconciler.observe", "pkiconf.spec.loader", "psycopg",
     "cryptography.x509.ocsp"]
)  # fmt: skip


def start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """`target` is a function of a module; its arguments can be pickled."""
    process = _FORKS.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def ended(processes: Iterable[ForkServerProcess], seconds: float = 120) -> list[int]:
    """Their exit codes, minus the signal's number for one that was killed."""
    codes = []
    for process in processes:
        process.join(seconds)
        assert process.exitcode is not None, "a process did not end"
        codes.append(process.exitcode)
    return codes


@contextmanager
def running(target: Callable[..., None], *arguments: object, count: int = 1) -> Iterator[list[ForkServerProcess]]:
    """Processes that are killed at the end of the block, if not before."""
    processes = [start(target, *arguments, number) for number in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        ended(processes)


class Log:
    """A file that several processes add lines to; a killed one leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def say(self, *words: object) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())

    def lines(self) -> list[list[str]]:
        if not self.path.exists():
            return []
        text = self.path.read_text()
        return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Until so many lines stand there."""
        deadline = time.monotonic() + seconds
        while len(self.lines()) < count:
            assert time.monotonic() < deadline, f"{len(self.lines())} of {count} lines after {seconds} seconds"
            time.sleep(0.02)
