"""What the pipeline tells a SCEP transaction: its certificate is complete, or was given up."""

from __future__ import annotations

import hashlib
from typing import Final

from pkiconf.model.certificate import CertificateID
from pkiconf.model.scep import attempt_name
from pkiconf.store import scep_challenges
from pkiconf.store.database import Connection

ORIGIN: Final = "scep"


def origin_id(template_id: int, transaction_id: str, attempt: int, csr: bytes) -> str:
    """One certificate for one request of one attempt. Two requests under one id have two origins, so that neither gets
    the other's certificate; the transaction's own row lets one of them in."""
    return f"{template_id}.{attempt}.{hashlib.sha256(csr).hexdigest()[:32]}.{transaction_id}"


class TransactionOrigin:
    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        """The transaction knows its certificate since it was reserved."""

    def given_back(self, c: Connection, origin_id: str) -> None:
        """The challenge of this attempt is good again; the client asks anew, under the same id or another."""
        template_id, attempt, _, transaction_id = origin_id.split(".", 3)
        scep_challenges.release(c, int(template_id), attempt_name(int(attempt), transaction_id))
