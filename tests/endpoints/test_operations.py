"""What operators look at: the access log, /metrics, /healthz and /readyz."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from pkiconf.endpoints import metrics
from pkiconf.endpoints.app import create_operations_app
from pkiconf.endpoints.metrics import COUNTS_KEPT, MetricsResource, observe_answer
from pkiconf.model.revocation import RevocationReason
from pkiconf.settings import ProcessSettings
from pkiconf.worker import Worker
from tests.endpoints.client import Client, client_of
from tests.revocation.pki import DECLARATION, question, serial_of
from tests.world import OPERATOR


def line(client: Client, capsys: pytest.CaptureFixture[str], method: str, target: str, **headers: str) -> str:
    capsys.readouterr()
    client.request(method, target, headers=headers)
    out = capsys.readouterr().out
    assert out.count("\n") == 1, out
    return out.rstrip("\n")


# --- access log -----------------------------------------------------------------------------------------------------


def test_no_log_unless_asked_for(lite: Client, capsys: pytest.CaptureFixture[str]) -> None:
    lite.get("/healthz")
    assert capsys.readouterr().out == ""


def test_text(lite: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client = client_of(lite.pki, access_log="text")
    assert re.fullmatch(r'192\.0\.2\.7 GET "/healthz" 200 \d+\.\d ms', line(client, capsys, "GET", "/healthz?token=x"))
    assert re.fullmatch(r'192\.0\.2\.7 GET "/nothing" 404 \d+\.\d ms', line(client, capsys, "GET", "/nothing"))
    assert re.match(r'192\.0\.2\.7 POST "/ocsp/nobody" 200', line(client, capsys, "POST", "/ocsp/nobody"))


def test_json(lite: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client = client_of(lite.pki, access_log="json", trusted_proxies=("192.0.2.0/24",))
    told = json.loads(line(client, capsys, "GET", "/healthz?token=x", x_forwarded_for="203.0.113.9"))
    assert {name: told[name] for name in ("client", "method", "path", "status", "octets")} == {
        "client": "203.0.113.9", "method": "GET", "path": "/healthz", "status": 200, "octets": 3,
    }  # fmt: skip
    assert told["milliseconds"] >= 0


def test_lines_cannot_be_forged(lite: Client, capsys: pytest.CaptureFixture[str]) -> None:
    forged = '/x%0a10.0.0.1%20GET%20"/admin"%20200%200.1%20ms%0d%0a%1b[2J%e2%80%a8%22'
    for form in ("text", "json"):
        client = client_of(lite.pki, access_log=form, trusted_proxies=("192.0.2.0/24",))
        for headers in ({}, {"x_forwarded_for": '6.6.6.6" 200\n7.7.7.7 GET'}, {"x_forwarded_for": "fe80::1%\nforged"}):
            text = line(client, capsys, "GET", forged, **headers)
            assert text.isascii()
            assert text.isprintable()
            assert "10.0.0.1 GET" in text or "forged" not in text
            assert text.startswith(("192.0.2.7 ", "fe80::1 ", '{"client": "192.0.2.7"', '{"client": "fe80::1"'))


def test_lines_are_short(lite: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client = client_of(lite.pki, access_log="json")
    assert len(line(client, capsys, "GET", "/" + "x" * 8000)) < 2000


def test_a_log_that_cannot_be_written_is_no_reason_not_to_answer(lite: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> int:
            raise OSError("disk full")

        def flush(self) -> None: ...

    client = client_of(lite.pki, access_log="text")
    monkeypatch.setattr(sys, "stdout", Full())
    assert client.get("/healthz").status == 200


# --- metrics --------------------------------------------------------------------------------------------------------


def metric(text: str, name: str, **labels: str) -> float:
    for found in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE):
        if dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
            return float(found[2])
    return 0.0


def test_requests_are_counted_by_protocol(lite: Client) -> None:
    labels = {"protocol": "ocsp", "method": "POST", "status": "200"}
    before = metric(lite.get("/metrics").text, "pkiconf_requests_total", **labels)
    for _ in range(3):
        lite.post("/ocsp/issuing", question(lite.pki.issuer(), 5))
    text = lite.get("/metrics").text
    assert metric(text, "pkiconf_requests_total", **labels) == before + 3
    assert metric(text, "pkiconf_request_seconds_count", protocol="ocsp") >= 3


def test_clients_cannot_make_labels(lite: Client) -> None:
    for number in range(20):
        lite.get(f"/nothing-{number}")
        lite.request(f"METHOD{number}", "/healthz")
        lite.request("OPTIONS", "/healthz")
    text = lite.get("/metrics").text
    assert "nothing-" not in text
    assert "METHOD" not in text
    assert metric(text, "pkiconf_requests_total", protocol="none", method="GET", status="404") >= 20


def test_what_the_database_says(client: Client) -> None:
    issued = client.pki.issue()
    client.get("/crl/issuing/1.crl")
    client.pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    text = client.get("/metrics").text
    where = {"authority": "issuing", "generation": "1"}
    assert metric(text, "pkiconf_certificates", **where, status="revoked") == 1
    assert metric(text, "pkiconf_crl_epochs_behind", **where) == 1
    assert metric(text, "pkiconf_crl_seconds_left", **where) == 7 * 86400
    assert metric(text, "pkiconf_authority_seconds_left", **where) > 9 * 365 * 86400
    assert metric(text, "pkiconf_jobs_overdue") >= 1
    assert metric(text, "pkiconf_database_up") == 1
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_freshness_is_that_of_the_worst_crl(lite: Client) -> None:
    """Here a delta's: it ends first."""
    deltas = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {delta: 6h},")
    assert lite.pki.world.apply(deltas).exit_code == 0
    Worker(lite.pki.world.services).run_once()
    left = metric(lite.get("/metrics").text, "pkiconf_crl_seconds_left", authority="issuing", generation="1")
    assert left == 6 * 3600


def oldest_answer(client: Client) -> float:
    return metric(client.get("/metrics").text, "pkiconf_ocsp_oldest_answer_seconds")


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answers that other tests were given."""
    monkeypatch.setattr(metrics, "_oldest", metrics._Oldest())
    metrics._OLDEST_SINCE.set(0)


@pytest.mark.usefixtures("forgotten")
def test_the_oldest_answer_that_was_given_of_late(lite: Client) -> None:
    assert oldest_answer(lite) == 0
    now = lite.pki.world.clock.now()
    observe_answer(now - timedelta(seconds=900), now)
    observe_answer(now - timedelta(seconds=30), now)
    assert oldest_answer(lite) == 900
    lite.pki.world.pass_time(timedelta(seconds=61))
    now = lite.pki.world.clock.now()
    observe_answer(now - timedelta(seconds=5), now)
    assert oldest_answer(lite) == 900, "a minute ago is of late"
    lite.pki.world.pass_time(timedelta(seconds=61))
    now = lite.pki.world.clock.now()
    observe_answer(now - timedelta(seconds=7), now)
    assert oldest_answer(lite) == 7
    observe_answer(now - timedelta(seconds=70), now)
    assert oldest_answer(lite) == 70


@pytest.mark.usefixtures("forgotten")
def test_an_old_answer_is_forgotten_though_no_other_is_given(lite: Client) -> None:
    now = lite.pki.world.clock.now()
    observe_answer(now - timedelta(seconds=900), now)
    lite.pki.world.pass_time(timedelta(seconds=119))
    assert oldest_answer(lite) == 900
    lite.pki.world.pass_time(timedelta(seconds=1))
    assert oldest_answer(lite) == 0


@pytest.mark.usefixtures("forgotten")
def test_answers_over_http_are_looked_at(lite: Client) -> None:
    """One from memory is as old as it was signed ago."""
    issuer, serial = lite.pki.issuer(), serial_of(lite.pki.issue())
    lite.post("/ocsp/issuing", question(issuer, serial))
    assert oldest_answer(lite) == 0
    lite.pki.world.pass_time(timedelta(seconds=40))
    lite.post("/ocsp/issuing", question(issuer, serial))
    assert oldest_answer(lite) == 40


_PROCESS = """
import sys
from datetime import datetime, timedelta
from pkiconf.endpoints.metrics import observe_answer
now = datetime.fromisoformat(sys.argv[1])
observe_answer(now - timedelta(seconds=float(sys.argv[2])), now)
"""


def test_a_process_that_gives_no_more_answers_does_not_hide_the_others(lite: Client, tmp_path: Path) -> None:
    world = lite.pki.world
    idle, busy = world.clock.now(), world.clock.now() + timedelta(seconds=100)
    for at, age in ((idle, 900), (busy, 20), (busy, 40)):
        words = [sys.executable, "-c", _PROCESS, at.isoformat(), str(age)]
        subprocess.run(words, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, check=True, timeout=300)
    registry = CollectorRegistry()
    files = multiprocess.MultiProcessCollector(None, str(tmp_path))  # type: ignore[no-untyped-call]
    registry.register(metrics._Recent([files], world.parts.now))

    def oldest() -> float:
        text = generate_latest(registry).decode()
        assert "answer_since" not in text
        return metric(text, "pkiconf_ocsp_oldest_answer_seconds")

    world.pass_time(timedelta(seconds=110))
    assert oldest() == 900
    world.pass_time(timedelta(seconds=20))
    assert oldest() == 40
    world.pass_time(timedelta(seconds=120))
    assert oldest() == 0


def test_the_oldest_answer_that_stands_ready(client: Client) -> None:
    world, where = client.pki.world, {"authority": "issuing", "generation": "1"}
    ahead = DECLARATION.replace("{name: issuing,", "{name: issuing, ocsp: {presign: [sha1]},")
    assert world.apply(ahead).exit_code == 0
    client.pki.issue()
    assert "pkiconf_ocsp_oldest_presigned_seconds{" not in client.get("/metrics").text
    Worker(world.services).run_once()
    world.pass_time(timedelta(hours=3))
    assert metric(client.get("/metrics").text, "pkiconf_ocsp_oldest_presigned_seconds", **where) == 3 * 3600
    world.pass_time(timedelta(hours=20))
    assert metric(client.get("/metrics").text, "pkiconf_ocsp_oldest_presigned_seconds", **where) == 23 * 3600
    Worker(world.services).run_once()
    assert metric(client.get("/metrics").text, "pkiconf_ocsp_oldest_presigned_seconds", **where) == 0


def test_certificates_are_counted_once_a_minute(client: Client) -> None:
    """However often and by however many it is scraped: counting goes through all of them."""
    seconds = [1000.0]
    resource = MetricsResource(client.pki.world.services, lambda: seconds[0])

    def good() -> float:
        text = generate_latest(resource.registry).decode()
        return metric(text, "pkiconf_certificates", authority="issuing", generation="1", status="good")

    before = good()
    client.pki.issue()
    seconds[0] += COUNTS_KEPT - 1
    assert good() == before
    seconds[0] += 1
    assert good() == before + 1


def test_counts_of_an_authority_that_was_destroyed_since_are_left_out(lite: Client) -> None:
    world = lite.pki.world
    lite.pki.issue("other")
    assert 'authority="other"' in lite.get("/metrics").text
    generation = world.services.lookup.get("other").row.generation
    world.services.authorities.retire("other", generation, OPERATOR)
    world.services.destruction.destroy("other", OPERATOR)
    text = lite.get("/metrics").text
    assert metric(text, "pkiconf_database_up") == 1
    assert 'authority="other"' not in text


# --- health, and where it is ----------------------------------------------------------------------------------------


def test_health_and_readiness(client: Client) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready: 3 authorities\n"
    for target in ("/healthz", "/readyz", "/metrics"):
        assert client.get(target).headers["cache-control"] == "no-store"


def test_operations_on_their_own_listener(lite: Client) -> None:
    public = client_of(lite.pki, operations_bind="127.0.0.1:9")
    private = Client(create_operations_app(lite.pki.world.services, ProcessSettings()), lite.pki)
    for target in ("/healthz", "/readyz", "/metrics"):
        assert (public.get(target).status, private.get(target).status) == (404, 200)
    for target in ("/crl/issuing/1.crl", "/ca/issuing/1.crt", "/ocsp/issuing"):
        assert (public.get(target).status, private.get(target).status) == (200, 404)
