"""Who decided on a request: one row for each decision, so that two can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import approval


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """`decision` is approve or decline."""

    id: int
    request_id: int
    actor: str
    decision: str
    reason: str | None
    at: int


_ADD = Prepared(inserting(approval, "id", ending="RETURNING id"))
_LIST = Prepared(select(approval).where(approval.c.request_id == bindparam("of")).order_by(approval.c.id), ApprovalRow)


def add(c: Connection, request_id: int, actor: str, decision: str, reason: str | None, at: int) -> int:
    values = {"request_id": request_id, "actor": actor, "decision": decision, "reason": reason, "at": at}
    return int(_ADD.scalar(c, values))


def list_approvals(c: Connection, request_id: int) -> list[ApprovalRow]:
    """In the order in which they were made."""
    return _LIST.all(c, {"of": request_id})
