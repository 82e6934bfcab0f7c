"""One request, sent again and again by wrk (Debian) to a server on loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import tree_cpu
from benchmarks.reference import beside
from pkiconf.cli.listening import wait_for_listener

# Threads of wrk have variables of their own: those that count are read from them in the end.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{content_type}"
local f = io.open("{request}", "rb"); wrk.body = f:read("*a"); f:close()
local threads = {{}}
bad = 0
function setup(thread) table.insert(threads, thread) end
function response(status, headers, body) if status ~= 200 or #body < {smallest} then bad = bad + 1 end end
function done(summary, latency, requests)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("bad") end
  io.write(string.format("p50 %.2f ms p99 %.2f ms errors %d\\n",
    latency:percentile(50)/1000, latency:percentile(99)/1000,
    wrong + summary.errors.read + summary.errors.timeout))
end
"""


SECONDS = 8


@dataclass(frozen=True)
class Load:
    """`cpu` is milliseconds of the server for each of the `answers`; `raw` those of a P-256 signature meanwhile; `said`
    the latencies, and how many answers were none."""

    rate: float
    cpu: float
    raw: float
    said: str
    answers: int

    def __str__(self) -> str:
        return f"{self.rate:9,.0f}/s   {self.cpu:7.3f} ms CPU each"


def is_here() -> bool:
    """Whether there is a wrk; says so where there is none."""
    found = shutil.which("wrk") is not None
    if not found:
        print("    wrk is not installed (Debian: wrk): the figure over HTTP was not taken")
    return found


@contextmanager
def serving(state: Path, bind: str, *flags: str) -> Iterator[int]:
    """The server's process, with two workers."""
    command = [sys.executable, "-m", "pkiconf", "serve", "--bind", bind, "--workers", "2", *flags]
    server = subprocess.Popen(command, env={**os.environ, "PKICONF_STATE": str(state)})
    try:
        assert wait_for_listener(bind)
        time.sleep(2)
        yield server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def load(url: str, content_type: str, request: bytes, server: int, *, connections: int, smallest: int) -> Load:
    """SECONDS of it. An answer of fewer octets than `smallest` is an error."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "request", Path(folder) / "post.lua"
        body.write_bytes(request)
        script.write_text(_SCRIPT.format(content_type=content_type, request=body, smallest=smallest))
        before = tree_cpu(server)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script), url]
        with beside() as reference:
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu = tree_cpu(server) - before
    total = int(_found(r"(\d+) requests in", output))
    rate, each = float(_found(r"Requests/sec:\s+([\d.]+)", output)), cpu / total * 1000
    said = f"{each / reference.cpu:.1f} raw P-256 signatures of {reference.cpu:.3f} ms; {_found(r'(p50 .*)', output)}"
    return Load(rate, each, reference.cpu, said, total)


def _found(pattern: str, text: str) -> str:
    matched: Any = re.search(pattern, text)
    return str(matched[1])
