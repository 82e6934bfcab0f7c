"""CRLs: their numbers, which never come twice, the ones that were made, and the parts they are divided into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import crl, crl_partition, crl_withheld

FULL: Final = -1
"""The `shard` of a full CRL. 0 is that of certificates that name no part, 1 and above are the parts."""


class Part(NamedTuple):
    """Which of an issuer's CRLs: the full one or a part, complete or a delta (RFC 5280 §5.2.4)."""

    shard: int = FULL
    delta: bool = False

    @property
    def complete(self) -> Part:
        return Part(self.shard)

    def __str__(self) -> str:
        whole = "full" if self.shard == FULL else f"part {self.shard}"
        return f"{whole}, delta" if self.delta else whole


FULL_LIST: Final = Part()


@dataclass(frozen=True, slots=True)
class CRLRow:
    """`covers_epoch` is the issuer's status epoch when its entries were read; `base_number` None for a complete one."""

    issuer_id: int
    shard: int
    number: int
    covers_epoch: int
    this_update: int
    next_update: int
    der: bytes
    base_number: int | None = None


class CRLHead(NamedTuple):
    """A CRL without its octets. `status_epoch`: when the status of one of its certificates changed last;
    `located_epoch`: when its part got another URL."""

    number: int
    covers_epoch: int
    this_update: int
    next_update: int
    status_epoch: int
    located_epoch: int = 0


class Base(NamedTuple):
    """What a delta CRL may begin from."""

    number: int
    covers_epoch: int
    next_update: int


class Numbered(NamedTuple):
    number: int
    status_epoch: int


class WithheldRow(NamedTuple):
    """A CRL that was not published, and why. `delta` is 1 or 0."""

    issuer_id: int
    shard: int
    delta: int
    at: int
    reason: str


_NUMBER = Prepared(
    text("UPDATE issuer SET crl_number = crl_number + 1 WHERE id = :id RETURNING crl_number, status_epoch"), Numbered
)
_RAISE_NUMBER = Prepared(text("UPDATE issuer SET crl_number = :number WHERE id = :id AND crl_number < :number"))
_LOCK = Prepared(text("UPDATE issuer SET crl_number = crl_number WHERE id = :id"))
_ADD = Prepared(inserting(crl))
_OF = (crl.c.issuer_id == bindparam("of"), crl.c.shard == bindparam("part"))
_COMPLETE = Prepared(
    select(crl).where(*_OF, crl.c.base_number.is_(None)).order_by(crl.c.number.desc()).limit(1), CRLRow
)
_BASES = Prepared(
    text(
        "SELECT number, covers_epoch, next_update FROM crl WHERE issuer_id = :of AND shard = :part"
        " AND base_number IS NULL ORDER BY number DESC"
    ),
    Base,
)
_SINCE = Prepared(
    select(crl).where(*_OF, crl.c.base_number.is_(None), crl.c.number >= bindparam("number")).order_by(crl.c.number),
    CRLRow,
)
_DELTA = Prepared(
    select(crl).where(*_OF, crl.c.base_number.is_not(None)).order_by(crl.c.number.desc()).limit(1), CRLRow
)
_HEAD_SQL: Final = (
    "SELECT l.number, l.covers_epoch, l.this_update, l.next_update, {epochs} FROM crl l"
    " JOIN issuer i ON i.id = l.issuer_id WHERE l.issuer_id = :of AND l.shard = :part"
    " AND l.base_number IS {delta} NULL ORDER BY l.number DESC LIMIT 1"
)
_OF_ISSUER: Final = "i.status_epoch, 0"
_OF_PART: Final = (
    # No parameter in place of 0: only then may a database use the index of the rows that were changed.
    "coalesce((SELECT max(s.changed_epoch) FROM certificate s"
    " WHERE s.issuer_id = :of AND s.crl_shard = :part AND s.changed_epoch > 0), 0),"
    " coalesce((SELECT max(p.added_epoch) FROM crl_partition p WHERE p.issuer_id = :of AND p.shard = :part), 0)"
)
_HEADS: Final = {
    (of_part, delta): Prepared(
        text(_HEAD_SQL.format(epochs=_OF_PART if of_part else _OF_ISSUER, delta="NOT" if delta else "")), CRLHead
    )
    for of_part in (False, True)
    for delta in (False, True)
}
_PRUNE = {
    delta: Prepared(
        text(
            "DELETE FROM crl WHERE issuer_id = :of AND shard = :part AND number < :keep_from"  # noqa: S608
            f" AND base_number IS {'NOT' if delta else ''} NULL"
        )
    )
    for delta in (False, True)
}
_SIZE = Prepared(
    text(
        "SELECT length(der) FROM crl WHERE issuer_id = :of AND shard = :part AND base_number IS NULL"
        " ORDER BY number DESC LIMIT 1"
    )
)
_KEEP_FROM = {
    delta: Prepared(
        text(
            "SELECT min(number) FROM (SELECT number FROM crl WHERE issuer_id = :of AND shard = :part"  # noqa: S608
            f" AND base_number IS {'NOT' if delta else ''} NULL ORDER BY number DESC LIMIT :keep) AS latest"
        )
    )
    for delta in (False, True)
}
_PARTS: Prepared[tuple[int]] = Prepared(
    text("SELECT DISTINCT shard FROM crl_partition WHERE issuer_id = :of ORDER BY shard")
)
_LOCATIONS: Prepared[tuple[str]] = Prepared(
    select(crl_partition.c.url)
    .where(crl_partition.c.issuer_id == bindparam("of"), crl_partition.c.shard == bindparam("part"))
    .order_by(crl_partition.c.added_epoch, crl_partition.c.url)
)
_IS_LOCATED = Prepared(text("SELECT 1 FROM crl_partition WHERE issuer_id = :of AND shard = :part AND url = :url"))
_EPOCH = Prepared(text("UPDATE issuer SET status_epoch = status_epoch + 1 WHERE id = :id RETURNING status_epoch"))
_LOCATE = Prepared(inserting(crl_partition, ending="ON CONFLICT DO NOTHING"))
_WITHHOLD = Prepared(
    inserting(
        crl_withheld,
        ending="ON CONFLICT (issuer_id, shard, delta) DO UPDATE SET at = excluded.at, reason = excluded.reason",
    )
)
_CLEAR = Prepared(text("DELETE FROM crl_withheld WHERE issuer_id = :of AND shard = :part AND delta = :delta"))
_WITHHELD = Prepared(
    select(crl_withheld).order_by(crl_withheld.c.issuer_id, crl_withheld.c.shard, crl_withheld.c.delta), WithheldRow
)


def next_number(c: Connection, issuer_id: int) -> Numbered:
    """A CRL number that no CRL of this issuer had, full, part or delta (RFC 5280 §5.2.3), and the status epoch its
    entries cover when they are read in a later transaction."""
    found = _NUMBER.find(c, {"id": issuer_id})
    if found is None:
        raise NotFound(f"there is no issuer {issuer_id}")
    return found


def raise_number(c: Connection, issuer_id: int, number: int) -> None:
    """Let the next CRL number be above `number`; never lowers it (an import, a restored backup)."""
    _RAISE_NUMBER.count(c, {"id": issuer_id, "number": number})


def publish(c: Connection, row: CRLRow) -> None:
    """Make a CRL the current one. Raises Conflict when a newer one, or one that covers more, is current already."""
    _LOCK.count(c, {"id": row.issuer_id})
    current = head(c, row.issuer_id, row.shard, row.base_number is not None)
    if current and (current.number >= row.number or current.covers_epoch > row.covers_epoch):
        raise Conflict(f"CRL {row.number} of issuer {row.issuer_id} is older than the current CRL {current.number}")
    _ADD.count(c, {name: getattr(row, name) for name in CRLRow.__slots__})


def current(c: Connection, issuer_id: int, shard: int = FULL, delta: bool = False) -> CRLRow | None:
    key = {"of": issuer_id, "part": shard}
    return (_DELTA if delta else _COMPLETE).find(c, key)


def bases(c: Connection, issuer_id: int, shard: int) -> list[Base]:
    """Complete ones that are kept, the newest first."""
    return _BASES.all(c, {"of": issuer_id, "part": shard})


def complete_since(c: Connection, issuer_id: int, shard: int, number: int) -> list[CRLRow]:
    """The complete ones that are kept, from `number` on, the oldest first."""
    return _SINCE.all(c, {"of": issuer_id, "part": shard, "number": number})


def size(c: Connection, issuer_id: int, shard: int) -> int:
    """Octets of the complete one; 0 when there is none. Cheap, however many they are."""
    return int(_SIZE.scalar(c, {"of": issuer_id, "part": shard}) or 0)


def head(c: Connection, issuer_id: int, shard: int = FULL, delta: bool = False) -> CRLHead | None:
    """Enough to see whether the current CRL is still right; cheap, however large the CRL is."""
    return _HEADS[shard != FULL, delta].find(c, {"of": issuer_id, "part": shard})


def prune(c: Connection, issuer_id: int, keep: int, shard: int = FULL, delta: bool = False) -> int:
    """Remove all but the latest `keep` CRLs; how many went. Other parts' numbers lie between theirs."""
    key = {"of": issuer_id, "part": shard}
    keep_from = _KEEP_FROM[delta].scalar(c, {**key, "keep": keep})
    return 0 if keep_from is None else _PRUNE[delta].count(c, {**key, "keep_from": keep_from})


def current_number(c: Connection, issuer_id: int, shard: int = FULL) -> int:
    """0 when there is no CRL yet."""
    found = head(c, issuer_id, shard)
    return found.number if found else 0


def parts(c: Connection, issuer_id: int) -> list[int]:
    """The parts that certificates of an issuer name."""
    return [shard for (shard,) in _PARTS.all(c, {"of": issuer_id})]


def locations(c: Connection, issuer_id: int, shard: int) -> list[str]:
    """Every URL under which certificates look for a part, the oldest first."""
    return [url for (url,) in _LOCATIONS.all(c, {"of": issuer_id, "part": shard})]


def locate(c: Connection, issuer_id: int, shard: int, url: str) -> None:
    """Remember that a certificate will look for a part under `url`. Its CRL then has to be made anew, because it has
    to name that URL."""
    key = {"of": issuer_id, "part": shard, "url": url}
    if _IS_LOCATED.scalar(c, key) is None:
        epoch = int(_EPOCH.scalar(c, {"id": issuer_id}))
        _LOCATE.count(c, {"issuer_id": issuer_id, "shard": shard, "url": url, "added_epoch": epoch})


def withhold(c: Connection, issuer_id: int, part: Part, at: int, reason: str) -> bool:
    """Remember that a CRL was not published; whether that is news."""
    key = (issuer_id, part.shard, int(part.delta))
    before = next((row for row in withheld(c) if row[:3] == key), None)
    if before is not None and before.reason == reason:
        return False
    _WITHHOLD.count(c, WithheldRow(*key, at, reason)._asdict())
    return True


def clear_withheld(c: Connection, issuer_id: int, part: Part) -> None:
    _CLEAR.count(c, {"of": issuer_id, "part": part.shard, "delta": int(part.delta)})


def withheld(c: Connection) -> list[WithheldRow]:
    """Of every issuer."""
    return _WITHHELD.all(c)
