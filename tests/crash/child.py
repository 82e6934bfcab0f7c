"""Command lines run in processes of their own, which a test may have killed; and finished in this one.

A process of its own is forked off one that has imported the program but opened nothing; or, for `fresh` ones, started
as `python -m pkiconf`, which takes a second.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from cryptography import x509

from pkiconf.steps import KILL_VARIABLE
from tests.crash.acme_client import WORD, perform
from tests.processes import ended, start

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """`code` is minus the signal's number for a process that was killed."""

    code: int
    output: str


def command_line(arguments: list[str], environment: dict[str, str], output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    os.chdir(output.parent)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(perform(arguments))


@dataclass(frozen=True)
class Place:
    """An installation of one test: a folder, the state folder in it, and a database there or on a server."""

    folder: Path
    url: str | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def arguments(self, *words: str) -> list[str]:
        """A command line. In its words `{folder}` is this place's folder, `{serial 2}` the serial number of the
        certificate that was handed out for request 2."""
        return ["--state", str(self.state), *(self._word(word) for word in words)]

    def _word(self, word: str) -> str:
        word = re.sub(r"\{serial (\d+)\}", lambda found: f"{self.leaf(int(found[1])).serial_number:x}", word)
        return word.replace("{folder}", str(self.folder))

    def leaf(self, number: int) -> x509.Certificate:
        """The certificate that was handed out for a request."""
        return x509.load_pem_x509_certificate((self.folder / f"{number}.pem").read_bytes())

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PKICONF_")}
        if self.url is not None:
            kept["PKICONF_DATABASE_URL"] = self.url
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **more}

    def run(self, *words: str, kill_at: str | None = None, fresh: bool = False) -> Ended:
        """Run a command line to its end; where the first word is a file, that program instead of `-m pkiconf`."""
        program, rest = (words[0], words[1:]) if words[0].endswith(".py") else (None, words)
        if words[0] == WORD and fresh:
            program = str(Path(__file__).with_name("acme_client.py"))
        if program is None and not fresh:
            (code,) = ended([self.begin(*rest, kill_at=kill_at)])
            return Ended(code, (self.folder / "output.txt").read_text())
        more = {KILL_VARIABLE: kill_at} if kill_at else {}
        command = [sys.executable, *([program] if program else ["-m", "pkiconf"]), *self.arguments(*rest)]
        done = subprocess.run(
            command, env=self.environment(**more), cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout)

    def begin(self, *words: str, output: str = "output.txt", kill_at: str | None = None) -> ForkServerProcess:
        """A command line that runs while the test goes on; what it prints goes to a file of the folder."""
        more = {KILL_VARIABLE: kill_at} if kill_at else {}
        return start(command_line, self.arguments(*words), self.environment(**more), self.folder / output)

    def killed(self, *words: str, at: str, fresh: bool = False) -> None:
        """Run it; it must have killed itself there."""
        done = self.run(*words, kill_at=at, fresh=fresh)
        assert done.code == -signal.SIGKILL, f"ended with {done.code}: {done.output}"

    def here(self, *words: str, codes: tuple[int, ...] = (0,)) -> None:
        """The same command line in this process, which spares the second that starting one takes."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("PKICONF_")]:
                patch.delenv(name)
            if self.url is not None:
                patch.setenv("PKICONF_DATABASE_URL", self.url)
            code = perform(self.arguments(*words))
        assert code in codes, f"{' '.join(words)} ended with {code}"
