"""OCSP answers that were signed ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select, text, tuple_

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
    """A certificate that has no answer, or one that is old, from the future or no longer true."""

    serial: bytes
    status: str
    reason: int | None
    revoked_at: int | None
    changed_epoch: int


class Wish(NamedTuple):
    """Which answers are wanted: true ones by this responder, produced at `older_than` or later, at `newer_than` or
    before: clocks are set back."""

    issuer_id: int
    hash_algorithm: str
    responder: bytes
    now: int
    older_than: int
    newer_than: int


class Range(NamedTuple):
    """Serial numbers behind `after`, up to `until`."""

    after: bytes
    until: bytes


LAST_SERIAL: Final = b"\xff" * 20
WHOLE: Final = Range(b"", LAST_SERIAL)

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
        " WHERE s.issuer_id = :of AND s.serial > :after AND s.serial <= :until AND s.not_after >= :now"
        " AND s.status <> 'reserved' AND (a.serial IS NULL OR a.produced_at < :older_than"
        " OR a.produced_at > :newer_than OR a.changed_epoch <> s.changed_epoch"
        " OR a.responder_serial <> :responder) ORDER BY s.serial LIMIT :most"
    ),
    Unanswered,
)
_OLDEST = Prepared(text("SELECT min(produced_at) FROM ocsp_answer WHERE issuer_id = :of"))
_NEWEST = Prepared(text("SELECT max(produced_at) FROM ocsp_answer WHERE issuer_id = :of"))
_REACH = Prepared(
    text(
        "SELECT serial FROM certificate WHERE issuer_id = :of AND serial > :after ORDER BY serial LIMIT 1 OFFSET :most"
    )
)
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


def unanswered(c: Connection, wish: Wish, within: Range, limit: int) -> list[Unanswered]:
    """Certificates of a range that have not ended and have no such answer, by serial number."""
    return _UNANSWERED.all(
        c,
        {
            "of": wish.issuer_id,
            "algorithm": wish.hash_algorithm,
            "after": within.after,
            "until": within.until,
            "now": wish.now,
            "older_than": wish.older_than,
            "newer_than": wish.newer_than,
            "responder": wish.responder,
            "most": limit,
        },
    )


def oldest(c: Connection, issuer_id: int) -> int | None:
    """When the oldest answer was produced; None where there is none."""
    found: Any = _OLDEST.scalar(c, {"of": issuer_id})
    return None if found is None else int(found)


def newest(c: Connection, issuer_id: int) -> int | None:
    """When the newest answer was produced; None where there is none."""
    found: Any = _NEWEST.scalar(c, {"of": issuer_id})
    return None if found is None else int(found)


def reach(c: Connection, issuer_id: int, after: bytes, most: int) -> Range:
    """The next `most` certificates and one behind the serial number `after`; up to the last where there are fewer."""
    found: Any = _REACH.scalar(c, {"of": issuer_id, "after": after, "most": most})
    return Range(after, LAST_SERIAL if found is None else bytes(found))


def forget_other_hashes(c: Connection, issuer_id: int, wanted: Sequence[str], limit: int) -> int:
    """Remove at most `limit` answers whose hash is none of `wanted`; how many."""
    key = tuple_(*(ocsp_answer.c[name] for name in _KEY))
    others = (
        select(*(ocsp_answer.c[name] for name in _KEY))
        .where(ocsp_answer.c.issuer_id == issuer_id, ocsp_answer.c.hash_algorithm.not_in(wanted))
        .limit(limit)
    )
    return int(c.execute(delete(ocsp_answer).where(key.in_(others))).rowcount)


def forget_ended(c: Connection, issuer_id: int, now: int) -> int:
    """Remove answers about certificates that have ended; how many."""
    return _FORGET.count(c, {"of": issuer_id, "now": now})


def forget_all(c: Connection, issuer_id: int) -> int:
    return _FORGET_ALL.count(c, {"of": issuer_id})
