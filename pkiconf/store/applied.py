"""What was applied, when, and with which result."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import applied


@dataclass(frozen=True, slots=True)
class AppliedRow:
    """`recap` is JSON: how many changes were ok, changed, failed and waiting."""

    id: int
    at: int
    workspace: str
    actor: str
    plan_digest: str
    recap: str


_ADD = Prepared(inserting(applied, "id", ending="RETURNING id"))
_LIST = Prepared(select(applied).order_by(applied.c.id.desc()).limit(bindparam("most")), AppliedRow)
_LATEST = Prepared(
    select(applied).where(applied.c.workspace == bindparam("of")).order_by(applied.c.id.desc()).limit(1), AppliedRow
)


def add_applied(c: Connection, *, at: int, workspace: str, actor: str, plan_digest: str, recap: str) -> int:
    values = {"at": at, "workspace": workspace, "actor": actor, "plan_digest": plan_digest, "recap": recap}
    return int(_ADD.scalar(c, values))


def find_latest(c: Connection, workspace: str) -> AppliedRow | None:
    return _LATEST.find(c, {"of": workspace})


def list_applied(c: Connection, limit: int = 20) -> list[AppliedRow]:
    """The latest first."""
    return _LIST.all(c, {"most": limit})
