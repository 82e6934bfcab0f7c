"""What was stamped, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pkiconf.issuance.parts import Parts
from pkiconf.store import authorities, timestamps
from pkiconf.store.database import Connection

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EVER: Final = datetime(3000, 1, 1, tzinfo=UTC)
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Token:
    """`protocol` is `rfc3161` or `authenticode`; `hash` is by `digest`."""

    serial_number: int
    at: datetime
    protocol: str
    digest: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Total:
    """`recorded` one by one; `counted` besides, day by day, where only the number is kept."""

    recorded: int
    counted: int


@dataclass(frozen=True, slots=True)
class TimestampRecords:
    parts: Parts

    def count(self, authority: str, since: datetime = _EPOCH, until: datetime = _EVER) -> Total:
        """Of whole days in UTC where only the number is kept. Raises NotFound."""

        def read(c: Connection) -> tuple[int, int]:
            row = authorities.get_authority_by_name(c, authority)
            return timestamps.count(c, row.id, _microseconds(since), _microseconds(until))

        return Total(*self.parts.db.read(read))

    def tokens(self, authority: str, since: datetime = _EPOCH, until: datetime = _EVER) -> Iterator[Token]:
        """In the order in which they were made. Raises NotFound."""
        number = self.parts.db.read(lambda c: authorities.get_authority_by_name(c, authority).id)
        limits, after = (_microseconds(since), _microseconds(until)), b""
        while rows := self._page(number, *limits, after):
            yield from map(_token, rows)
            after = rows[-1].serial

    def _page(self, authority_id: int, since: int, until: int, after: bytes) -> list[timestamps.TokenRow]:
        return self.parts.db.read(lambda c: timestamps.page(c, authority_id, since, until, after, _PAGE))


def _token(row: timestamps.TokenRow) -> Token:
    at = _EPOCH + row.at * _MICROSECOND
    return Token(int.from_bytes(row.serial), at, row.protocol, row.digest, row.hash)


def _microseconds(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // _MICROSECOND)
