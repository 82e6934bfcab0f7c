"""A clock that is moved under running programs: they read the machine's time, and an offset from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.serving.running import ROOT, Installation

# Python imports a module of this name before anything else.
_SITE = """
import mmap, os, time

_file = os.open(os.environ["TEST_CLOCK"], os.O_RDONLY)
_offset = mmap.mmap(_file, 8, prot=mmap.PROT_READ)
_true = time.time_ns


def _nanoseconds():
    return _true() + int.from_bytes(_offset[:8], "little", signed=True)


time.time_ns = _nanoseconds
time.time = lambda: _nanoseconds() / 1e9
"""


@dataclass(frozen=True)
class MovedClock:
    file: Path

    @classmethod
    def of(cls, installation: Installation) -> tuple[MovedClock, Installation]:
        """A clock that is right, and the installation for programs that go by it."""
        folder = installation.folder / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SITE)
        clock = cls(folder / "offset")
        clock.set(0)
        settings = {"PYTHONPATH": f"{folder}:{ROOT}", "TEST_CLOCK": str(clock.file)}
        return clock, Installation(installation.folder, {**installation.settings, **settings})

    def set(self, seconds: int) -> None:
        """Off by so many, behind when negative."""
        file = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, (seconds * 10**9).to_bytes(8, "little", signed=True), 0)
        finally:
            os.close(file)
