"""What the pipeline is asked to do, and whom it tells when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Wanted
from pkiconf.store.database import Connection


def _nothing_more(c: Connection, certificate: CertificateID) -> None:
    """For origins that consume nothing."""


@dataclass(frozen=True, slots=True)
class IssuanceOrder:
    """One certificate wanted.

    `reserved` runs in the transaction that records the intent: it consumes what allows the certificate, and raises
    Conflict to stop it. It touches only the database and may run again.

    `origin_kind` and `origin_id` name what it is for (a request's number, a service certificate's row, …): one
    origin gets one certificate, however often it is asked for. `address` is what the audit log files it under.

    `beyond_service`: also an issuer that does not sign for others (not yet, not any more, or its authority is retired)
    signs this one. That is for what an authority issues to itself and to its services.
    """

    issuer_id: int
    template_id: int
    wanted: Wanted
    origin_kind: str
    origin_id: str
    address: str
    actor: Actor
    beyond_service: bool = False
    reserved: Callable[[Connection, CertificateID], None] = _nothing_more


class Origin(Protocol):
    """What stands behind orders of one kind, also after a restart.

    Told in the pipeline's own transactions, so the two never disagree.

    The functions touch only the database and may run again.
    """

    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None: ...

    def given_back(self, c: Connection, origin_id: str) -> None:
        """Nothing was signed: give back what was consumed."""
        ...
