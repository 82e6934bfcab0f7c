"""What the pipeline tells an ACME order: its certificate is complete, or was given up."""

from __future__ import annotations

from typing import Final

from pkiconf.model.certificate import CertificateID
from pkiconf.store.database import Connection

ORIGIN: Final = "acme"
"""`origin_id` is the order's name."""


class OrderOrigin:
    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        """processing → valid."""
        raise NotImplementedError

    def given_back(self, c: Connection, origin_id: str) -> None:
        """processing → invalid: an order is not finalized twice; its client orders anew."""
        raise NotImplementedError
