"""Who has to be told of a certificate before its holder gets it."""

from __future__ import annotations

from typing import Protocol

from pkiconf.model.request import Issued
from pkiconf.model.scep import SCEPRequest


class Followup(Protocol):
    """Found by `Proof.after_issue`. Called without an open transaction."""

    def issued(self, request: SCEPRequest | None, certificate: Issued) -> None:
        """Called before every time that the certificate is handed out: the first one tells, the others look whether
        it was told. `request` is None for who only asks what became of it. Raises a PkiconfError to keep the
        certificate back; whether it is revoked is decided here."""
        ...

    def refused(self, request: SCEPRequest, why: str) -> None:
        """The proof held, and still there is no certificate. Never raises."""
        ...
