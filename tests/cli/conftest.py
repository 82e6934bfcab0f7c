"""The command line as a person uses it: words in, an exit status and two streams out."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pkiconf.cli.app import main
from tests.world import make_csr

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.yaml"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Commands run in this process, over the state folder `state`; `folder` is for files."""

    state: Path
    folder: Path

    def __call__(self, *words: str | Path, stdin: bytes = b"") -> Result:
        """Run one command line, whatever it says."""
        return run("--state", str(self.state), *map(str, words), stdin=stdin)

    def ok(self, *words: str | Path, stdin: bytes = b"") -> Result:
        result = self(*words, stdin=stdin)
        assert result.code == 0, result.err
        return result

    def refuses(self, code: int, *words: str | Path, stdin: bytes = b"") -> str:
        """What the command says when it ends with `code`; it prints nothing to standard output."""
        result = self(*words, stdin=stdin)
        assert result.code == code, (result.out, result.err)
        assert result.out == ""
        assert "Traceback" not in result.err
        return result.err

    def csr(self, name: str = "web.corp.example", *more: str) -> Path:
        """A file with a request for these DNS names, made by a stranger's library."""
        path = self.folder / f"{name}.csr"
        path.write_bytes(make_csr(name, (name, *more)))
        return path

    def submit(self, name: str = "web.corp.example") -> str:
        """The number of a new request."""
        said = self.ok("request", "submit", "-t", "corp-issuing/web-server", self.csr(name)).out
        return said.split()[1]

    def issue(self, name: str = "web.corp.example") -> str:
        """The serial of a new certificate; leaf and chain lie in `<name>.pem`."""
        out = self.folder / f"{name}.pem"
        words = ("request", "submit", "-t", "web-server", self.csr(name), "--approve", "--out", out)
        return self.ok(*words).out.split("serial ")[1].split(",")[0]

    def process(self, *words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The same as a real process."""
        return subprocess.run(
            [sys.executable, "-m", "pkiconf", "--state", self.state, *words],
            input=stdin, capture_output=True, timeout=120, cwd=self.folder, env=clean_environment(),
        )  # fmt: skip


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PKICONF_")}


def run(*words: str, stdin: bytes = b"") -> Result:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin), "utf-8"), out, err
    try:
        code = main(list(words))
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    out.flush()
    err.flush()
    raw = out.buffer.getvalue()
    text = err.buffer.getvalue().decode()
    return Result(int(code), raw.decode(errors="replace"), text, raw)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PKICONF_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder to which the quickstart was applied, for tests to copy."""
    state = tmp_path_factory.mktemp("applied") / "state"
    result = run("--state", str(state), "apply", str(QUICKSTART), "--yes")
    assert result.code == 0, result.err
    return state


@pytest.fixture
def bare(tmp_path: Path) -> CommandLine:
    """No state yet."""
    return CommandLine(tmp_path / "state", tmp_path)


@pytest.fixture
def pki(applied: Path, tmp_path: Path) -> CommandLine:
    """The quickstart, a copy of this test's own."""
    shutil.copytree(applied, tmp_path / "state")
    return CommandLine(tmp_path / "state", tmp_path)
