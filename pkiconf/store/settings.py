"""What is wished of the PKI as a whole: one row for each named object of the declaration's `settings`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import setting


@dataclass(frozen=True, slots=True)
class SettingRow:
    """`spec` is canonical JSON; `generation` counts the writes of the row."""

    name: str
    spec: str
    spec_digest: str
    generation: int
    owner: str


_FIND = Prepared(select(setting).where(setting.c.name == bindparam("name")), SettingRow)
_LIST = Prepared(select(setting).order_by(setting.c.name), SettingRow)
_PUT = Prepared(
    text(
        "INSERT INTO setting (name, spec, spec_digest, generation, owner)"
        " SELECT :name, :spec, :spec_digest, 1, :owner WHERE :expected = 0"
        " ON CONFLICT (name) DO NOTHING"
    )
)
_UPDATE = Prepared(
    text(
        "UPDATE setting SET spec = :spec, spec_digest = :spec_digest, owner = :owner, generation = generation + 1"
        " WHERE name = :name AND generation = :expected"
    )
)


def find_setting(c: Connection, name: str) -> SettingRow | None:
    return _FIND.find(c, {"name": name})


def list_settings(c: Connection) -> list[SettingRow]:
    return _LIST.all(c)


def put_setting(c: Connection, name: str, *, spec: str, spec_digest: str, owner: str, generation: int | None) -> int:
    """Write a setting whose row is at `generation` (None: there is no row yet); its new generation.

    Raises Conflict when the row is at another generation.
    """
    values = {"name": name, "spec": spec, "spec_digest": spec_digest, "owner": owner, "expected": generation or 0}
    statement = _UPDATE if generation else _PUT
    if statement.count(c, values) == 0:
        raise Conflict(f"setting {name!r} was changed meanwhile", "Plan again")
    return (generation or 0) + 1
