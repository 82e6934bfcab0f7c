"""Pages that are run: the fenced blocks of a page, in a shell, compared with what the page shows.

* `sh`: typed into a second terminal as it stands; it has to end with status 0. A block that begins with `pkiconf up`
  or `make up` runs in a first terminal, and stays.
* `text` after it: what that prints, line by line. `…` stands for anything within a line, and alone for any lines.
* `text title="First terminal"`: what appears there meanwhile, in this order.
* `yaml title="FILE"`: is written to FILE.

Other languages are shown and not run. `127.0.0.1:8000` becomes a port that is free.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

PUBLISHED: Final = "127.0.0.1:8000"
ANYTHING: Final = "…"
_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^ *```$", re.M | re.S
)
_END: Final = "==the block has ended=="


class Block(NamedTuple):
    """`line` is where it begins on its page."""

    language: str
    title: str
    body: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        body = "\n".join(line[indent:] for line in found["body"].splitlines())
        yield Block(found["language"], found["title"] or "", body, text[: found.start()].count("\n") + 1)


def unlike(shown: str, printed: str) -> str:
    """Why what was printed is not what is shown; empty if it is."""
    left = printed.splitlines()
    skipping = False
    for wanted in shown.splitlines():
        if wanted.strip() == ANYTHING:
            skipping = True
            continue
        while left and skipping and not _fits(wanted, left[0]):
            left.pop(0)
        if not left or not _fits(wanted, left[0]):
            return f"expected {wanted!r}, got {left[0] if left else 'nothing more'!r} in:\n{printed}"
        left.pop(0)
        skipping = False
    if left and not skipping:
        return f"did not expect {left[0]!r} in:\n{printed}"
    return ""


def _fits(wanted: str, line: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in wanted.rstrip().split(ANYTHING))
    return re.fullmatch(pattern, line.rstrip()) is not None


@dataclass
class Session:
    """Two terminals in `folder`; `environment` is what both see. To be closed."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    up: subprocess.Popen[bytes] | None = None
    heard: int = 0

    def __post_init__(self) -> None:
        self._shell = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.folder, env=dict(self.environment), start_new_session=True,
        )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.folder / "first-terminal.log"

    def here(self, text: str) -> str:
        return text.replace(PUBLISHED, f"127.0.0.1:{self.port}")

    def start(self, command: str) -> None:
        """Run something that stays, in the first terminal, until its server answers."""
        with self.log.open("wb") as log:
            self.up = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=self.folder, env=dict(self.environment), start_new_session=True,
            )  # fmt: skip
        self.hear("pkiconf answers at …")
        self.heard = 0

    def hear(self, shown: str, seconds: float = 60.0) -> None:
        """Wait until these lines have appeared in the first terminal, after what was heard before."""
        deadline = time.monotonic() + seconds
        wanted = [line for line in self.here(shown).splitlines() if line.strip() not in ("", ANYTHING)]
        while True:
            position = self._position_after(wanted)
            if position is not None:
                self.heard = position
                return
            assert self.up is not None
            assert self.up.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{wanted} not among:\n{self.log.read_text()}"
            time.sleep(0.1)

    def _position_after(self, wanted: list[str]) -> int | None:
        lines = self.log.read_text(errors="replace").splitlines()
        position = self.heard
        for one in wanted:
            found = next((n for n in range(position, len(lines)) if _fits(one, lines[n])), None)
            if found is None:
                return None
            position = found + 1
        return position

    def run(self, script: str) -> tuple[int, str]:
        """Type a block into the second terminal; its exit status and what it printed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        command = f'{{ {self.here(script)}\n}} </dev/null\necho "\n{_END} $?"\n'
        self._shell.stdin.write(command.encode())
        self._shell.stdin.flush()
        lines: list[str] = []
        for raw in self._shell.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith(_END):
                # The newline before the mark ends a line that had no end of its own, or adds an empty one.
                return int(line.split()[-1]), "\n".join(lines[:-1] if lines and not lines[-1] else lines)
            lines.append(line)
        raise AssertionError(f"the shell has ended: {lines}")

    def close(self) -> None:
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGINT)
            try:
                self.up.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(self.up.pid, signal.SIGKILL)
                raise
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(20)
        assert self._shell.stdout is not None
        self._shell.stdout.close()


def run_page(text: str, session: Session) -> int:
    """Run every block of a page; how many were run. Fails with the block's line."""
    printed, count = "", 0
    for block in blocks(text):
        where = f"line {block.line}"
        match block.language, block.title:
            case "yaml", title if title:
                (session.folder / title).write_text(session.here(block.body) + "\n")
            case "sh", _ if re.match(r"(make|pkiconf) up\b", block.body):
                command = block.body.splitlines()[0].partition("#")[0].strip()
                session.start(command.replace("make up", "pkiconf up examples/quickstart.yaml"))
                printed = ""
            case "sh", _:
                status, printed = session.run(block.body)
                assert status == 0, f"{where}: status {status}\n{printed}"
                count += 1
            case "text", "First terminal":
                session.hear(block.body)
            case "text", "":
                problem = unlike(session.here(block.body), printed)
                assert not problem, f"{where}: {problem}"
    return count
