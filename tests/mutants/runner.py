"""Guards removed one at a time, in a copy of the tree; each time at least one test must fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.guards import Guard

ROOT = Path(__file__).parents[2]
COPIED = ("pkiconf", "hsm_node", "tests", "examples", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
ON_SQLITE = "not postgresql"
"""Enough to see that a guard is missing, and needs no server."""
LONGEST = 3600
"""Seconds for the tests of one guard; a single test that waits for ever ends by pytest's own limit."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests\/.+?)(?: - .*)?$", re.MULTILINE)


NOTICED = Path(__file__).with_name("noticed.txt")
"""Which test noticed each guard last, a line each: it is asked first, because it answers in seconds."""


def nearest_first(guard: Guard) -> list[str]:
    """The files of a guard's tests, those first whose name has most of its file's: there it is mostly noticed, and
    then the others need not be run."""
    words = set(Path(guard.file).stem.split("_"))
    found = [path for test in guard.tests for path in (ROOT / test).parent.glob(Path(test).name)]
    files = [file for path in found for file in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]
    files.sort(key=lambda file: -len(words & set(file.stem.split("_"))))
    return list(dict.fromkeys(str(file.relative_to(ROOT)) for file in files))


def read_noticed() -> dict[str, str]:
    """Guard → test."""
    lines = NOTICED.read_text().splitlines() if NOTICED.exists() else []
    return {name: test for name, _, test in (line.partition("\t") for line in lines)}


def write_noticed(noticed: Mapping[str, str]) -> None:
    NOTICED.write_text("".join(f"{name}\t{test}\n" for name, test in sorted(noticed.items())))


class Verdict(StrEnum):
    NOTICED = "noticed"
    MISSED = "NOT NOTICED"
    BROKEN = "BROKEN"  # the tests could not be run, or fail with the guard in its place: nothing was learned


@dataclass(frozen=True)
class Outcome:
    guard: Guard
    verdict: Verdict
    seconds: float
    test: str
    """The first that failed."""
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
        self._passing: set[str] = set()
        self._noticed = read_noticed()
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
        # A tree is run hundreds of times: what is compiled once need not be compiled again.
        left_out = ("PYTEST_", "PKICONF_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb", "line"]
        return subprocess.run(
            [*command, *arguments], cwd=self.folder, env={**kept, "PYTHONPATH": str(self.folder)},
            capture_output=True, text=True, timeout=LONGEST,
        )  # fmt: skip

    def judge(self, guard: Guard, *, confirmed: bool = True) -> Outcome:
        """Not `confirmed`: the caller asks `failing` about the tests of all guards together."""
        began = time.monotonic()
        with self.removed(guard):
            hint = self._noticed.get(guard.name)
            done = self.pytest("-x", hint) if hint else None
            if done is None or done.returncode != 1:  # it sees nothing any more, or is gone
                done = self.pytest("-x", *nearest_first(guard), "-k", ON_SQLITE)
        output = done.stdout + done.stderr
        failed = _FAILED.search(output)
        if done.returncode == 0:
            verdict = Verdict.MISSED
        elif done.returncode == 1 and failed and (not confirmed or self._passes(failed[1])):
            verdict = Verdict.NOTICED
        else:
            verdict = Verdict.BROKEN
        return Outcome(guard, verdict, time.monotonic() - began, failed[1] if failed else "", output)

    def failing(self, tests: Collection[str]) -> set[str]:
        """Those that fail although every guard is there; all of them when they cannot be run."""
        done = self.pytest(*sorted(tests))
        return set(_FAILED.findall(done.stdout)) if done.returncode in (0, 1) else set(tests)

    def _passes(self, test: str) -> bool:
        """A failing test tells something only if it passes while the guard is there."""
        if test not in self._passing and self.pytest(test).returncode == 0:
            self._passing.add(test)
        return test in self._passing

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        # Compiled code is recognised by its source's time and size, and both may be what they were.
        now = time.time_ns() + hash(source) % 1_000_000_000
        os.utime(path, ns=(now, now))
