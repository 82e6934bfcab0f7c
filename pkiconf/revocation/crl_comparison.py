"""What a new CRL is compared with before it is signed: the one it follows, and the database.

A list that leaves out what the list before it held is how revoked certificates come back to life. So every line that
is gone must have a reason, found in the certificate's own row; otherwise the new list is withheld.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import filterfalse, islice
from typing import Final

from pkiconf.der.crl import parse_crl
from pkiconf.der.crl_entries import encode_crl_entries, parse_crl_entry, serial_of_entry
from pkiconf.errors import Conflict
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.store import certificates, crls, inventory
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.crls import FULL, CRLRow, Part
from pkiconf.store.database import Connection

_MOST_NAMED: Final = 5


class Withheld(Conflict):
    """The CRL contradicts the one before it, or the database, and was not published."""


@dataclass(frozen=True, slots=True)
class NewList:
    """Lines that are about to be signed; `shown_since`: certificates that ended before this time, on a list or not,
    were on one issued beyond their end."""

    issuer_id: int
    part: Part
    entries: list[bytes]
    shown_since: int

    @property
    def shard(self) -> int | None:
        return None if self.part.shard == FULL else self.part.shard


@dataclass(frozen=True, slots=True)
class NewDelta:
    """What a delta that is about to be signed lists, and the serials that it takes off the list. `base` is the number
    of the complete list that it begins from; what ended before `ended` need not be listed."""

    issuer_id: int
    part: Part
    base: int
    entries: list[bytes]
    removed: list[bytes]
    ended: int


def check_new_list(c: Connection, new: NewList, before: CRLRow | None, delta: CRLRow | None = None) -> None:
    """Raises Withheld when a line of `before`, or of a later delta, is gone without a reason, or the database knows
    other lines than `new`.

    To be called in the view of the database in which the lines were read.
    """
    known = inventory.count_revoked(c, new.issuer_id, new.shown_since, new.shard)
    if known != len(new.entries):
        raise Withheld(f"the list holds {len(new.entries)} certificates, the database {known}")
    if before is None:
        return
    listed = frozenset(new.entries)
    if len(listed) != known:
        raise Withheld("the list holds a certificate twice")
    _check_gone(c, new, listed, before, parse_crl(before.der).encoded_entries)
    if delta is not None and delta.number > before.number:
        _check_gone(c, new, listed, delta, _revocations(delta))
    changed = inventory.changed(c, new.issuer_id, before.covers_epoch, new.shard)
    missing = (row.serial for row in changed if row.status in inventory.REVOKED and not _is_listed(new, listed, row))
    _tell(before, missing, "leave out")


def _check_gone(c: Connection, new: NewList, listed: frozenset[bytes], told: CRLRow, entries: Iterable[bytes]) -> None:
    """Raises Withheld when one of the lines that were told is gone without a reason."""
    gone = filterfalse(listed.__contains__, entries)
    _tell(told, (serial_of_entry(entry) for entry in gone if not _may_go(c, new, listed, entry)), "drop")


def check_new_delta(c: Connection, new: NewDelta, before: CRLRow | None) -> None:
    """Raises Withheld when a revocation of the delta `before` is gone without a reason, or a certificate that was not
    on hold would be taken off the list. To be called in the view of the database in which the lines were read."""
    listed = frozenset(new.entries)
    gone = [entry for entry in _revocations(before) if entry not in listed] if before else []
    removed = {_plain(serial) for serial in new.removed}
    if before is not None and gone:
        base = crls.complete_since(c, new.issuer_id, new.part.shard, new.base)[0]
        wanted = {serial_of_entry(entry) for entry in gone}
        standing = {entry for entry in parse_crl(base.der).encoded_entries if serial_of_entry(entry) in wanted}
        stays = NewList(new.issuer_id, new.part, [], min(base.this_update, new.ended))
        lost = (serial_of_entry(entry) for entry in gone if not _may_go(c, stays, listed | standing, entry))
        _tell(before, lost, "drop", delta=True)
    lists = _last_first(c, new, before)
    while removed and (row := next(lists, None)) is not None:  # what the last one says that names it
        entries = parse_crl(row.der).encoded_entries
        named = {serial: entry for entry in entries if (serial := serial_of_entry(entry)) in removed}
        _tell(row, (serial for serial, entry in named.items() if not _is_removable(entry)), "remove", delta=True)
        removed -= named.keys()


def _last_first(c: Connection, new: NewDelta, before: CRLRow | None) -> Iterator[CRLRow]:
    """The delta before, and the complete lists that the new one goes with. These may be long, and are mostly older."""
    head = crls.head(c, new.issuer_id, new.part.shard)
    first = before is not None and (head is None or head.number < before.number)
    if before is not None and first:
        yield before
    rows = crls.complete_since(c, new.issuer_id, new.part.shard, new.base)
    yield from sorted((*rows, before) if before and not first else rows, key=lambda row: row.number, reverse=True)


def _revocations(delta: CRLRow) -> Iterator[bytes]:
    """Its lines, without those that take a certificate off the list."""
    entries = parse_crl(delta.der).encoded_entries
    return (entry for entry in entries if not parse_crl_entry(entry, in_delta=True).removed)


def _is_removable(entry: bytes) -> bool:
    said = parse_crl_entry(entry, in_delta=True)
    return said.removed or said.reason is RevocationReason.CERTIFICATE_HOLD


def _plain(serial: bytes) -> bytes:
    return serial.lstrip(b"\0") or b"\0"


def _may_go(c: Connection, new: NewList, listed: frozenset[bytes], entry: bytes) -> bool:
    row = certificates.find(c, new.issuer_id, serial_of_entry(entry))
    if row is None or (new.shard is not None and row.crl_shard != new.shard):
        return False
    if row.status in inventory.REVOKED:
        return _is_listed(new, listed, row)
    return row.status == CertificateStatus.GOOD and parse_crl_entry(entry).reason is RevocationReason.CERTIFICATE_HOLD


def _is_listed(new: NewList, listed: frozenset[bytes], row: CertificateRow | inventory.ChangedRow) -> bool:
    """Also one that need not be any more (RFC 5280 §3.3)."""
    revoked_at = row.revoked_at or 0
    if row.not_after < new.shown_since and revoked_at < new.shown_since:
        return True
    (line,) = encode_crl_entries([(row.serial, revoked_at, row.reason, row.invalidity_at)])
    return line in listed


def _tell(before: CRLRow, serials: Iterator[bytes], what: str, *, delta: bool = False) -> None:
    named = list(islice(serials, _MOST_NAMED + 1))
    if named:
        shown = ", ".join([serial.hex() for serial in named[:_MOST_NAMED]] + ["others"] * bool(named[_MOST_NAMED:]))
        raise Withheld(
            f"it would {what} {shown}, which CRL {before.number} or a revocation after it says to be revoked",
            f"Find out who changed the database. `pkiconf crl make {'--delta ' if delta else ''}--accept-dropped`"
            " publishes the list as it is",
        )
