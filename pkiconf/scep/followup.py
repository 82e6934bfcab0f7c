"""Who has to be told of a certificate before its holder gets it."""

from __future__ import annotations

from typing import Protocol

from pkiconf.model.request import Issued
from pkiconf.model.scep import SCEPRequest


class Followup(Protocol):
    """Found by `Proof.after_issue`. Called without an open transaction, and again when a client asks again."""

    def issued(self, request: SCEPRequest, certificate: Issued) -> None:
        """Raises a PkiconfError to keep the certificate back: it is revoked, and the client gets a failure."""
        ...

    def refused(self, request: SCEPRequest, why: str) -> None:
        """The proof held, and still there is no certificate. Never raises."""
        ...
