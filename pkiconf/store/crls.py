"""CRLs: their numbers, which never come twice, and the ones that were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import crl

FULL: Final = -1
"""The `shard` of a full CRL."""


@dataclass(frozen=True, slots=True)
class CRLRow:
    """`covers_epoch` is the issuer's status epoch when its entries were read."""

    issuer_id: int
    shard: int
    number: int
    covers_epoch: int
    this_update: int
    next_update: int
    der: bytes


class CRLHead(NamedTuple):
    """A CRL without its octets, and the issuer's present `status_epoch`."""

    number: int
    covers_epoch: int
    this_update: int
    next_update: int
    status_epoch: int


class Numbered(NamedTuple):
    number: int
    status_epoch: int


_NUMBER = Prepared(
    text("UPDATE issuer SET crl_number = crl_number + 1 WHERE id = :id RETURNING crl_number, status_epoch"), Numbered
)
_RAISE_NUMBER = Prepared(text("UPDATE issuer SET crl_number = :number WHERE id = :id AND crl_number < :number"))
_LOCK = Prepared(text("UPDATE issuer SET crl_number = crl_number WHERE id = :id"))
_ADD = Prepared(inserting(crl))
_OF = (crl.c.issuer_id == bindparam("of"), crl.c.shard == bindparam("part"))
_CURRENT = Prepared(select(crl).where(*_OF).order_by(crl.c.number.desc()).limit(1), CRLRow)
_HEAD = Prepared(
    text(
        "SELECT l.number, l.covers_epoch, l.this_update, l.next_update, i.status_epoch FROM crl l"
        " JOIN issuer i ON i.id = l.issuer_id WHERE l.issuer_id = :of AND l.shard = :part"
        " ORDER BY l.number DESC LIMIT 1"
    ),
    CRLHead,
)
_PRUNE = Prepared(text("DELETE FROM crl WHERE issuer_id = :of AND shard = :part AND number < :keep_from"))


def next_number(c: Connection, issuer_id: int) -> Numbered:
    """A CRL number that no CRL of this issuer had (RFC 5280 §5.2.3), and the status epoch its entries cover when
    they are read in a later transaction."""
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
    current = head(c, row.issuer_id, row.shard)
    if current and (current.number >= row.number or current.covers_epoch > row.covers_epoch):
        raise Conflict(f"CRL {row.number} of issuer {row.issuer_id} is older than the current CRL {current.number}")
    _ADD.count(c, {name: getattr(row, name) for name in CRLRow.__slots__})


def current(c: Connection, issuer_id: int, shard: int = FULL) -> CRLRow | None:
    return _CURRENT.find(c, {"of": issuer_id, "part": shard})


def head(c: Connection, issuer_id: int, shard: int = FULL) -> CRLHead | None:
    """Enough to see whether the current CRL is still right; cheap, however large the CRL is."""
    return _HEAD.find(c, {"of": issuer_id, "part": shard})


def prune(c: Connection, issuer_id: int, keep: int, shard: int = FULL) -> int:
    """Remove all but the latest `keep` CRLs; how many went."""
    newest = current_number(c, issuer_id, shard)
    return _PRUNE.count(c, {"of": issuer_id, "part": shard, "keep_from": newest - keep + 1})


def current_number(c: Connection, issuer_id: int, shard: int = FULL) -> int:
    """0 when there is no CRL yet."""
    found = head(c, issuer_id, shard)
    return found.number if found else 0
