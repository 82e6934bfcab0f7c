"""nginx and Apache, really running, with the configurations that `docs/scale.md` shows; and a clock that is set for
them alone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving.running import ROOT, Installation, Running, eventually
from tests.sessions import blocks
from tests.tools import accepted, find_tool, run_tool

_NGINX = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{environment}
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{site}
}}
"""
_APACHE = """
ServerName localhost
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/httpd.pid
Mutex file:{folder} default
ErrorLog {folder}/error.log
LogLevel info
Listen 127.0.0.1:{port}
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
StartServers 1
{site}
"""
MODULES = "/usr/lib/apache2/modules"


def shown(language: str, title: str) -> str:
    """A configuration of the page."""
    page = (ROOT / "docs" / "scale.md").read_text()
    return next(block.body for block in blocks(page) if (block.language, block.title) == (language, title))


def with_these(configuration: str, here: Mapping[str, str]) -> str:
    """What a page shows, with the ports and files of this test. Each of them has to stand there."""
    for there, mine in here.items():
        assert there in configuration, f"the page shows no {there!r}"
        configuration = configuration.replace(there, mine)
    return configuration


@dataclass(frozen=True)
class WebServer:
    """`port` is on 127.0.0.1."""

    tree: Running
    port: int
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "error.log").read_text(errors="replace")


@dataclass
class MovedClock:
    """A clock of a program's own (libfaketime): real time, and so many seconds more."""

    file: Path

    def __post_init__(self) -> None:
        self.move(0)

    def move(self, seconds: int) -> None:
        following = self.file.with_suffix(".next")
        following.write_text(f"{seconds:+d}")
        following.rename(self.file)

    def environment(self) -> dict[str, str]:
        find_tool("faketime")
        printed = accepted(run_tool("faketime", "-f", "+0", "printenv", "LD_PRELOAD"))
        # Timers go on by the machine's own clock: only what time it is differs.
        return {
            "LD_PRELOAD": printed.strip(), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip


@contextmanager
def nginx(folder: Path, port: int, site: str, clock: MovedClock | None = None) -> Iterator[WebServer]:
    user = "user root;" if os.geteuid() == 0 else ""  # its files are below a folder that is only ours
    moved = clock.environment() if clock else {}
    kept = "\n".join(f"env {name};" for name in moved)  # its workers see no other variables
    configuration = _NGINX.format(folder=folder, site=site, user=user, environment=kept)
    (folder / "nginx.conf").write_text(configuration)
    command = (find_tool("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log"))
    with _running(folder, port, command, moved) as server:
        yield server


@contextmanager
def apache(folder: Path, port: int, site: str) -> Iterator[WebServer]:
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    (folder / "httpd.conf").write_text(_APACHE.format(folder=folder, port=port, site=site, user=user, modules=MODULES))
    command = (find_tool("apache2"), "-f", str(folder / "httpd.conf"), "-DFOREGROUND")
    with _running(folder, port, command, {}) as server:
        yield server


@contextmanager
def _running(folder: Path, port: int, command: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[WebServer]:
    with Installation(folder, dict(environment)).running(program=command) as tree:
        server = WebServer(tree, port, folder)

        def listens() -> bool:
            assert tree.process.poll() is None, tree.text + (server.log if (folder / "error.log").exists() else "")
            return connects(port)

        try:
            eventually(listens)
            yield server
        finally:
            # Ended as it wants to be: its children are not known by an environment that they overwrite.
            tree.process.send_signal(signal.SIGTERM)
            tree.process.wait(60)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
