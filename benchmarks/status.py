"""Status among 1,000,000 certificates: OCSP beside an installation that has few, and how soon a revocation is true.

`PKICONF_DATABASE_URL` names an empty PostgreSQL database to fill in place of SQLite's file; `BENCHMARK_CERTIFICATES` is
another number of certificates.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus, OCSPRequestBuilder, load_der_ocsp_response

from benchmarks.bulk import PARTITIONS, fill, issue
from benchmarks.installation import process
from benchmarks.measure import Figure, raw_signing, run, show, timed
from benchmarks.prepared import OPERATOR, prepared
from pkiconf.cli.listening import wait_for_listener
from pkiconf.der.crl import parse_crl
from pkiconf.diagnosis.diagnose import diagnose
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.crl_parts import part_of
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from pkiconf.worker import Worker
from tests.ports import free_port

MANY = int(os.environ.get("BENCHMARK_CERTIFICATES", "1000000"))
FEW = 2_000
IN_PART = 10_000
ASKED = 1_000
ROUNDS = 7
REVOCATIONS = 40
_PATIENCE = 120.0

_DECLARATION = f"""
authorities:
  - {{ name: root, key: {{ type: ec, curve: p256 }} }}
  - {{ name: issuing, issuer: root, key: {{ type: ec, curve: p256 }}, crl: {{ partitions: {PARTITIONS} }} }}
"""


@dataclass(frozen=True)
class Filled:
    """An installation, its issuer, and the serial numbers of certificates that are good."""

    services: Services
    issuer_id: int
    issuer: x509.Certificate
    good: list[bytes]

    def question(self, serial: bytes, nonce: bytes | None = None) -> bytes:
        digest = hashes.Hash(hashes.SHA1())
        digest.update(self.issuer.subject.public_bytes())
        key = x509.SubjectKeyIdentifier.from_public_key(self.issuer.public_key()).digest
        number = int.from_bytes(serial)
        asked = OCSPRequestBuilder().add_certificate_by_hash(digest.finalize(), key, number, hashes.SHA1())
        if nonce is not None:
            asked = asked.add_extension(x509.OCSPNonce(nonce), critical=False)
        return asked.build().public_bytes(Encoding.DER)

    def answer(self, requests: Sequence[bytes], number: int) -> None:
        services = self.services
        assert services.ocsp.answer("issuing", requests[number], services.parts.now()).known

    def revoke(self, serial: bytes) -> None:
        certificate = CertificateID(self.issuer_id, int.from_bytes(serial))
        self.services.revocations.revoke(certificate, RevocationReason.SUPERSEDED, OPERATOR)


@contextmanager
def _filled(count: int) -> Iterator[Filled]:
    with prepared(_DECLARATION) as services:
        issued = issue(services, "issuing/web-server")
        with timed() as seconds:
            good = fill(services, issued, count, min(IN_PART, count // PARTITIONS // 2))
        show(f"{count:,} certificates put in", f"{seconds():.0f} s", "")
        yield Filled(services, issued.id.issuer_id, x509.load_der_x509_certificate(issued.chain[0]), good)


def status() -> None:
    with ExitStack() as opened:
        server = os.environ.pop("PKICONF_DATABASE_URL", None)
        few = opened.enter_context(_filled(FEW))
        if server is not None:
            os.environ["PKICONF_DATABASE_URL"] = server
        many = opened.enter_context(_filled(MANY))
        _answers(few, many)
        _chores(few, many)
        _revocations(many)


def _answers(few: Filled, many: Filled) -> None:
    """By turns, so that both meet the same machine."""
    for what, nonce in (("given again", None), ("signed on the spot", bytes(16))):
        works = [
            partial(filled.answer, [filled.question(serial, nonce) for serial in filled.good[:ASKED]])
            for filled in (few, many)
        ]
        for work in works:  # signed once, read once
            run(work, ASKED)
        seen: list[tuple[Figure, Figure]] = [(run(works[0], ASKED), run(works[1], ASKED)) for _ in range(ROUNDS)]
        ratio = median(large.cpu / small.cpu for small, large in seen)
        cpu = median(large.cpu for _, large in seen)
        reference = f"beside {FEW:,}: × {ratio:.3f}; raw P-256 signature {raw_signing().cpu:.3f} ms"
        show(f"OCSP alone, {what}, among {MANY:,}", f"{cpu:.3f} ms CPU each", "within 10 %", reference)


def _chores(few: Filled, many: Filled) -> None:
    """What walks through the certificates takes a hundred times as long."""
    works: dict[str, Callable[[Filled], object]] = {
        "a round of the worker's chores": lambda filled: Worker(filled.services).run_chores(),
        "which CRLs are due": lambda filled: filled.services.crls.schedule.due(),
        "how fresh CRLs are": lambda filled: filled.services.crls.schedule.freshness(),
        "doctor": lambda filled: diagnose(
            ProcessSettings(state=filled.services.parts.state), filled.services.parts.now()
        ),
    }
    for what, work in works.items():
        took = []
        for filled in (few, many):
            took.append(min(_cpu(partial(work, filled)) for _ in range(4)))
        show(f"{what}, among {MANY:,}", f"{took[1]:.1f} ms CPU", "flat", f"beside {FEW:,}: {took[0]:.1f} ms")


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1000


class _Server:
    """What serves the installation, asked over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._read()

    def is_revoked(self, request: bytes) -> bool:
        self._connection.request("POST", "/ocsp/issuing", request, {"Content-Type": "application/ocsp-request"})
        return load_der_ocsp_response(self._read()).certificate_status is OCSPCertStatus.REVOKED

    def _read(self) -> bytes:
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:200]
        return body


def _revocations(many: Filled) -> None:
    """Revoked here, seen through a server of two processes; a worker runs beside it."""
    port, state = free_port(), many.services.parts.state
    environment = {**os.environ, "PKICONF_STATE": str(state)}
    with ExitStack() as opened:
        bind = f"127.0.0.1:{port}"
        opened.enter_context(process("serve", "--bind", bind, environment=environment))
        opened.enter_context(process("worker", environment=environment))
        assert wait_for_listener(bind, 60)
        server = _Server(port)
        in_part = [serial for serial in many.good if part_of(int.from_bytes(serial), PARTITIONS) == 1]
        size = len(list(parse_crl(server.get("/crl/issuing/1/1.crl")).encoded_entries))
        server.get("/crl/issuing/1.crl")
        seen = [_revocation(many, server, serial) for serial in in_part[:REVOCATIONS]]
        targets = ("≤ 50 ms", "≤ 50 ms", "≤ 200 ms")
        names = ("acknowledged", "acknowledged and true in OCSP", f"acknowledged and in its part's CRL of {size:,}")
        for name, target, times in zip(names, targets, zip(*seen, strict=True), strict=True):
            said = f"p50 {_at(times, 0.5):.0f} ms, p95 {_at(times, 0.95):.0f}, most {max(times) * 1000:.0f}"
            show(f"revoked among {MANY:,}: {name}", said, target)
        with timed() as seconds:
            full = parse_crl(server.get("/crl/issuing/1.crl"))
        show(f"and the full CRL, {len(list(full.encoded_entries)):,} entries", f"{seconds() * 1000:.0f} ms", "")


def _revocation(many: Filled, server: _Server, serial: bytes) -> tuple[float, float, float]:
    """Seconds until it was acknowledged, true in OCSP, and in the CRL, all from when it was asked for."""
    asked = many.question(serial)
    assert not server.is_revoked(asked)
    time.sleep(0.3)  # each for itself, not in a row with what the one before left to do
    begun = time.perf_counter()
    many.revoke(serial)
    acknowledged = time.perf_counter() - begun
    assert server.is_revoked(asked)  # the first answer is the true one
    true = time.perf_counter() - begun
    assert serial in server.get("/crl/issuing/1/1.crl")
    return acknowledged, true, time.perf_counter() - begun


def _at(times: Sequence[float], part: float) -> float:
    return sorted(times)[int(len(times) * part)] * 1000
