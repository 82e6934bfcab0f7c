"""One process tree: what dies is started again or given up, and it ends as a whole, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiconf.cli import supervisor
from pkiconf.cli.supervisor import Child, Supervisor
from tests.ports import free_port
from tests.serving.running import Installation, Server, eventually


def test_a_killed_child_is_started_again(installation: Installation) -> None:
    operations = free_port()
    with installation.serving("--workers", "1", "--operations-bind", f"127.0.0.1:{operations}") as server:
        eventually(Server(operations, server.tree).answers)
        before = server.tree.processes("--only operations")
        arbiter = min(before, key=_age)
        os.kill(arbiter, signal.SIGKILL)
        server.tree.wait_for(r"server \(operations\) ended with status -9; starting it again in 0.5 seconds")
        eventually(lambda: not set(before) & set(server.tree.processes()))
        eventually(Server(operations, server.tree).answers)
        assert server.answers()
        assert server.tree.end(signal.SIGTERM) == 0


def _age(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_as_a_whole(installation: Installation, number: signal.Signals) -> None:
    with installation.serving("--operations-bind", f"127.0.0.1:{free_port()}") as server:
        assert len(server.tree.processes()) >= 4
        assert server.tree.end(number) == 0
        assert "Traceback" not in server.tree.text


def test_children_end_when_the_supervisor_is_killed(installation: Installation) -> None:
    with installation.serving("--operations-bind", f"127.0.0.1:{free_port()}") as server:
        server.tree.process.kill()
        server.tree.process.wait(10)
        eventually(lambda: not server.tree.processes(), 30)


def test_a_worker_ends_when_its_supervisor_is_gone(installation: Installation) -> None:
    """The lifeline by itself: the other end of the pipe closes."""
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    installation.settings["PKICONF_LIFELINE"] = str(read_end)
    script = f"import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'pkiconf', '--state', {str(installation.state)!r}, 'worker'])"  # noqa: E501
    child = subprocess.Popen([sys.executable, "-c", script], env=installation.environment(), pass_fds=(read_end,))
    os.close(read_end)
    try:
        eventually(lambda: (installation.state / "worker.sock").exists())
        assert child.poll() is None
        os.close(write_end)
        assert child.wait(20) == 0
    finally:
        child.kill()


_ENDED = """
import os, signal, sys
from pkiconf import wake
from pkiconf.cli.app import main

moments = sys.argv[2:]

class Alarm(wake.Alarm):
    def __init__(self, state):
        super().__init__(state)
        self._end("begun")

    def wait(self, seconds):
        self._end("waits")
        return super().wait(seconds)

    def close(self):
        super().close()
        self._end("closed")

    def _end(self, moment):
        if moment in moments:
            os.kill(os.getpid(), signal.SIGTERM)

wake.Alarm = Alarm
sys.exit(main(["--state", sys.argv[1], "worker"]))
"""


@pytest.mark.parametrize("moments", [["begun"], ["waits"], ["waits", "closed"]])
def test_a_worker_that_can_be_seen_can_be_ended(installation: Installation, moments: list[str]) -> None:
    """Twice too: systemd tells every process, and the supervisor its children."""
    command = [sys.executable, "-c", _ENDED, str(installation.state), *moments]
    done = subprocess.run(command, env=installation.environment(), timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def signals() -> Iterator[None]:
    """A supervisor in this process takes over its signals."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_what_dies_too_often_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None) -> None:
    monkeypatch.setattr(supervisor, "TOO_OFTEN", 3)
    said: list[str] = []
    dying = Child("the dying one", ("--state", str(tmp_path / "none"), "worker"))
    begun = time.monotonic()
    assert Supervisor([dying], dict(os.environ), said.append).run() == 1
    assert said == [
        "the dying one ended with status 1; starting it again in 0.5 seconds",
        "the dying one ended with status 1; starting it again in 1 seconds",
        "the dying one died 3 times within 60 seconds; giving up",
    ]
    assert time.monotonic() - begun > 1.5


def test_a_child_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.5)
    package = tmp_path / "pkiconf"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('ready', 'w')\ntime.sleep(60)\n"
    )
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    def tick() -> None:
        if (tmp_path / "ready").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    child = Child("the deaf one", ())
    code = Supervisor([child], {**os.environ, "PYTHONPATH": str(tmp_path)}, said.append).run(tick)
    assert (code, said) == (0, ["the deaf one did not end within 0 seconds; killing it"])
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL
