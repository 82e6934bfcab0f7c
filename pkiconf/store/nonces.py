"""Which nonces were redeemed (RFC 8555 §6.5): the only thing about them that is ever written down.

What is written here need not survive the machine, but must not be half remembered: everything belongs to an *epoch*,
four random octets that stand in each nonce, and whatever might have lost a row ends the epoch. PostgreSQL keeps both
in unlogged tables, which a crash of the server empties together. Beside an SQLite database they have a file of their
own (`redemptions`).
"""

from __future__ import annotations

import secrets
from typing import Final, Protocol

from sqlalchemy import text

from pkiconf.errors import Unavailable
from pkiconf.store.database import Database
from pkiconf.store.postgresql import PostgreSQLDatabase
from pkiconf.store.prepared import Prepared
from pkiconf.store.redemptions import SideFile

EPOCH_SIZE: Final = 4


class Ledger(Protocol):
    """`value` is whatever identifies a nonce within its epoch and begins with its expiry, four octets, big-endian:
    so that what is written together lies together, and what has expired is one range."""

    def epoch(self) -> bytes:
        """The running epoch. Raises Unavailable."""
        ...

    def redeem(self, epoch: bytes, value: bytes) -> bool:
        """True once for each value, whoever asks; False ever after, and when its epoch is over. Raises Unavailable."""
        ...

    def prune(self, before: int) -> int:
        """Forget what expired before that moment (epoch seconds), and never again accept any of it, whatever a clock
        says; how many there were. Raises Unavailable."""
        ...

    def close(self) -> None: ...


def open_ledger(db: Database, boot: str | None) -> Ledger:
    """Nothing is opened or made before it is needed. `boot` names the time since the machine was started, None where
    it cannot be known."""
    if isinstance(db, PostgreSQLDatabase):
        return PostgreSQLLedger(db)
    assert db.path is not None
    return SideFile(db.path.parent, boot)


_BEGIN: Final = Prepared(
    text("INSERT INTO acme_nonce_epoch (id, epoch, floor) VALUES (1, :epoch, :floor) ON CONFLICT DO NOTHING")
)
_EPOCH: Final = Prepared(text("SELECT epoch FROM acme_nonce_epoch WHERE id = 1"))
_REDEEM: Final = Prepared(
    text(
        "INSERT INTO acme_nonce (value)"
        " SELECT :value FROM acme_nonce_epoch WHERE id = 1 AND epoch = :epoch AND floor <= :value"
        " ON CONFLICT DO NOTHING"
    )
)
_RAISE_FLOOR: Final = Prepared(text("UPDATE acme_nonce_epoch SET floor = :floor WHERE id = 1 AND floor < :floor"))
_PRUNE: Final = Prepared(text("DELETE FROM acme_nonce WHERE value < :floor"))


class PostgreSQLLedger:
    def __init__(self, db: PostgreSQLDatabase) -> None:
        self._db = db
        self._known: bytes | None = None

    def epoch(self) -> bytes:
        if self._known is None:
            self._known = self._read()
        return self._known

    def redeem(self, epoch: bytes, value: bytes) -> bool:
        taken = self._db.jot(lambda c: _REDEEM.count(c, {"epoch": epoch, "value": value})) == 1
        if not taken:
            # Used before, or the server has crashed meanwhile: the next nonce has to be one of the new epoch.
            self._known = self._read()
        return taken

    def prune(self, before: int) -> int:
        floor = before.to_bytes(4, "big")
        self._db.jot(lambda c: _RAISE_FLOOR.count(c, {"floor": floor}))
        return self._db.jot(lambda c: _PRUNE.count(c, {"floor": floor}))

    def close(self) -> None:
        self._known = None

    def _read(self) -> bytes:
        for _ in range(10):
            found = self._db.look(_EPOCH.scalar)
            if found is not None:
                return bytes(found)
            self._db.jot(lambda c: _BEGIN.count(c, {"epoch": secrets.token_bytes(EPOCH_SIZE), "floor": b""}))
        raise Unavailable("the database forgets the epoch of nonces as soon as it is written")
