"""Timestamps alone and over HTTP on two workers, recorded and only counted; wrk (Debian) makes the load."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from benchmarks import wrk
from benchmarks.measure import SERVER, run, show
from benchmarks.prepared import prepared
from pkiconf.der.timestamp import encode_timestamp_request
from pkiconf.services import Services

_BIND = "127.0.0.1:18081"
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
                if not wrk.is_here():
                    continue
                _over_http(services.parts.state, request, f"{key}, {said}", _TARGETS[key, record])


def _answer(services: Services, request: bytes, _: int) -> None:
    failure = services.timestamps.answer("tsa", request)[1]
    assert failure is None


def _over_http(state: Path, request: bytes, what: str, target: str) -> None:
    # Those who wait for the disk wait together: more threads, more tokens in each commit.
    with wrk.serving(state, _BIND, "--threads", "16") as server:
        url = f"http://{_BIND}/tsa/tsa"
        seen = wrk.load(url, "application/timestamp-query", request, server, connections=32, smallest=500)
    show(f"timestamps over HTTP, 2 workers, {os.environ.get(SERVER, 'gunicorn')}, {what}", seen, target, seen.said)
