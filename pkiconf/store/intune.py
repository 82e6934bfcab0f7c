"""Certificates that Intune let in, and whether it has been told of them.

untold → told        the device may have it
untold → withdrawn   nobody gets it, and it is revoked
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text

from pkiconf.errors import Conflict
from pkiconf.model.certificate import CertificateID
from pkiconf.policy.serials import serial_bytes
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared


class IntuneState(StrEnum):
    UNTOLD = "untold"
    TOLD = "told"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class IntuneRow:
    """`client` is the id of the application that was let in by; `status` the certificate's."""

    issuer_id: int
    serial: bytes
    state: str
    client: str
    template_id: int
    transaction_id: str
    csr: bytes | None
    status: str

    @property
    def id(self) -> CertificateID:
        return CertificateID(self.issuer_id, int.from_bytes(self.serial))


_BEGIN = Prepared(
    text(
        "INSERT INTO scep_intune (issuer_id, serial, attempt_id, client, state)"
        " SELECT issuer_id, serial, id, :client, 'untold' FROM scep_transaction"
        " WHERE template_id = :of AND transaction_id = :named AND serial IS NOT NULL"
        " AND attempt = (SELECT max(attempt) FROM scep_transaction WHERE template_id = :of AND transaction_id = :named)"
        " RETURNING issuer_id, serial"
    )
)
_MOVE = Prepared(
    text("UPDATE scep_intune SET state = :new WHERE issuer_id = :issuer_id AND serial = :serial AND state = 'untold'")
)
# It was kept to tell of, and holds the challenge.
_FORGET_REQUEST = Prepared(
    text(
        "UPDATE scep_transaction SET csr = NULL"
        " WHERE id = (SELECT attempt_id FROM scep_intune WHERE issuer_id = :issuer_id AND serial = :serial)"
    )
)
_ROWS = (
    "SELECT i.issuer_id, i.serial, i.state, i.client, t.template_id, t.transaction_id, t.csr, c.status"
    " FROM scep_intune i JOIN scep_transaction t ON t.id = i.attempt_id"
    " JOIN certificate c ON c.issuer_id = i.issuer_id AND c.serial = i.serial"
)
_FIND = Prepared(text(f"{_ROWS} WHERE i.issuer_id = :issuer_id AND i.serial = :serial"), IntuneRow)
_BY_SERIAL = Prepared(text(f"{_ROWS} WHERE i.serial = :serial AND i.state = 'told'"), IntuneRow)


def begin(c: Connection, template_id: int, transaction_id: str, client: str) -> CertificateID:
    """What the newest attempt of a SCEP transaction has reserved is untold, until it is told or withdrawn. Raises
    Conflict where nothing is reserved."""
    found = _BEGIN.find(c, {"of": template_id, "named": transaction_id, "client": client})
    if found is None:
        raise Conflict(f"SCEP transaction {transaction_id} has reserved no certificate")
    return CertificateID(int(found[0]), int.from_bytes(found[1]))


def move(c: Connection, certificate: CertificateID, to: IntuneState) -> bool:
    """Told or withdrawn, and the request is not kept any longer. False if it was not untold any more."""
    key = _key(certificate)
    if _MOVE.count(c, {**key, "new": to.value}) == 0:
        return False
    _FORGET_REQUEST.count(c, key)
    return True


def find(c: Connection, certificate: CertificateID) -> IntuneRow | None:
    return _FIND.find(c, _key(certificate))


def list_told(c: Connection, serial_number: int) -> list[IntuneRow]:
    """Of whichever issuer, told to whichever application."""
    return _BY_SERIAL.all(c, {"serial": serial_bytes(serial_number)})


def _key(certificate: CertificateID) -> dict[str, object]:
    return {"issuer_id": certificate.issuer_id, "serial": serial_bytes(certificate.serial_number)}
