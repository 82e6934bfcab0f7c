"""OCSP alone and over HTTP on two workers; wrk (Debian) makes the load."""

from __future__ import annotations

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

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder

from benchmarks.measure import run, show
from benchmarks.prepared import OPERATOR, prepared
from benchmarks.processes import tree_cpu
from pkiconf.cli.listening import wait_for_listener
from pkiconf.model.request import Issued, Overrides
from pkiconf.services import Services
from tests.world import make_csr

_TARGETS = {
    ("gunicorn", False): "≥ 4,000/s",
    ("gunicorn", True): "≥ 8,000/s",
    ("granian", False): "≥ 8,000/s, ≤ 0.18 ms",
    ("granian", True): "≥ 20,000/s, ≤ 0.06 ms",
}
_BIND = "127.0.0.1:18080"
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/ocsp-request"
local f = io.open("{request}", "rb"); wrk.body = f:read("*a"); f:close()
local bad = 0
function response(status, headers, body) if status ~= 200 or #body < 200 then bad = bad + 1 end end
function done(summary, latency, requests)
  io.write(string.format("p50 %.2f ms p99 %.2f ms errors %d\\n",
    latency:percentile(50)/1000, latency:percentile(99)/1000,
    summary.errors.status + summary.errors.read + summary.errors.timeout))
end
"""


def ocsp() -> None:
    with prepared() as services:
        number = services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
        issued = services.requests.sign(number, Overrides(), OPERATOR)
        assert isinstance(issued, Issued)
        leaf, issuer = (x509.load_der_x509_certificate(der) for der in (issued.der, issued.chain[0]))
        asked = OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
        with_nonce = asked.add_extension(x509.OCSPNonce(bytes(16)), critical=False)
        requests = {
            "signed on the spot (nonce)": with_nonce.build().public_bytes(Encoding.DER),
            "given again": asked.build().public_bytes(Encoding.DER),
        }
        for what, request in requests.items():
            alone = run(partial(_answer, services, request), 2000)
            show(f"OCSP alone, {what}", alone, "")
        if shutil.which("wrk") is None:
            print("    wrk is not installed (Debian: wrk): the figure over HTTP was not taken")
            return
        for server in ("gunicorn", "granian"):
            _over_http(server, services.parts.state, requests)


def _answer(services: Services, request: bytes, _: int) -> object:
    return services.ocsp.answer("issuing", request, services.parts.now())


def _over_http(server_name: str, state: Path, requests: dict[str, bytes]) -> None:
    environment = {**os.environ, "PKICONF_STATE": str(state)}
    command = [
        sys.executable,
        "-m",
        "pkiconf",
        "serve",
        "--bind",
        _BIND,
        "--workers",
        "2",
        "--status-server",
        server_name,
    ]
    server = subprocess.Popen(command, env=environment)
    try:
        assert wait_for_listener(_BIND)
        time.sleep(2)
        given_again = requests["given again"]
        for what, request in requests.items():
            _load(f"{server_name}, {what}", request, server.pid, _TARGETS[server_name, request is given_again])
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def _load(what: str, request: bytes, server: int, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "request.der").write_bytes(request)
        script = Path(folder) / "post.lua"
        script.write_text(_SCRIPT.format(request=Path(folder) / "request.der"))
        before = tree_cpu(server)
        command = ["wrk", "-t1", "-c8", "-d8s", "-s", str(script), f"http://{_BIND}/ocsp/issuing"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu = tree_cpu(server) - before
    total = int(_found(r"(\d+) requests in", output))
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", output))
    figure = f"{rate:9,.0f}/s   {cpu / total * 1000:7.3f} ms CPU each"
    show(f"OCSP over HTTP, 2 workers, {what}", figure, target, _found(r"(p50 .*)", output))


def _found(pattern: str, text: str) -> str:
    matched: Any = re.search(pattern, text)
    return str(matched[1])
