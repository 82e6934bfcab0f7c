"""What the pipeline tells an ACME order: its certificate is complete, or was given up."""

from __future__ import annotations

import json
from typing import Final

from pkiconf.acme.settle import problem_text
from pkiconf.errors import Conflict
from pkiconf.model.acme import Problem, ProblemType
from pkiconf.model.certificate import CertificateID
from pkiconf.store import acme_orders
from pkiconf.store.database import Connection

ORIGIN: Final = "acme"
"""`origin_id` is the order's name."""

_GIVEN_UP: Final = problem_text(
    Problem(
        ProblemType.SERVER_INTERNAL,
        "the certificate was given up, because its key gave no signature, too few certificate transparency logs "
        "promised to include it, or the public key became known to be compromised; make a new order",
    )
)


class OrderOrigin:
    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        """processing → valid."""
        if not acme_orders.complete(c, origin_id):
            raise Conflict(f"ACME order {origin_id} is not being processed")

    def given_back(self, c: Connection, origin_id: str) -> None:
        """processing → invalid: an order is not finalized twice; its client orders anew. Does not count against the
        limits of its names."""
        acme_orders.give_up(c, origin_id, _GIVEN_UP)
        row = acme_orders.find(c, origin_id)
        if row is not None:
            acme_orders.forget_issued_names(c, row.id, json.loads(row.identifiers))
