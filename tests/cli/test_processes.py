"""The whole thing as real processes: `up`, what it prints typed into a second terminal, edits, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import QUICKSTART, clean_environment
from tests.ports import free_port
from tests.tools import find_tool

PATIENCE = 60.0  # seconds


class Up:
    """`pkiconf up pki.yaml` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.declaration = folder / "pki.yaml"
        self.declaration.write_text(QUICKSTART.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{self.port}"))
        self.log = folder / "up.log"
        # A person's shell: pkiconf is on the path, and nothing is said about state.
        scripts = str(Path(sys.executable).parent)
        self.environment = clean_environment() | {
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["pkiconf", "up", self.declaration.name, "--bind", f"127.0.0.1:{self.port}", "--workers", "1"],
                cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, after: int = 0) -> None:
        self.wait_until(lambda: text in self.said[after:], f"{text!r} to be said")

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.said}"
            time.sleep(0.05)

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """What a second terminal does, each line typed as it stands."""
        return subprocess.run(
            ["bash", "-e", "-c", script], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=4 * PATIENCE,
        )  # fmt: skip

    def typed(self, script: str) -> str:
        done = self.shell(script)
        assert done.returncode == 0, done.stdout + done.stderr + self.said
        return done.stdout + done.stderr

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def up(folder: Path) -> Iterator[Up]:
    for tool in ("openssl", "curl", "bash"):
        find_tool(tool)
    started = Up(folder)
    try:
        started.wait_for("in this folder:\n")
        yield started
    finally:
        started.process.terminate()
        try:
            started.process.wait(30)
        except subprocess.TimeoutExpired:
            started.process.kill()


def printed_commands(text: str) -> str:
    """What stands below "in this folder:", up to the blank line after it, without its indentation."""
    lines = text.partition("in this folder:\n\n")[2].splitlines()
    return "\n".join(line.removeprefix("  ") for line in lines if line.startswith("  ") or not line.strip())


@pytest.mark.row("F3")
@pytest.mark.row("F16")
@pytest.mark.row("F94")
@pytest.mark.row("F134")
@pytest.mark.row("F139")
def test_the_printed_commands_give_what_they_promise(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        commands = printed_commands(running.said)
        assert commands.startswith("openssl req -new")
        output = running.typed(commands)
        assert "Request 1 is pending" in output
        assert "web.pem: OK" in output
        assert "is revoked (keyCompromise)" in output
        assert "web.pem: revoked" in output
        assert "Reason: keyCompromise" in output
        assert "Key Compromise" in output, "the CRL"
        assert running.interrupt() == 0
        children = subprocess.run(["pgrep", "-f", str(running.declaration)], capture_output=True, text=True)
        assert children.stdout == ""


@pytest.mark.row("F31")
def test_edits_a_rekey_and_a_backup_while_it_runs(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        good = running.declaration.read_text()
        mark = len(running.said)
        running.declaration.write_text(good.replace("validity: 90d", "validity: ninety"))
        running.wait_for("pki.yaml:", after=mark)
        assert "nothing has changed" in running.said[mark:]
        mark = len(running.said)
        running.declaration.write_text(good.replace("validity: 90d", "validity: 30d"))
        running.wait_for("watch: ok=", after=mark)
        assert "template/corp-issuing/web-server" in running.said[mark:]
        assert "validity:          30d" in running.typed("pkiconf template show web-server")

        running.typed("pkiconf keystore rekey --keep-old old.key")
        running.typed("""
            pkiconf key new --out web.key
            pkiconf csr new --key web.key --san dns:web.corp.example --out web.csr
            pkiconf request submit -t web-server web.csr --approve --out web.pem
        """)
        # The server still holds the old master key in memory; the responder's key is sealed under the new one.
        assert "status:      good" in running.typed("pkiconf ocsp query web.pem")
        serial = running.typed("openssl x509 -in web.pem -noout -serial").strip().partition("=")[2]
        running.typed(f"pkiconf cert revoke {serial} --reason superseded")
        assert "superseded" in running.typed("pkiconf ocsp query web.pem")
        assert serial in running.typed("pkiconf crl fetch corp-issuing | pkiconf crl show - --entries")

        running.typed("""
            pkiconf backup backup.tar
            mkdir -m 700 other && cp .pkiconf/master.key other/
            pkiconf --state other restore backup.tar
            pkiconf --state other audit verify
        """)
        assert serial in running.typed("pkiconf --state other cert list --status revoked")
        assert "0 errors" in running.typed("pkiconf doctor")
        running.wait_until(lambda: running.shell("pkiconf audit verify").returncode == 0, "the log to hold")
        assert running.interrupt() == 0


def test_a_pipe_that_closes_is_no_error(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{scripts}/pkiconf schema | head -1"], capture_output=True, text=True,
        cwd=tmp_path, env=clean_environment(), timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")
