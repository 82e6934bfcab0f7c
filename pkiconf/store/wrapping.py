"""Which master key things are sealed under, and the end of one.

While a master key is being replaced, other processes may still hold the old one. Were something sealed under it
stored after the last look for such rows, it could never be opened again. So the old key is *retired* first: from
then on no transaction that stores something under it can commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, select, text

from pkiconf.errors import Conflict
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import acme_binding, key, lease, sealed_secret


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of `key` (`id` and `spki_sha256` are set), of `sealed_secret` (`name` is) or of `acme_binding` (`id` and
    `key_id` are)."""

    id: int | None
    name: str | None
    spki_sha256: bytes | None
    sealed: bytes
    wrapping_key_id: str
    key_id: str | None = None


_KEYS: Final = Prepared(
    select(key.c.id, key.c.spki_sha256, key.c.sealed, key.c.wrapping_key_id)
    .where(key.c.sealed.is_not(None), key.c.wrapping_key_id != bindparam("other_than"), key.c.id > bindparam("after"))
    .order_by(key.c.id)
    .limit(bindparam("limit")),
    lambda id, spki_sha256, sealed, wrapping: SealedRow(id, None, spki_sha256, sealed, wrapping),
)
_SECRETS: Final = Prepared(
    select(sealed_secret.c.name, sealed_secret.c.sealed, sealed_secret.c.wrapping_key_id)
    .where(sealed_secret.c.wrapping_key_id != bindparam("other_than"))
    .order_by(sealed_secret.c.name),
    lambda name, sealed, wrapping: SealedRow(None, name, None, sealed, wrapping),
)
_BINDINGS: Final = Prepared(
    select(acme_binding.c.id, acme_binding.c.key_id, acme_binding.c.sealed, acme_binding.c.wrapping_key_id)
    .where(
        acme_binding.c.sealed.is_not(None),
        acme_binding.c.wrapping_key_id != bindparam("other_than"),
        acme_binding.c.id > bindparam("after"),
    )
    .order_by(acme_binding.c.id)
    .limit(bindparam("limit")),
    lambda id, key_id, sealed, wrapping: SealedRow(id, None, None, sealed, wrapping, key_id),
)
# The old value is compared too: a secret may have been given another content meanwhile.
_REWRAP_KEY: Final[Prepared[Any]] = Prepared(
    text('UPDATE "key" SET sealed = :new, wrapping_key_id = :new_key WHERE id = :id AND sealed = :old')
)
_REWRAP_SECRET: Final[Prepared[Any]] = Prepared(
    text("UPDATE sealed_secret SET sealed = :new, wrapping_key_id = :new_key WHERE name = :name AND sealed = :old")
)
_REWRAP_BINDING: Final[Prepared[Any]] = Prepared(
    text("UPDATE acme_binding SET sealed = :new, wrapping_key_id = :new_key WHERE id = :id AND sealed = :old")
)
_RETIRE: Final[Prepared[Any]] = Prepared(
    text(
        "INSERT INTO lease (name, holder, fencing, until_at) VALUES (:name, :successor, 1, 0)"
        " ON CONFLICT (name) DO NOTHING"
    )
)
_IS_RETIRED: Final[Prepared[Any]] = Prepared(select(func.count()).where(lease.c.name == bindparam("name")))


def find_sealed(c: Connection, *, other_than: str = "", after: int = 0, limit: int = 100) -> list[SealedRow]:
    """Keys with ids above `after`, at most `limit`, that are sealed under another master key than this one."""
    return _KEYS.all(c, {"other_than": other_than, "after": after, "limit": limit})


def find_sealed_secrets(c: Connection, *, other_than: str = "") -> list[SealedRow]:
    return _SECRETS.all(c, {"other_than": other_than})


def find_sealed_bindings(c: Connection, *, other_than: str = "", after: int = 0, limit: int = 100) -> list[SealedRow]:
    """External account bindings with ids above `after`, as `find_sealed` does."""
    return _BINDINGS.all(c, {"other_than": other_than, "after": after, "limit": limit})


def list_sealed_bindings(c: Connection) -> list[SealedRow]:
    """Every external account binding that has a key."""
    found: list[SealedRow] = []
    while rows := find_sealed_bindings(c, after=found[-1].id or 0 if found else 0):
        found += rows
    return found


def rewrap(c: Connection, row: SealedRow, sealed: bytes, wrapping_key_id: str) -> bool:
    """Store what was in `row` under another master key; False when the row has changed since it was read."""
    values = {"new": sealed, "new_key": wrapping_key_id, "old": row.sealed}
    if row.key_id is not None:
        return _REWRAP_BINDING.count(c, {**values, "id": row.id}) == 1
    if row.id is not None:
        return _REWRAP_KEY.count(c, {**values, "id": row.id}) == 1
    return _REWRAP_SECRET.count(c, {**values, "name": row.name}) == 1


def retire_wrapping_key(c: Connection, wrapping_key_id: str, successor: str) -> None:
    """After the commit of `c` nothing new is stored under the key, and all that was is visible."""
    _RETIRE.count(c, {"name": _name(wrapping_key_id), "successor": successor})
    if c.dialect.name == "postgresql":
        # Waits for every transaction that has stored something and has not seen the line above.
        c.exec_driver_sql('LOCK TABLE "key", sealed_secret, acme_binding IN SHARE MODE')


def is_retired(c: Connection, wrapping_key_id: str) -> bool:
    return bool(_IS_RETIRED.scalar(c, {"name": _name(wrapping_key_id)}))


def check_wrapping_key(c: Connection, wrapping_key_id: str | None) -> None:
    """Raises Conflict when the master key was retired. To be called after what is sealed under it was inserted:
    the insert's lock on the table is what a retirement waits for."""
    if wrapping_key_id is not None and is_retired(c, wrapping_key_id):
        raise Conflict(f"the master key {wrapping_key_id} was replaced meanwhile", "Try again")


def _name(wrapping_key_id: str) -> str:
    return f"retired-master-key/{wrapping_key_id}"
