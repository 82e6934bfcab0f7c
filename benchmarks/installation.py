"""An installation that serves and works, as it runs: two processes of the server, and the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import tree_cpu, tree_memory
from pkiconf.cli.listening import wait_for_listener

_PKICONF = (sys.executable, "-m", "pkiconf")


@dataclass(frozen=True)
class Running:
    """`processes` are the tops of its trees."""

    processes: tuple[int, ...]

    def cpu(self) -> float:
        return sum(tree_cpu(process) for process in self.processes)

    def memory(self) -> float:
        return sum(tree_memory(process) for process in self.processes)


@contextmanager
def running(declared: str, port: int, settings: Mapping[str, str]) -> Iterator[Running]:
    """A fresh one, in a folder beside this one's database disk. `settings` are variables that its programs get."""
    with tempfile.TemporaryDirectory(prefix="pkiconf-bench-", dir=Path.cwd()) as folder, ExitStack() as opened:
        declaration = Path(folder) / "pki.yaml"
        declaration.write_text(declared)
        environment = {**os.environ, "PKICONF_STATE": f"{folder}/state", **settings}
        subprocess.run(
            [*_PKICONF, "apply", declaration, "--yes"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        bind = f"127.0.0.1:{port}"
        started = [
            opened.enter_context(process(*words, environment=environment))
            for words in (("serve", "--bind", bind), ("worker",))
        ]
        assert wait_for_listener(bind, 60)
        yield Running(tuple(process.pid for process in started))


@contextmanager
def process(*words: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of pkiconf, for as long as the block lasts."""
    started = subprocess.Popen([*_PKICONF, *words], env=dict(environment))
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)
