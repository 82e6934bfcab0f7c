"""Two hosts in network namespaces on one PostgreSQL: what an OCSP answer costs on one and on two of them, and how many
statements the database is asked. Takes root; wrk (Debian) makes the load."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder

from benchmarks import wrk
from benchmarks.measure import show
from benchmarks.prepared import DECLARATION, OPERATOR
from benchmarks.processes import tree_cpu
from pkiconf.bootstrap import open_services
from pkiconf.model.request import Issued, Overrides
from pkiconf.settings import ProcessSettings
from tests.hosts.network import Fleet, Host, fleet
from tests.serving.running import Running
from tests.world import make_csr

_SERVERS = ("gunicorn", "granian")
_COUNTING = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all")
_NOT_OURS = "query NOT LIKE '%pg_stat_%'"


@dataclass(frozen=True)
class Seen:
    """Of all hosts together: `cpu` is milliseconds for each answer, the servers' and the database's; `raw` those of a
    P-256 signature meanwhile; `statements` for each answer and `per_second`; `connections` to the database."""

    rate: float
    cpu: float
    raw: float
    database: float
    statements: float
    per_second: float
    connections: int

    def __str__(self) -> str:
        return f"{self.rate:9,.0f}/s   {self.cpu:7.3f} ms CPU each"

    @property
    def beside(self) -> str:
        return (
            f"PostgreSQL {self.database:.3f} ms CPU each; {self.statements:.3f} statements for each answer,"
            f" {self.per_second:,.0f}/s; {self.connections} connections"
        )


def hosts() -> None:
    if not wrk.is_here():
        return
    with tempfile.TemporaryDirectory(prefix="pkiconf-bench-") as name, fleet(Path(name), *_COUNTING) as both:
        requests = _prepared(both, Path(name))
        _run(both, "CREATE EXTENSION pg_stat_statements")
        for server in _SERVERS:
            with _serving(both, server) as trees:
                for what, request in requests.items():
                    alone = None
                    for count in (1, 2, 1, 2):
                        seen = _load(both, dict(list(trees.items())[:count]), request)
                        target = "" if count == 1 else "within 10 % of one host's"
                        ratio = f"{seen.cpu / seen.raw:.2f} raw P-256 signatures"
                        if count == 1:
                            alone = seen.cpu / seen.raw
                        elif alone is not None:
                            ratio += f", {seen.cpu / seen.raw / alone:.2f} of one host's"
                        title = f"OCSP, {server}, {what}, {count} host{'s' * (count > 1)}"
                        show(title, seen, target, f"{ratio}; {seen.beside}")


def _prepared(both: Fleet, folder: Path) -> dict[str, bytes]:
    (folder / "pki.yaml").write_text(DECLARATION)
    both.a.run("apply", "--yes", folder / "pki.yaml")
    (folder / "own").mkdir(mode=0o700)
    key = Path(both.settings["PKICONF_MASTER_KEY_FILE"])
    with open_services(ProcessSettings(state=folder / "own", database_url=both.url, master_key_file=key)) as services:
        issued = services.requests.sign(
            services.requests.submit("issuing/web-server", make_csr(), OPERATOR), Overrides(), OPERATOR
        )
    assert isinstance(issued, Issued)
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in (issued.der, issued.chain[0]))
    asked = OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
    with_nonce = asked.add_extension(x509.OCSPNonce(bytes(16)), critical=False)
    return {
        "signed on the spot": with_nonce.build().public_bytes(Encoding.DER),
        "given again": asked.build().public_bytes(Encoding.DER),
    }


@contextmanager
def _serving(both: Fleet, server: str) -> Iterator[dict[str, tuple[Host, Running]]]:
    with ExitStack() as opened:
        yield {one.name: (one, opened.enter_context(one.serving("--server", server))) for one in (both.a, both.b)}


def _load(both: Fleet, trees: dict[str, tuple[Host, Running]], request: bytes) -> Seen:
    """The load of each host comes from outside of it, at the same time."""
    _run(both, "SELECT pg_stat_statements_reset()")
    postmaster = int(_run(both, "SELECT pg_read_file('postmaster.pid')")[0][0].split()[0])
    database = tree_cpu(postmaster)

    def ask(there: tuple[Host, Running]) -> wrk.Load:
        one, tree = there
        url = f"{one.url}/ocsp/issuing"
        return wrk.load(
            url, "application/ocsp-request", request, tree.process.pid, connections=8 // len(trees), smallest=200
        )

    with ThreadPoolExecutor(len(trees)) as pool:
        loads = list(pool.map(ask, trees.values()))
    database = tree_cpu(postmaster) - database
    answers = sum(load.answers for load in loads)
    calls = int(_run(both, f"SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE {_NOT_OURS}")[0][0])
    connections = _run(both, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pkiconf'")[0][0]
    return Seen(
        sum(load.rate for load in loads), sum(load.cpu * load.answers for load in loads) / answers,
        sum(load.raw for load in loads) / len(loads), database * 1000 / answers, calls / answers,
        calls / wrk.SECONDS, connections,
    )  # fmt: skip


def _run(both: Fleet, sql: str) -> list[tuple]:  # type: ignore[type-arg]
    import psycopg

    with psycopg.connect(both.url, autocommit=True) as c:
        cursor = c.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
