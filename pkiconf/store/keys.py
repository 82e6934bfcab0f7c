"""Private keys, sealed, and the other secrets that this program made for itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import acme_binding, key, sealed_secret
from pkiconf.store.wrapping import check_wrapping_key


@dataclass(frozen=True, slots=True)
class KeyRow:
    """`sealed` is PKCS#8 under the master key `wrapping_key_id`; None for a key elsewhere (`locator`) or destroyed."""

    id: int
    spki_sha256: bytes
    spki: bytes
    algorithm: str
    backend: str
    sealed: bytes | None
    locator: str | None
    wrapping_key_id: str | None
    state: str
    created_at: int


@dataclass(frozen=True, slots=True)
class SealedSecretRow:
    name: str
    sealed: bytes
    wrapping_key_id: str


_ADD = Prepared(inserting(key, "id", ending="ON CONFLICT (spki_sha256) DO NOTHING RETURNING id"))
_FIND = Prepared(select(key).where(key.c.id == bindparam("id")), KeyRow)
_FIND_BY_SPKI = Prepared(select(key).where(key.c.spki_sha256 == bindparam("digest")), KeyRow)
_LIST = Prepared(select(key).order_by(key.c.id), KeyRow)
_REWRAP = Prepared(
    text(
        'UPDATE "key" SET sealed = :sealed, wrapping_key_id = :new'
        " WHERE id = :id AND wrapping_key_id = :old AND sealed IS NOT NULL"
    )
)
_DESTROY = Prepared(
    text("UPDATE \"key\" SET sealed = NULL, wrapping_key_id = NULL, locator = NULL, state = 'destroyed' WHERE id = :id")
)
_DELETE = Prepared(text('DELETE FROM "key" WHERE id = :id'))
_ADD_SECRET = Prepared(inserting(sealed_secret, ending="ON CONFLICT (name) DO NOTHING"))
_PUT_SECRET = Prepared(
    inserting(
        sealed_secret,
        ending="ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, wrapping_key_id = excluded.wrapping_key_id",
    )
)
_FIND_SECRET = Prepared(select(sealed_secret).where(sealed_secret.c.name == bindparam("name")), SealedSecretRow)
_LIST_SECRETS = Prepared(select(sealed_secret).order_by(sealed_secret.c.name), SealedSecretRow)
_REWRAP_SECRET = Prepared(
    text(
        "UPDATE sealed_secret SET sealed = :sealed, wrapping_key_id = :new"
        " WHERE name = :name AND wrapping_key_id = :old"
    )
)
_DELETE_SECRET = Prepared(text("DELETE FROM sealed_secret WHERE name = :name"))


def add_key(
    c: Connection,
    *,
    spki: bytes,
    algorithm: str,
    created_at: int,
    backend: str = "local",
    sealed: bytes | None = None,
    locator: str | None = None,
    wrapping_key_id: str | None = None,
    state: str = "active",
    spki_sha256: bytes | None = None,
) -> int:
    """The new row's id. Raises Conflict for a public key that is known already."""
    number = _ADD.scalar(
        c,
        {
            "spki_sha256": spki_sha256 or hashlib.sha256(spki).digest(),
            "spki": spki,
            "algorithm": algorithm,
            "backend": backend,
            "sealed": sealed,
            "locator": locator,
            "wrapping_key_id": wrapping_key_id,
            "state": state,
            "created_at": created_at,
        },
    )
    if number is None:
        raise Conflict("this key is already in use", "Give every authority a key of its own")
    check_wrapping_key(c, wrapping_key_id)
    return int(number)


def get_key(c: Connection, key_id: int) -> KeyRow:
    found = _FIND.find(c, {"id": key_id})
    if found is None:
        raise NotFound(f"there is no key {key_id}")
    return found


def find_key_by_spki(c: Connection, spki_sha256: bytes) -> KeyRow | None:
    return _FIND_BY_SPKI.find(c, {"digest": spki_sha256})


def list_keys(c: Connection) -> list[KeyRow]:
    return _LIST.all(c)


def rewrap_key(c: Connection, key_id: int, old: str, sealed: bytes, new: str) -> bool:
    """Replace the sealed form of a key; False when it is no longer under the master key `old`."""
    return _REWRAP.count(c, {"id": key_id, "old": old, "sealed": sealed, "new": new}) == 1


def destroy_key(c: Connection, key_id: int) -> None:
    """Forget the private key; the row stays, so that the public key is never taken in again."""
    if _DESTROY.count(c, {"id": key_id}) == 0:
        raise NotFound(f"there is no key {key_id}")


def delete_key(c: Connection, key_id: int) -> None:
    """Remove the row of a key that nothing refers to."""
    _DELETE.count(c, {"id": key_id})


def add_secret(c: Connection, name: str, sealed: bytes, wrapping_key_id: str) -> bool:
    """False when there is a secret of this name already: the first one stands."""
    added = _ADD_SECRET.count(c, {"name": name, "sealed": sealed, "wrapping_key_id": wrapping_key_id}) == 1
    check_wrapping_key(c, wrapping_key_id)
    return added


def put_secret(c: Connection, name: str, sealed: bytes, wrapping_key_id: str) -> None:
    _PUT_SECRET.count(c, {"name": name, "sealed": sealed, "wrapping_key_id": wrapping_key_id})
    check_wrapping_key(c, wrapping_key_id)


def find_secret(c: Connection, name: str) -> SealedSecretRow | None:
    return _FIND_SECRET.find(c, {"name": name})


def get_secret(c: Connection, name: str) -> SealedSecretRow:
    found = find_secret(c, name)
    if found is None:
        raise NotFound(f"there is no secret {name!r}")
    return found


def list_secrets(c: Connection) -> list[SealedSecretRow]:
    return _LIST_SECRETS.all(c)


def rewrap_secret(c: Connection, name: str, old: str, sealed: bytes, new: str) -> bool:
    """Replace the sealed form of a secret; False when it is no longer under the master key `old`."""
    return _REWRAP_SECRET.count(c, {"name": name, "old": old, "sealed": sealed, "new": new}) == 1


def delete_secret(c: Connection, name: str) -> None:
    _DELETE_SECRET.count(c, {"name": name})


def wrapping_key_ids(c: Connection) -> frozenset[str]:
    """The master keys that something in this database is sealed under."""
    rows = c.execute(
        select(key.c.wrapping_key_id)
        .where(key.c.wrapping_key_id.is_not(None))
        .union(
            select(sealed_secret.c.wrapping_key_id),
            select(acme_binding.c.wrapping_key_id).where(acme_binding.c.wrapping_key_id.is_not(None)),
        )
    )
    return frozenset(str(row[0]) for row in rows)
