"""One process tree: children that are started, watched, restarted with back-off, and ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lifeline import VARIABLE

GRACE: Final = 20.0
"""Seconds a child gets to end by itself before it is killed."""

TOO_OFTEN: Final = 5
WINDOW: Final = 60.0
"""A child that dies this often within so many seconds will not get better by being started again."""


@dataclass
class Child:
    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)
    start_at: float = 0.0


class Supervisor:
    """`say` reports what happens to children, in one line each."""

    def __init__(self, children: Sequence[Child], environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._children = children
        self._environment = environment
        self._say = say
        self._stopping = False
        self._read_end, self._write_end = os.pipe()
        os.set_inheritable(self._read_end, True)

    def run(self, tick: Callable[[], None] = lambda: None) -> int:
        """Until SIGINT, SIGTERM or a child that cannot be kept alive. The exit status: 0, or 1 for the latter.

        `tick` is called again and again, so it must not wait.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        for child in self._children:
            self._start(child)
        failed = False
        try:
            while not self._stopping and not failed:
                failed = self._look_after()
                tick()
                time.sleep(0.1)
        finally:
            self._end()
        return 1 if failed else 0

    def _start(self, child: Child) -> None:
        environment = {**self._environment, VARIABLE: str(self._read_end)}
        command = [sys.executable, "-m", "pkiconf", *child.arguments]
        # A group of its own, so that Ctrl-C reaches the children only through this process, in order.
        child.process = subprocess.Popen(
            command, env=environment, pass_fds=(self._read_end,), stdin=subprocess.DEVNULL, start_new_session=True
        )

    def _look_after(self) -> bool:
        """Start again what has died; True when one dies too often."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                code, child.process = child.process.returncode, None
                if code == ExitCode.USAGE:
                    self._say(f"{child.name} cannot run with these options; giving up")
                    return True
                child.deaths = [*(at for at in child.deaths if now - at < WINDOW), now]
                if len(child.deaths) >= TOO_OFTEN:
                    self._say(f"{child.name} died {TOO_OFTEN} times within {WINDOW:.0f} seconds; giving up")
                    return True
                pause = 0.5 * 2 ** (len(child.deaths) - 1)
                child.start_at = now + pause
                self._say(f"{child.name} ended with status {code}; starting it again in {pause:g} seconds")
            if child.process is None and now >= child.start_at:
                self._start(child)
        return False

    def _end(self) -> None:
        for child in self._children:
            self._signal(child, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{child.name} did not end within {GRACE:.0f} seconds; killing it")
                self._signal(child, signal.SIGKILL)
                child.process.wait()
        os.close(self._write_end)
        os.close(self._read_end)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        if child.process is not None and child.process.poll() is None:
            child.process.send_signal(number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _reload(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP: the server takes up new settings without dropping a request."""
        for child in self._children:
            if child.name.startswith("server"):
                self._signal(child, signal.SIGHUP)
