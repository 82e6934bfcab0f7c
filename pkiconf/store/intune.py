"""What Intune let in, and whether it has been told of the certificate.

    untold → told        the device may have it
    untold → withdrawn   nobody gets it, and it is revoked

Nothing leads back, but that a transaction whose certificate was withdrawn may begin again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import bindparam, literal_column, select, text

from pkiconf.errors import Conflict
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import scep_intune


class IntuneState(StrEnum):
    UNTOLD = "untold"
    TOLD = "told"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class IntuneRow:
    """`client` is an application's id; `csr` is there while it is untold; `issuer_id` and `serial` once told."""

    template_id: int
    transaction_id: str
    client: str
    state: str
    csr: bytes | None
    issuer_id: int | None
    serial: bytes | None
    created_at: int


_KEY = (
    scep_intune.c.template_id == bindparam("of"),
    scep_intune.c.transaction_id == bindparam("named"),
)
_BEGIN = Prepared(
    text(
        "INSERT INTO scep_intune (template_id, transaction_id, client, state, csr, created_at)"
        " VALUES (:of, :named, :client, 'untold', :csr, :now)"
        " ON CONFLICT (template_id, transaction_id) DO UPDATE SET client = excluded.client, state = 'untold',"
        " csr = excluded.csr, issuer_id = NULL, serial = NULL, created_at = excluded.created_at"
        " WHERE scep_intune.state = 'withdrawn'"
    )
)
_TOLD = Prepared(
    text(
        "UPDATE scep_intune SET state = 'told', csr = NULL, issuer_id = :issuer_id, serial = :serial"
        " WHERE template_id = :of AND transaction_id = :named AND state = 'untold'"
    )
)
_WITHDRAW = Prepared(
    text(
        "UPDATE scep_intune SET state = 'withdrawn', csr = NULL"
        " WHERE template_id = :of AND transaction_id = :named AND state = 'untold'"
    )
)
_FIND = Prepared(select(scep_intune).where(*_KEY), IntuneRow)
_BY_SERIAL = Prepared(
    select(scep_intune).where(
        scep_intune.c.serial == bindparam("number"), scep_intune.c.state == literal_column("'told'")
    ),
    IntuneRow,
)
_CERTIFICATE = Prepared(
    text(
        "SELECT issuer_id, serial FROM scep_transaction"
        " WHERE template_id = :of AND transaction_id = :named AND serial IS NOT NULL"
    )
)


def begin(c: Connection, template_id: int, transaction_id: str, client: str, csr: bytes, now: int) -> None:
    """Untold, until it is told or withdrawn. Raises Conflict for a transaction that is one of both already, unless
    what it led to was withdrawn."""
    values = {"of": template_id, "named": transaction_id, "client": client, "csr": csr, "now": now}
    if _BEGIN.count(c, values) == 0:
        raise Conflict(f"SCEP transaction {transaction_id} has been let in by Intune before")


def told(c: Connection, template_id: int, transaction_id: str, issuer_id: int, serial: bytes) -> bool:
    """False if it was not untold any more."""
    values = {"of": template_id, "named": transaction_id, "issuer_id": issuer_id, "serial": serial}
    return _TOLD.count(c, values) == 1


def withdraw(c: Connection, template_id: int, transaction_id: str) -> bool:
    """False if it was not untold any more."""
    return _WITHDRAW.count(c, {"of": template_id, "named": transaction_id}) == 1


def find(c: Connection, template_id: int, transaction_id: str) -> IntuneRow | None:
    return _FIND.find(c, {"of": template_id, "named": transaction_id})


def list_told(c: Connection, serial: bytes) -> list[IntuneRow]:
    """Of whichever issuer, told to whichever application."""
    return _BY_SERIAL.all(c, {"number": serial})


def find_certificate(c: Connection, template_id: int, transaction_id: str) -> tuple[int, bytes] | None:
    """Issuer and serial number of what a SCEP transaction led to, from its reservation on."""
    found = _CERTIFICATE.find(c, {"of": template_id, "named": transaction_id})
    return (int(found[0]), bytes(found[1])) if found else None
