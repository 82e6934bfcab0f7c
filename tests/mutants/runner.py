"""Guards removed one at a time, in a copy of the tree; each time at least one test must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.guards import Guard

ROOT = Path(__file__).parents[2]
COPIED = ("pkiconf", "hsm_node", "tests", "examples", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
LONGEST = 600
"""Seconds for the tests of one guard: without it, something may wait for ever."""


class Verdict(StrEnum):
    NOTICED = "noticed"
    MISSED = "NOT NOTICED"
    BROKEN = "BROKEN"  # the tests could not even be collected, so nothing was learned


@dataclass(frozen=True)
class Outcome:
    guard: Guard
    verdict: Verdict
    seconds: float
    output: str


class Stale(Exception):
    """A guard's text does not stand once in its file."""


def without(guard: Guard, source: str) -> str:
    """The source with the guard taken out. Raises Stale."""
    found = source.count(guard.text)
    if found != 1:
        raise Stale(f"{guard.file}: the text of {guard.name!r} stands there {found} times")
    return source.replace(guard.text, guard.without)


class Tree:
    """A copy in which guards are taken out, run, and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, folder / name)

    @contextmanager
    def removed(self, guard: Guard) -> Iterator[None]:
        path = self.folder / guard.file
        source = path.read_text()
        self._write(path, without(guard, source))
        try:
            yield
        finally:
            self._write(path, source)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own. Exit code 0: all passed; 1: some failed; another: they could not be run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PKICONF_"))}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb", "line"]
        return subprocess.run(
            [*command, *arguments], cwd=self.folder, env={**kept, "PYTHONPATH": str(self.folder)},
            capture_output=True, text=True, timeout=LONGEST,
        )  # fmt: skip

    def judge(self, guard: Guard) -> Outcome:
        began = time.monotonic()
        with self.removed(guard):
            try:
                done = self.pytest(*selection([guard]))
                code, output = done.returncode, done.stdout + done.stderr
            except subprocess.TimeoutExpired:
                code, output = 1, "the tests did not end"
        verdict = {0: Verdict.MISSED, 1: Verdict.NOTICED}.get(code, Verdict.BROKEN)
        return Outcome(guard, verdict, time.monotonic() - began, output)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        # Compiled code is recognised by its source's time and size, and both may be what they were.
        now = time.time_ns() + hash(source) % 1_000_000_000
        os.utime(path, ns=(now, now))


def selection(guards: Iterable[Guard]) -> Sequence[str]:
    """What pytest is to run: each file once, on SQLite, which is enough to see a guard missing."""
    chosen = dict.fromkeys(test for guard in guards for test in guard.tests)
    return [*chosen, "-k", "not postgresql"]
