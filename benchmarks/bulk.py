"""Certificates put straight into the database, as many as an installation has after years.

Only for measuring: they have a status and nothing else, neither octets nor names nor records.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text

from benchmarks.prepared import OPERATOR
from pkiconf.clock import to_epoch
from pkiconf.model.request import Issued, Overrides
from pkiconf.policy.crl_parts import part_of
from pkiconf.policy.serials import bucket_of, make_serial, serial_bytes
from pkiconf.services import Services
from pkiconf.steps import Step
from pkiconf.store import certificates, crls
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import certificate
from tests.world import make_csr

PARTITIONS: Final = 64
_BATCH: Final = 20_000
_ADD: Final = Prepared(inserting(certificate))
_EPOCH: Final = Prepared(text("UPDATE issuer SET status_epoch = status_epoch + :more WHERE id = :of"))


def issue(services: Services, template: str) -> Issued:
    number = services.requests.submit(template, make_csr(), OPERATOR)
    issued = services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(issued, Issued)
    return issued


def fill(services: Services, issued: Issued, count: int, revoked_of_part_1: int) -> list[bytes]:
    """`count` certificates like `issued`; revoked are so many of part 1 of the CRL, and each hundredth of the others.
    The serial numbers of those that are good, in no order. In the order of serial numbers it is some times faster."""
    ends = services.parts.now() + timedelta(days=365)
    rows = _Rows(services, issued, revoked_of_part_1)
    serials = sorted(make_serial(services.parts.entropy, ends) for _ in range(count))
    for first in range(0, count, _BATCH):
        rows.put(serials[first : first + _BATCH])
    rows.finish()
    return sorted(rows.good, key=lambda serial: serial[-8:])


class _Rows:
    def __init__(self, services: Services, issued: Issued, revoked_of_part_1: int) -> None:
        self._db = services.parts.db
        self._now = to_epoch(services.parts.now())
        row = self._db.read(lambda c: certificates.get_certificate(c, issued.id))
        self._like = {name: getattr(row, name) for name in type(row).__slots__}
        self._issuer_id = row.issuer_id
        self._left = revoked_of_part_1
        self._number = self._epoch = 0
        self.good: list[bytes] = []

    def put(self, serials: Sequence[int]) -> None:
        rows = [self._row(serial) for serial in serials]
        self._db.write(Step.CERTIFICATE_RESERVE, lambda c: _ADD.many(c, rows), durable=False)

    def finish(self) -> None:
        """Changes of status are counted, and the parts have URLs."""

        def write(c: Connection) -> None:
            _EPOCH.count(c, {"of": self._issuer_id, "more": self._epoch + 1})
            for part in range(1, PARTITIONS + 1):
                crls.locate(c, self._issuer_id, part, f"http://127.0.0.1/crl/issuing/1/{part}.crl")

        self._db.write(Step.CERTIFICATE_RESERVE, write)

    def _row(self, number: int) -> dict[str, Any]:
        part, serial = part_of(number, PARTITIONS), serial_bytes(number)
        revoked = self._left > 0 if part == 1 else number % 100 == 0
        self._left -= revoked and part == 1
        self._epoch += revoked
        self._number += 1
        if not revoked:
            self.good.append(serial)
        return {
            **self._like, "serial": serial, "bucket": bucket_of(number), "crl_shard": part,
            "origin_kind": "benchmark", "origin_id": f"{self._number:012}", "status": "revoked" if revoked else "good",
            "reason": 4 if revoked else None, "revoked_at": self._now - number % 10_000_000 if revoked else None,
            "changed_epoch": self._epoch if revoked else 0,
        }  # fmt: skip
