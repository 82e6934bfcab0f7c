"""A new master key, while everything runs.

The new key joins the old one in the master key file; every row is sealed anew; the old key is retired, so that no
process can store anything more under it; what was stored meanwhile is sealed anew; the old key leaves the file.
Each step is durable before the next begins, and each may be repeated: killed anywhere, the next run finishes.
Running servers read the file again when they meet a row under a key they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.errors import Conflict, Unavailable
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.signing.keyring import Keyring, binding_identity, key_identity, secret_identity
from pkiconf.signing.master import KEY_SIZE, FileSource, MasterKeys, replace_master_key_file
from pkiconf.signing.private_file import alone_with
from pkiconf.steps import Step
from pkiconf.store import wrapping
from pkiconf.store.audit import AuditLog
from pkiconf.store.database import Connection, Database
from pkiconf.store.wrapping import SealedRow

_BATCH: Final = 100
_ADDRESS: Final = "keystore"


@dataclass(frozen=True, slots=True)
class RekeyReport:
    """`new` is the current master key's id, `old` those that nothing is sealed under any more.

    `resumed`: several keys stood in the source already, so an earlier run was finished and no new key made.
    `old_removed`: False when the source is a variable or a command, from which the operator takes them.
    """

    new: str
    old: tuple[str, ...]
    rewrapped: int
    resumed: bool
    old_removed: bool


def rekey(
    db: Database,
    keyring: Keyring,
    new_key_source: Callable[[], bytes],
    *,
    audit: AuditLog,
    actor: Actor,
    now: datetime,
) -> RekeyReport:
    """Move everything that is sealed to a new master key, or finish a move that was begun.

    `new_key_source` gives 32 fresh octets; it is asked only when the source is a file that holds one key. With any
    other source the operator puts the new key before the old one there, and then runs this.

    Raises Unavailable, having changed nothing, when the master keys at hand do not open everything; Conflict when
    another rekey runs, or when there is no new key to move to.
    """
    with _alone(keyring):
        master = keyring.reload()
        for row in db.read(lambda c: list(_all_sealed(c))):
            unseal_row(keyring, row)
        resumed = len(master.keys) > 1
        if not resumed:
            master = _add_key(keyring, master, new_key_source)
        _check_not_retired(db, master)
        rewrapped = _rewrap_all(db, keyring)
        _retire(db, master, audit, actor, now)
        # What others stored between the two; from here on they cannot.
        rewrapped += _rewrap_all(db, keyring)
        removed = _drop_old_keys(keyring, master)
        return RekeyReport(master.current_id, master.ids[1:], rewrapped, resumed, removed)


def unseal_row(keyring: Keyring, row: SealedRow) -> Secret:
    """What a row of `key`, `sealed_secret` or `acme_binding` holds. Raises Unavailable as `Keyring.unseal` does."""
    return keyring.unseal(_identity(row), row.sealed, row.wrapping_key_id)


def _alone(keyring: Keyring) -> AbstractContextManager[None]:
    source = keyring.master.source
    return alone_with(source.path) if isinstance(source, FileSource) else nullcontext()


def _all_sealed(c: Connection) -> Iterator[SealedRow]:
    yield from wrapping.find_sealed_secrets(c)
    yield from wrapping.list_sealed_bindings(c)
    after = 0
    while rows := wrapping.find_sealed(c, after=after, limit=_BATCH):
        yield from rows
        after = rows[-1].id or 0


def _add_key(keyring: Keyring, master: MasterKeys, new_key_source: Callable[[], bytes]) -> MasterKeys:
    if not isinstance(master.source, FileSource):
        raise Conflict(
            f"{master.source} gives one key only",
            "Let it give the new key first and the present one after it, on every host; then run this again",
        )
    new = Secret(new_key_source())
    if len(new.reveal()) != KEY_SIZE:
        raise ValueError(f"a master key has {KEY_SIZE} octets")
    if any(key.matches(new.reveal()) for key in master.keys):
        raise Conflict("the new master key is the present one", "Give another")
    replace_master_key_file(master.source.path, (new, *master.keys))
    return keyring.reload()


def _check_not_retired(db: Database, master: MasterKeys) -> None:
    if db.read(lambda c: wrapping.is_retired(c, master.current_id)):
        raise Conflict(
            f"master key {master.current_id} was replaced by another earlier, and is never used again",
            f"Take it out of {master.source}, or put a new one first",
        )


def _rewrap_all(db: Database, keyring: Keyring) -> int:
    """Seal anew what is under another key than the current one. Nothing is unsealed inside a transaction."""
    current = keyring.master.current_id
    done = 0
    while rows := db.read(lambda c: _next_batch(c, current)):
        fresh = [(row, keyring.rewrap(_identity(row), row.sealed, row.wrapping_key_id)) for row in rows]
        if any(sealed.wrapping_key_id != current for _, sealed in fresh):
            raise Conflict("the master keys changed while everything was sealed anew", "Run this again")
        done += db.write(
            Step.KEYSTORE_REWRAP,
            lambda c, fresh=fresh: sum(  # type: ignore[misc]
                wrapping.rewrap(c, row, sealed.blob, sealed.wrapping_key_id) for row, sealed in fresh
            ),
        )
    return done


def _next_batch(c: Connection, current: str) -> list[SealedRow]:
    return (
        wrapping.find_sealed_secrets(c, other_than=current)
        or wrapping.find_sealed(c, other_than=current, limit=_BATCH)
        or wrapping.find_sealed_bindings(c, other_than=current, limit=_BATCH)
    )


def _retire(db: Database, master: MasterKeys, audit: AuditLog, actor: Actor, now: datetime) -> None:
    old, new = master.ids[1:], master.current_id

    def write(c: Connection) -> None:
        fresh = [key_id for key_id in old if not wrapping.is_retired(c, key_id)]
        for key_id in fresh:
            wrapping.retire_wrapping_key(c, key_id, new)
        if fresh:
            audit.record(c, now, actor, "keystore.rekey", _ADDRESS, {"from": sorted(fresh), "to": new})

    db.write(Step.KEYSTORE_REWRAP, write)


def _drop_old_keys(keyring: Keyring, master: MasterKeys) -> bool:
    if not isinstance(master.source, FileSource):
        return False
    # Only what this run saw is dropped: should another key stand there now, something is amiss.
    if keyring.reload().ids != master.ids:
        raise Unavailable(f"{master.source} was changed meanwhile", "Look at it, and run this again")
    replace_master_key_file(master.source.path, master.keys[:1])
    keyring.reload()
    return True


def _identity(row: SealedRow) -> str:
    if row.key_id is not None:
        return binding_identity(row.key_id)
    if row.spki_sha256 is not None:
        return key_identity(row.spki_sha256)
    assert row.name is not None
    return secret_identity(row.name)
