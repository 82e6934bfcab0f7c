"""Installations in folders of their own, and programs of ours really running on them."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.services import Services
from pkiconf.spec.loader import load_files
from tests.ports import free_port
from tests.world import OPERATOR, make_csr

ROOT = Path(__file__).parents[2]
DECLARATION = """
settings: {base_url: "http://127.0.0.1:1"}
authorities:
  - {name: root, key: {type: ec, curve: p256}}
  - {name: issuing, issuer: root, key: {type: ec, curve: p256}}
"""


def eventually(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@dataclass
class Running:
    """One process tree. Everything it prints is collected; every process of it carries `mark` in its environment."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """The first match in what was printed."""

        def seen() -> re.Match[str] | None:
            return re.search(pattern, self.text, re.MULTILINE)

        deadline = time.monotonic() + seconds
        while (found := seen()) is None:
            assert time.monotonic() < deadline, f"{pattern!r} was not printed:\n{self.text}"
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            time.sleep(0.05)
        return found[0]

    def processes(self, words: str = "") -> list[int]:
        """The living processes of this tree whose command line contains `words`."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() not in (entry / "environ").read_bytes():
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            except OSError:
                continue
            if alive and words in command:
                found.append(int(entry.name))
        return sorted(found)

    def end(self, number: signal.Signals, seconds: float = 40) -> int:
        """Signal the top of the tree; its exit status. Fails unless the whole tree is gone then."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        eventually(lambda: not self.processes(), 10)
        self._reader.join(10)
        return code

    def destroy(self) -> None:
        """The end of a test, however it went."""
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _listen_to_interrupts() -> None:
    """What is started in the background of a script inherits that SIGINT is ignored, and would keep ignoring it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Installation:
    """`settings` are PKICONF_* variables that its programs get."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environment(self, mark: str = "") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PKICONF_", "PROMETHEUS_"))}
        return {**kept, "TEST_MARK": mark, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.settings}

    def run(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "pkiconf", "--state", str(self.state), *map(str, words)],
            cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @contextmanager
    def running(self, *words: str | Path, program: tuple[str, ...] = ()) -> Iterator[Running]:
        mark = uuid.uuid4().hex
        command = program or (sys.executable, "-m", "pkiconf", "--state", str(self.state))
        process = subprocess.Popen(
            [*command, *map(str, words)],
            cwd=self.folder, env=self.environment(mark), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            preexec_fn=_listen_to_interrupts,
        )  # fmt: skip
        tree = Running(process, mark)
        try:
            yield tree
        finally:
            tree.destroy()

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Server]:
        port = free_port()
        with self.running("serve", "--bind", f"127.0.0.1:{port}", *flags) as tree:
            server = Server(port, tree)
            eventually(lambda: tree.process.poll() is not None or server.answers())
            assert tree.process.poll() is None, tree.text
            yield server

    def issue(self, name: str = "web.corp.example") -> x509.Certificate:
        """A certificate, left with its chain in `<name>.pem`, from a request in `<name>.csr`."""
        request = self.folder / f"{name}.csr"
        request.write_bytes(make_csr(name, (name,)))
        out = self.folder / f"{name}.pem"
        submitted = self.run("request", "submit", "--template", "issuing/web-server", request)
        number = re.search(r"\d+", submitted.stdout)
        assert number is not None, submitted.stdout
        self.run("request", "sign", number[0], "--out", out)
        return x509.load_pem_x509_certificate(out.read_bytes())

    def export(self, name: str) -> Path:
        """An authority's certificate, PEM."""
        path = self.folder / f"{name}-ca.pem"
        self.run("authority", "export", name, "--out", path)
        return path


@dataclass(frozen=True)
class Server:
    port: int
    tree: Running

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            return self.get("/healthz", timeout=5)[0] in (200, 404)
        except OSError:
            return False
        except http.client.HTTPException:
            return False

    def get(self, target: str, timeout: float = 20, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body, over a connection of its own."""
        return self.request("GET", target, timeout=timeout, headers=headers)

    def request(
        self, method: str, target: str, body: bytes | None = None, timeout: float = 20,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it read everything
                connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, octets: bytes, timeout: float = 20) -> bytes:
        """Whatever comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer


def apply_here(services: Services, declaration: Path, environment: Mapping[str, str] | None = None) -> None:
    """What `pkiconf apply` does, in this process: each command is another one, which takes a second to start."""
    document = load_files([declaration], environment=environment)
    recap = apply_plan(services, load_plan(services, document, now=services.parts.now()), document, (), OPERATOR)
    assert recap.exit_code == 0, str(recap)


def copy_of(prepared: Path, folder: Path) -> Installation:
    installation = Installation(folder)
    shutil.copytree(prepared, installation.state)
    return installation
