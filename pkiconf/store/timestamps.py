"""Tokens that were made: their hashes, serial numbers and times, or only how many there were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import timestamp_token

_TIME_OCTETS: Final = 7
_DAY: Final = 86_400_000_000  # microseconds
_LATEST: Final = (1 << 8 * _TIME_OCTETS) - 1


class StampingRow(NamedTuple):
    """Who answers under a slug. `generation` counts the writes of the authority's declaration."""

    authority_id: int
    generation: int
    lifecycle: str
    issuer_id: int
    status_epoch: int


class TokenRow(NamedTuple):
    """`at` is in microseconds since 1970."""

    authority_id: int
    serial: bytes
    at: int
    protocol: str
    digest: str
    hash: bytes


_STAMPING: Final = Prepared(
    text(
        "SELECT a.id, a.generation, a.lifecycle, i.id, i.status_epoch"
        " FROM authority a JOIN issuer i ON i.id = a.current_issuer_id WHERE a.slug = :slug"
    ),
    StampingRow,
)
_ADD: Final = Prepared(inserting(timestamp_token))
_NEXT: Final = Prepared(
    text(
        "INSERT INTO timestamp_clock (authority_id, at) VALUES (:of, :last) ON CONFLICT (authority_id) DO UPDATE"
        " SET at = CASE WHEN timestamp_clock.at < :now THEN excluded.at ELSE timestamp_clock.at + :more END"
        " RETURNING at"
    )
)
_PASS: Final = Prepared(
    text(
        "INSERT INTO timestamp_clock (authority_id, at) VALUES (:of, :now) ON CONFLICT (authority_id) DO UPDATE"
        " SET at = excluded.at WHERE timestamp_clock.at < excluded.at"
    )
)
_COUNT_MORE: Final = Prepared(
    text(
        "INSERT INTO timestamp_count (authority_id, day, number) VALUES (:of, :day, :number)"
        " ON CONFLICT (authority_id, day) DO UPDATE SET number = timestamp_count.number + excluded.number"
    )
)
_LAST: Final = Prepared(text("SELECT at FROM timestamp_token WHERE authority_id = :of ORDER BY serial DESC LIMIT 1"))
_CLOCK: Final = Prepared(text("SELECT at FROM timestamp_clock WHERE authority_id = :of"))
_RANGE: Final = " FROM timestamp_token WHERE authority_id = :of AND serial >= :from AND serial < :until"
_HOW_MANY: Final = Prepared(text("SELECT count(*)" + _RANGE))
_COUNTED: Final = Prepared(
    text(
        "SELECT coalesce(sum(number), 0) FROM timestamp_count"
        " WHERE authority_id = :of AND day >= :from AND day < :until"
    )
)
_PAGE: Final = Prepared(
    text(
        "SELECT authority_id, serial, at, protocol, digest, hash"
        + _RANGE
        + " AND serial > :after ORDER BY serial LIMIT :most"
    ),
    TokenRow,
)


def find_stamping(c: Connection, slug: str) -> StampingRow | None:
    """None for an authority that is not there, or has no certificate yet."""
    return _STAMPING.find(c, {"slug": slug})


def serial_at(moment: int, random: bytes = b"") -> bytes:
    """The octets of a serial number: first the time, so that rows lie in the order in which they are made, then
    `random` ones, so that nobody repeats a number whatever the clock says. Positive until the year 3111."""
    return moment.to_bytes(_TIME_OCTETS) + random


def add_tokens(c: Connection, rows: Iterable[TokenRow]) -> None:
    _ADD.many(c, (row._asdict() for row in rows))


def next_moments(c: Connection, authority_id: int, now: int, number: int) -> int:
    """The first of so many microseconds, one behind the other: `now`, or the first that is behind all that were handed
    out."""
    last = _NEXT.scalar(c, {"of": authority_id, "now": now, "last": now + number - 1, "more": number})
    return int(last) - number + 1


def count_more(c: Connection, authority_id: int, more: Mapping[int, int], now: int) -> None:
    """So many tokens more (or fewer, when negative) on each of some days since 1970; `now` is stamped, or is about to
    be."""
    # In the same order everywhere, the clock last: each locks a row.
    for day, number in sorted(more.items()):
        _COUNT_MORE.count(c, {"of": authority_id, "day": day, "number": number})
    _PASS.count(c, {"of": authority_id, "now": now})


def day_of(moment: int) -> int:
    return moment // _DAY


def latest(c: Connection, authority_id: int) -> int:
    """The latest moment that a token may say; 0 where there is none."""
    found = (_LAST.scalar(c, {"of": authority_id}), _CLOCK.scalar(c, {"of": authority_id}))
    return max((int(at) for at in found if at is not None), default=0)


def count(c: Connection, authority_id: int, since: int = 0, until: int = _LATEST) -> tuple[int, int]:
    """How many tokens are recorded one by one, and how many days' counts say besides; moments in microseconds."""
    limits = {"of": authority_id, "from": serial_at(since), "until": serial_at(until)}
    days = {"of": authority_id, "from": day_of(since), "until": day_of(until - 1) + 1}
    return int(_HOW_MANY.scalar(c, limits)), int(_COUNTED.scalar(c, days))


def page(
    c: Connection, authority_id: int, since: int = 0, until: int = _LATEST, after: bytes = b"", most: int = 1000
) -> list[TokenRow]:
    """In the order in which they were made, those behind the serial `after`."""
    values = {"of": authority_id, "from": serial_at(since), "until": serial_at(until), "after": after, "most": most}
    return _PAGE.all(c, values)
