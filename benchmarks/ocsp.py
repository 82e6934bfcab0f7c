"""OCSP alone and over HTTP on two workers; wrk (Debian) makes the load."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder

from benchmarks import wrk
from benchmarks.measure import SERVER, run, show
from benchmarks.prepared import OPERATOR, prepared
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
        if not wrk.is_here():
            return
        named = os.environ.get(SERVER)
        for server in (named,) if named else ("gunicorn", "granian"):
            _over_http(server, services.parts.state, requests)


def _answer(services: Services, request: bytes, _: int) -> object:
    return services.ocsp.answer("issuing", request, services.parts.now())


def _over_http(server_name: str, state: Path, requests: dict[str, bytes]) -> None:
    given_again = requests["given again"]
    with wrk.serving(state, _BIND, "--server", server_name) as server:
        for what, request in requests.items():
            url = f"http://{_BIND}/ocsp/issuing"
            seen = wrk.load(url, "application/ocsp-request", request, server, connections=8, smallest=200)
            target = _TARGETS[server_name, request is given_again]
            show(f"OCSP over HTTP, 2 workers, {server_name}, {what}", seen, target, seen.said)
