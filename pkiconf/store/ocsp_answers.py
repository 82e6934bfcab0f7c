"""OCSP answers that were signed ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select, text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import ocsp_answer


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """`changed_epoch` is the certificate's when this was signed: true for as long as it still is that."""

    issuer_id: int
    serial: bytes
    hash_algorithm: str
    changed_epoch: int
    responder_serial: bytes
    produced_at: int
    next_update: int
    response_data: bytes
    signature: bytes


class Unanswered(NamedTuple):
    """A certificate that has no answer, or one that is old or no longer true."""

    serial: bytes
    status: str
    reason: int | None
    revoked_at: int | None
    changed_epoch: int


class Wish(NamedTuple):
    """Which answers are wanted: true ones by this responder, produced at `older_than` or later."""

    issuer_id: int
    hash_algorithm: str
    responder: bytes
    now: int
    older_than: int


_KEY: Final = ("issuer_id", "serial", "hash_algorithm")
_REPLACED: Final = ", ".join(f"{c.name} = excluded.{c.name}" for c in ocsp_answer.columns if c.name not in _KEY)
_PUT = Prepared(
    # A slower process must not put back what was true before.
    inserting(
        ocsp_answer,
        ending=f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {_REPLACED}"
        " WHERE ocsp_answer.changed_epoch <= excluded.changed_epoch",
    )
)
_FIND = Prepared(
    select(ocsp_answer).where(
        ocsp_answer.c.issuer_id == bindparam("of"),
        ocsp_answer.c.serial == bindparam("number"),
        ocsp_answer.c.hash_algorithm == bindparam("algorithm"),
    ),
    AnswerRow,
)
_UNANSWERED = Prepared(
    text(
        "SELECT s.serial, s.status, s.reason, s.revoked_at, s.changed_epoch FROM certificate s"
        " LEFT JOIN ocsp_answer a ON a.issuer_id = s.issuer_id AND a.serial = s.serial"
        " AND a.hash_algorithm = :algorithm"
        " WHERE s.issuer_id = :of AND s.serial > :after AND s.not_after >= :now AND s.status <> 'reserved'"
        " AND (a.serial IS NULL OR a.produced_at < :older_than OR a.changed_epoch <> s.changed_epoch"
        " OR a.responder_serial <> :responder) ORDER BY s.serial LIMIT :most"
    ),
    Unanswered,
)
_OLDEST = Prepared(text("SELECT min(produced_at) FROM ocsp_answer WHERE issuer_id = :of"))
_FORGET = Prepared(
    text(
        "DELETE FROM ocsp_answer WHERE issuer_id = :of AND serial IN (SELECT serial FROM certificate"
        " WHERE issuer_id = :of AND not_after < :now)"
    )
)
_FORGET_ALL = Prepared(text("DELETE FROM ocsp_answer WHERE issuer_id = :of"))


def put(c: Connection, rows: Sequence[AnswerRow]) -> None:
    """In place of older answers about the same certificates."""
    _PUT.many(c, [{name: getattr(row, name) for name in AnswerRow.__slots__} for row in rows])


def find(c: Connection, issuer_id: int, serial: bytes, hash_algorithm: str) -> AnswerRow | None:
    return _FIND.find(c, {"of": issuer_id, "number": serial, "algorithm": hash_algorithm})


def unanswered(c: Connection, wish: Wish, *, after: bytes, limit: int) -> list[Unanswered]:
    """Certificates behind the serial number `after` that have not ended and have no such answer, by serial number."""
    return _UNANSWERED.all(
        c,
        {
            "of": wish.issuer_id,
            "algorithm": wish.hash_algorithm,
            "after": after,
            "now": wish.now,
            "older_than": wish.older_than,
            "responder": wish.responder,
            "most": limit,
        },
    )


def oldest(c: Connection, issuer_id: int) -> int | None:
    """When the oldest answer was produced; None where there is none."""
    found: Any = _OLDEST.scalar(c, {"of": issuer_id})
    return None if found is None else int(found)


def forget_ended(c: Connection, issuer_id: int, now: int) -> int:
    """Remove answers about certificates that have ended; how many."""
    return _FORGET.count(c, {"of": issuer_id, "now": now})


def forget_all(c: Connection, issuer_id: int) -> int:
    return _FORGET_ALL.count(c, {"of": issuer_id})
