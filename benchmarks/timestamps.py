"""Timestamps alone and over HTTP on two workers, recorded and only counted; wrk (Debian) makes the load."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import raw_signing, run, show
from benchmarks.prepared import prepared
from benchmarks.processes import tree_cpu
from pkiconf.cli.listening import wait_for_listener
from pkiconf.der.timestamp import encode_timestamp_request
from pkiconf.services import Services

_BIND = "127.0.0.1:18081"
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/timestamp-query"
local f = io.open("{request}", "rb"); wrk.body = f:read("*a"); f:close()
local bad = 0
function response(status, headers, body) if status ~= 200 or #body < 500 then bad = bad + 1 end end
function done(summary, latency, requests)
  io.write(string.format("p50 %.2f ms p99 %.2f ms errors %d\\n",
    latency:percentile(50)/1000, latency:percentile(99)/1000,
    summary.errors.status + summary.errors.read + summary.errors.timeout))
end
"""
_AUTHORITIES = """
authorities:
  - {{ name: root, default_templates: [] }}
  - name: {name}
    issuer: root
    default_templates: []
    service_certificates: {{ key: {{ {key} }} }}
    timestamp: {{ enabled: true, accuracy: 1s, record: {record} }}
"""
_KEYS = {"P-256": "type: ec", "RSA-2048": "type: rsa, size: 2048"}
_TARGETS = {
    ("P-256", "count"): "≥ 6,000/s", ("P-256", "all"): "≥ 2,500/s",
    ("RSA-2048", "count"): "≥ 3,000/s", ("RSA-2048", "all"): "≥ 1,800/s",
}  # fmt: skip
_RECORDS = {"count": "counted", "all": "recorded"}


def timestamps() -> None:
    request = encode_timestamp_request("sha256", hashlib.sha256(b"data").digest(), os.urandom(8))
    for key, declared in _KEYS.items():
        for record, said in _RECORDS.items():
            with prepared(_AUTHORITIES.format(name="tsa", key=declared, record=record)) as services:
                if record == "count":
                    show(f"timestamps alone, {key}, {said}", run(partial(_answer, services, request), 2000), "")
                if shutil.which("wrk") is None:
                    print("    wrk is not installed (Debian: wrk): the figure over HTTP was not taken")
                    continue
                _over_http(services.parts.state, request, f"{key}, {said}", _TARGETS[key, record])


def _answer(services: Services, request: bytes, _: int) -> None:
    failure = services.timestamps.answer("tsa", request)[1]
    assert failure is None


def _over_http(state: Path, request: bytes, what: str, target: str) -> None:
    environment = {**os.environ, "PKICONF_STATE": str(state)}
    # Those who wait for the disk wait together: more threads, more tokens in each commit.
    command = [sys.executable, "-m", "pkiconf", "serve", "--bind", _BIND, "--workers", "2", "--threads", "16"]
    server = subprocess.Popen(command, env=environment)
    try:
        assert wait_for_listener(_BIND)
        time.sleep(2)
        _load(what, request, target, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def _load(what: str, request: bytes, target: str, server: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "request.tsq").write_bytes(request)
        script = Path(folder) / "post.lua"
        script.write_text(_SCRIPT.format(request=Path(folder) / "request.tsq"))
        reference = raw_signing()
        before = tree_cpu(server)
        command = ["wrk", "-t1", "-c32", "-d8s", "-s", str(script), f"http://{_BIND}/tsa/tsa"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu = tree_cpu(server) - before
    total = int(_found(r"(\d+) requests in", output))
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", output))
    each = cpu / total * 1000
    figure = f"{rate:9,.0f}/s   {each:7.3f} ms CPU each"
    beside = f"{each / reference.cpu:.1f} raw P-256 signatures; {_found(r'(p50 .*)', output)}"
    show(f"timestamps over HTTP, 2 workers, {what}", figure, target, beside)


def _found(pattern: str, text: str) -> str:
    matched: Any = re.search(pattern, text)
    return str(matched[1])
