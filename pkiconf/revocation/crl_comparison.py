"""What a new CRL is compared with before it is signed: the one it follows, and the database.

A list that leaves out what the list before it held is how revoked certificates come back to life. So every line that
is gone must have a reason: a hold that was released, or the end of the certificate, which is read in the certificate
itself. Otherwise the new list is withheld. Nor does a hold take the place of a final revocation: it could be released.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import filterfalse, islice
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import parse_not_after
from pkiconf.der.crl import parse_crl
from pkiconf.der.crl_entries import encode_crl_entries, parse_crl_entry, serial_of_entry
from pkiconf.errors import Conflict, Malformed
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.store import certificates, crls, inventory, precertificates
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
    """Raises Withheld when a line of `before`, or of a later delta, is gone without a reason, or what was revoked since
    does not stand in `new`.

    To be called in the view of the database in which the lines were read.
    """
    # By the condition by which they were read: it shows that each row found became a line and, with the next check,
    # one of its own. Whether the right rows were found is shown by the list before and what has changed since.
    known = inventory.count_revoked(c, new.issuer_id, new.shown_since, new.shard)
    if known != len(new.entries):
        raise Withheld(f"the list holds {len(new.entries)} certificates, the database {known}")
    if before is None:
        if delta is not None:
            raise Withheld(
                f"delta CRL {delta.number} goes with a complete list, of which the database has none",
                "Find out who changed the database. `pkiconf crl make --accept-dropped` publishes the list as it is",
            )
        return
    listed = frozenset(new.entries)
    if len(listed) != known:
        raise Withheld("the list holds a certificate twice")
    _check_gone(c, new, listed, before, parse_crl(before.der).encoded_entries)
    if delta is not None and delta.number > before.number:
        _check_gone(c, new, listed, delta, _revocations(delta))
    changed = inventory.changed(c, new.issuer_id, before.covers_epoch, new.shard)
    missing = (row.serial for row in changed if row.status in inventory.REVOKED and not _is_listed(c, new, listed, row))
    _tell(before, missing, "leave out")


def _check_gone(c: Connection, new: NewList, listed: frozenset[bytes], told: CRLRow, entries: Iterable[bytes]) -> None:
    """Raises Withheld when one of the lines that were told is gone without a reason."""
    gone = filterfalse(listed.__contains__, entries)
    _tell(told, (serial_of_entry(entry) for entry in gone if not _may_go(c, new, listed, entry)), "drop")


def check_new_delta(c: Connection, new: NewDelta, before: CRLRow | None) -> None:
    """Raises Withheld when a revocation of the delta `before` is gone without a reason, or a certificate that was
    revoked for good would be taken off the list, or be on hold. To be called in the view of the database in which the
    lines were read."""
    listed = frozenset(new.entries)
    told = dict.fromkeys(_revocations(before) if before else ())
    gone = [entry for entry in told if entry not in listed]
    undone = {_plain(serial) for serial in new.removed}
    undone.update(serial_of_entry(entry) for entry in new.entries if entry not in told and _is_hold(entry))
    if before is not None and gone:
        base = crls.complete_since(c, new.issuer_id, new.part.shard, new.base)[0]
        wanted = {serial_of_entry(entry) for entry in gone}
        standing = {entry for entry in parse_crl(base.der).encoded_entries if serial_of_entry(entry) in wanted}
        stays = NewList(new.issuer_id, new.part, [], min(base.this_update, new.ended))
        lost = (serial_of_entry(entry) for entry in gone if not _may_go(c, stays, listed | standing, entry))
        _tell(before, lost, "drop", delta=True)
    lists = _last_first(c, new, before)
    while undone and (row := next(lists, None)) is not None:  # what the last one says that names it
        entries = parse_crl(row.der).encoded_entries
        named = {serial: entry for entry in entries if (serial := serial_of_entry(entry)) in undone}
        _tell(row, (serial for serial, entry in named.items() if not _is_removable(entry)), "release", delta=True)
        undone -= named.keys()


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


def _is_hold(entry: bytes) -> bool:
    return parse_crl_entry(entry).reason is RevocationReason.CERTIFICATE_HOLD


def _may_go(c: Connection, new: NewList, listed: frozenset[bytes], entry: bytes) -> bool:
    row = certificates.find(c, new.issuer_id, serial_of_entry(entry))
    if row is None or (new.shard is not None and row.crl_shard != new.shard):
        return False
    was_held = _is_hold(entry)
    if row.status in inventory.REVOKED:
        becomes_held = row.reason == RevocationReason.CERTIFICATE_HOLD.code
        return (was_held or not becomes_held) and _is_listed(c, new, listed, row)
    return was_held and row.status == CertificateStatus.GOOD


def _is_listed(
    c: Connection, new: NewList, listed: frozenset[bytes], row: CertificateRow | inventory.ChangedRow
) -> bool:
    """Also one that need not be any more (RFC 5280 §3.3)."""
    revoked_at = row.revoked_at or 0
    if row.not_after < new.shown_since and revoked_at < new.shown_since:
        return _has_ended(c, new, row)
    (line,) = encode_crl_entries([(row.serial, revoked_at, row.reason, row.invalidity_at)])
    return line in listed


def _has_ended(c: Connection, new: NewList, row: CertificateRow | inventory.ChangedRow) -> bool:
    """As the certificate says. Of a serial number that an import brought there is none: there its row is believed."""
    stored = certificates.find_stored(c, new.issuer_id, row.serial)
    identity = CertificateID(new.issuer_id, int.from_bytes(row.serial))
    known = stored or precertificates.find(c, identity)  # what was given up may have become no more than that
    try:
        return known is None or to_epoch(parse_not_after(known.tbs)) < new.shown_since
    except Malformed:
        return False


def _tell(before: CRLRow, serials: Iterator[bytes], what: str, *, delta: bool = False) -> None:
    named = list(islice(serials, _MOST_NAMED + 1))
    if named:
        shown = ", ".join([serial.hex() for serial in named[:_MOST_NAMED]] + ["others"] * bool(named[_MOST_NAMED:]))
        raise Withheld(
            f"it would {what} {shown}, which CRL {before.number} or a revocation after it says to be revoked",
            f"Find out who changed the database. `pkiconf crl make {'--delta ' if delta else ''}--accept-dropped`"
            " publishes the list as it is",
        )
