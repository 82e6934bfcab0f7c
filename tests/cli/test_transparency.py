"""Certificate transparency from the command line: what is said while logs do not promise, and what is shown after."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest

from tests.cli.conftest import CommandLine
from tests.ct_log import Log, serving, trusted_file

_DECLARED = """
authorities:
  - {{ name: root, key: {{ curve: p256 }} }}
templates:
  - {{ name: web, authority: root, ct: {{ logs: [{log}], required_scts: 1, on_failure: {on_failure} }} }}
"""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted_file()))
    with serving(Log()) as (made,):
        yield made


def declare(pki: CommandLine, log: Log, on_failure: str) -> None:
    path = pki.folder / "ct.yaml"
    path.write_text(_DECLARED.format(log=log.declared, on_failure=on_failure))
    pki.ok("apply", path)


@pytest.mark.row("F85")
def test_a_request_waits_for_logs_and_its_certificate_shows_their_timestamps(pki: CommandLine, log: Log) -> None:
    declare(pki, log, "pending")
    pki.ok("request", "submit", "--template", "root/web", pki.csr())
    log.fault = "403"
    said = pki.refuses(3, "request", "sign", "1")
    assert said.startswith("Request 1 is approved; 0 of 1 certificate transparency logs promised to include it")
    assert f"{log.url}: it answered 403" in said
    assert pki.ok("cert", "list", "--status", "reserved", "--json").json
    log.fault = ""
    out = pki.folder / "1.pem"
    serial = re.search(r"serial ([0-9A-F]+)", pki.ok("request", "sign", "1", "--out", out).out)
    assert serial is not None
    (shown,) = pki.ok("cert", "show", serial[1], "--json").json["timestamps"]
    assert shown.startswith(base64.b64encode(log.id).decode() + " ")
    assert "timestamps" in pki.ok("cert", "show", serial[1]).out


def test_a_request_that_no_log_promises_for_is_refused_in_words(pki: CommandLine, log: Log) -> None:
    declare(pki, log, "refuse")
    pki.ok("request", "submit", "--template", "root/web", pki.csr())
    log.fault = "403"
    said = pki.refuses(4, "request", "sign", "1")
    assert said.startswith("refused: request 1: 0 of 1 certificate transparency logs promised to include it")
    assert pki.ok("request", "show", "1", "--json").json["state"] == "rejected"


def test_a_certificate_without_timestamps_shows_none(pki: CommandLine) -> None:
    assert pki.ok("cert", "show", pki.issue(), "--json").json["timestamps"] == []


def test_a_key_that_cannot_be_a_logs_is_said_in_the_plan(pki: CommandLine, log: Log) -> None:
    path = pki.folder / "ct.yaml"
    key = base64.b64encode(log.spki).decode()
    path.write_text(_DECLARED.format(log=log.declared, on_failure="refuse").replace(key, key[:-8]))
    found = pki("plan", path)
    assert found.code == 4
    assert f"ct.logs: {log.url}: " in found.out + found.err
