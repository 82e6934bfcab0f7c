"""Requests that wait for a person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, select, update

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import request


@dataclass(frozen=True, slots=True)
class RequestRow:
    """`subject` is RFC 4514 text; `names` a JSON array of `kind:value`; `overrides` JSON, recorded at signing."""

    id: int
    template_id: int
    state: str
    csr: bytes
    subject: str
    names: str
    overrides: str | None
    reason: str | None
    submitted_at: int
    submitted_by: str
    decided_at: int | None
    issuer_id: int | None
    serial: bytes | None


@dataclass(frozen=True, slots=True)
class NewRequest:
    template_id: int
    csr: bytes
    subject: str
    names: str
    submitted_at: int
    submitted_by: str
    state: str = "pending"


_ADD = Prepared(
    inserting(request, "id", "overrides", "reason", "decided_at", "issuer_id", "serial", ending="RETURNING id")
)
_GET = Prepared(select(request).where(request.c.id == bindparam("wanted")), RequestRow)


def add(c: Connection, new: NewRequest) -> int:
    """The number it is known by."""
    return int(_ADD.scalar(c, {name: getattr(new, name) for name in NewRequest.__slots__}))


def get_request(c: Connection, number: int) -> RequestRow:
    # No database takes a larger one, and whoever mistypes a number gets the same answer for every length of it.
    found = _GET.find(c, {"wanted": number}) if 0 < number < 1 << 63 else None
    if found is None:
        raise NotFound(f"there is no request {number}", "List them with `pkiconf request list`")
    return found


def move(c: Connection, number: int, old: str, new: str, **columns: Any) -> None:  # noqa: ANN401
    """Bring a request from state `old` to `new`, with `columns`. Raises NotFound; Conflict in another state."""
    statement = (
        update(request).where(request.c.id == number, request.c.state == str(old)).values(state=str(new), **columns)
    )
    if c.execute(statement).rowcount == 0:
        raise Conflict(f"request {number} is not {old} but {get_request(c, number).state}", "Look at it again")


def list_requests(
    c: Connection,
    *,
    states: Collection[str] = (),
    template_ids: Collection[int] | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[RequestRow]:
    """At most `limit` with numbers above `after`, in their order."""
    query = select(request).where(request.c.id > after).order_by(request.c.id).limit(limit)
    if states:
        query = query.where(request.c.state.in_([str(state) for state in states]))
    if template_ids is not None:
        query = query.where(request.c.template_id.in_(list(template_ids)))
    return [RequestRow(*row) for row in c.execute(query)]


def last_number(c: Connection) -> int:
    """0 when there was no request yet."""
    return int(c.execute(select(func.max(request.c.id))).scalar() or 0)


def count_by_state(c: Connection) -> dict[str, int]:
    rows = c.execute(select(request.c.state, func.count()).group_by(request.c.state))
    return {str(state): int(count) for state, count in rows}
