"""CRLs of 100,000 and 1,000,000 entries: from the database to signed octets."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from sqlalchemy import insert

from benchmarks.measure import show, timed
from benchmarks.prepared import prepared
from pkiconf.clock import to_epoch
from pkiconf.policy.serials import bucket_of, make_serial, serial_bytes
from pkiconf.services import Services
from pkiconf.steps import Step
from pkiconf.store import authorities
from pkiconf.store.database import Connection
from pkiconf.store.tables import certificate

_BATCH = 50_000


def load_revoked(services: Services, issuer_id: int, count: int) -> None:
    """Put revoked certificates straight into the database: only for measuring, they have no TBS and no records."""
    now = services.parts.now()
    ends = now.replace(year=now.year + 1)

    def row(number: int) -> dict[str, object]:
        serial = make_serial(services.parts.entropy, ends)
        return {
            "issuer_id": issuer_id, "serial": serial_bytes(serial), "bucket": bucket_of(serial), "status": "revoked",
            "reason": number % 6, "revoked_at": to_epoch(now) - number * 7919 % 25_000_000,
            "not_before": to_epoch(now), "not_after": to_epoch(ends),
            "origin_kind": "benchmark", "origin_id": str(number), "reserved_at": 0, "lease_until": 0,
        }  # fmt: skip

    for first in range(0, count, _BATCH):
        rows = [row(number) for number in range(first, min(first + _BATCH, count))]

        def write(c: Connection, rows: list[dict[str, object]] = rows) -> None:
            c.execute(insert(certificate), rows)

        services.parts.db.write(Step.CERTIFICATE_RESERVE, write)


def crl() -> None:
    for count in (100_000, 1_000_000):
        # A process of its own for each size, so that its memory is its own.
        subprocess.run([sys.executable, "-m", "benchmarks.crl", str(count)], check=True)


def _one(count: int) -> None:
    with prepared() as services:
        issuer_id = services.parts.db.read(lambda c: authorities.get_authority_by_name(c, "issuing")).current_issuer_id
        assert issuer_id is not None
        load_revoked(services, issuer_id, count)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        target = "≤ 1 s" if count == 100_000 else "≤ 5 s, ≤ 1 GB"
        for which in ("the first", "compared with the one before"):
            cpu = time.process_time()
            with timed() as seconds:
                made = services.crls.make(issuer_id)
            took, cpu = seconds(), time.process_time() - cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            size = len(made.der) / 1e6
            what = f"{took:.2f} s ({cpu:.2f} CPU), peak {peak:,.0f} MB ({before:,.0f} before), {size:.1f} MB"
            show(f"CRL of {count:,} entries, {which}", what, target)


if __name__ == "__main__":
    _one(int(sys.argv[1]))
