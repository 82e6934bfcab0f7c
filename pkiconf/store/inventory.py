"""Looking for certificates: for people, for CRLs, and for what is about to be retired."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, Text, and_, bindparam, cast, func, insert, select, text, tuple_

from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import certificate, certificate_name, issuer, template, template_version

LIVE = ("good", "held", "reserved")
"""What still stands for somebody; a held certificate may come back."""
REVOKED = ("revoked", "held", "abandoned")
"""What a CRL lists."""


class RevokedRow(NamedTuple):
    """A line of a CRL. `reason` is a CRLReason code."""

    serial: bytes
    revoked_at: int
    reason: int | None
    invalidity_at: int | None


class ChangedRow(NamedTuple):
    """What has become of a certificate whose status changed."""

    serial: bytes
    status: str
    revoked_at: int | None
    reason: int | None
    invalidity_at: int | None
    not_after: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look for; None and empty mean any. `name` is a whole searchable name, or its beginning or end with a
    `*` in place of the rest; `not_after_from` is included, `not_after_until` is not."""

    issuer_ids: Collection[int] | None = None
    template_id: int | None = None
    statuses: Collection[str] = ()
    serial: bytes | None = None
    name: str | None = None
    name_kind: str | None = None
    not_after_from: int | None = None
    not_after_until: int | None = None
    not_owned_by: str | None = None
    """Leaves out what was made from templates of this owner."""


# Numbers and names in place of parameters: only then may a database use the index of exactly these rows.
_LISTED: Final = (
    "FROM certificate {hint} WHERE issuer_id = :of{shard} AND status IN ('revoked', 'held', 'abandoned')"
    " AND (not_after >= :ended_after OR revoked_at >= :ended_after)"
)
_REVOKED_SQL: Final = "SELECT serial, revoked_at, reason, invalidity_at " + _LISTED + " ORDER BY crl_shard, serial"
_COUNT_SQL: Final = "SELECT count(*) " + _LISTED
_SHARD: Final = " AND crl_shard = :shard"
# Left alone, SQLite walks through all certificates of the issuer, because they lie in the wanted order.
_HINT: Final = "INDEXED BY ix_certificate_revoked"
_REVOKED = {
    of_shard: Prepared(
        text(_REVOKED_SQL.format(hint="", shard=_SHARD if of_shard else "")),
        sqlite=text(_REVOKED_SQL.format(hint=_HINT, shard=_SHARD if of_shard else "")),
    )
    for of_shard in (False, True)
}
_COUNT = {
    of_shard: Prepared(
        text(_COUNT_SQL.format(hint="", shard=_SHARD if of_shard else "")),
        sqlite=text(_COUNT_SQL.format(hint=_HINT, shard=_SHARD if of_shard else "")),
    )
    for of_shard in (False, True)
}
_CHANGED_SQL: Final = (
    "SELECT serial, status, revoked_at, reason, invalidity_at, not_after FROM certificate {hint}"
    " WHERE issuer_id = :of{shard} AND changed_epoch > 0 AND changed_epoch > :since ORDER BY crl_shard, serial"
)
_CHANGED = {
    of_shard: Prepared(
        text(_CHANGED_SQL.format(hint="", shard=_SHARD if of_shard else "")),
        ChangedRow,
        sqlite=text(_CHANGED_SQL.format(hint="INDEXED BY ix_certificate_changed", shard=_SHARD if of_shard else "")),
    )
    for of_shard in (False, True)
}
_SELF: Final = cast(certificate.c.issuer_id, Text).concat(":self:%")
_UNENDED = Prepared(
    select(certificate.c.serial)
    .where(
        certificate.c.issuer_id == bindparam("of"),
        certificate.c.not_after >= bindparam("now"),
        # Neither its responder's nor the one it signed for itself is anything that it should answer for.
        certificate.c.origin_kind != "service",
        ~and_(certificate.c.origin_kind == "ca", certificate.c.origin_id.like(_SELF)),
    )
    .limit(1)
)


def search(
    c: Connection, wish: Wish, *, after: tuple[int, bytes] | None = None, limit: int = 100
) -> list[CertificateRow]:
    """At most `limit` in the order of issuer and serial, beginning behind `after` (issuer id, serial)."""
    query = _matching(select(certificate), wish)
    if after is not None:
        query = query.where(tuple_(certificate.c.issuer_id, certificate.c.serial) > tuple_(*after))
    query = query.order_by(certificate.c.issuer_id, certificate.c.serial).limit(limit)
    return [CertificateRow(*row) for row in c.execute(query)]


def list_newest(c: Connection, wish: Wish, limit: int) -> list[CertificateRow]:
    """The `limit` that were made last, the newest first."""
    query = _matching(select(certificate), wish)
    newest = (certificate.c.reserved_at.desc(), certificate.c.issuer_id, certificate.c.serial)
    return [CertificateRow(*row) for row in c.execute(query.order_by(*newest).limit(limit))]


def count(c: Connection, wish: Wish) -> int:
    return int(c.execute(_matching(select(func.count()).select_from(certificate), wish)).scalar_one())


def _matching(query: Select[Any], wish: Wish) -> Select[Any]:
    if wish.issuer_ids is not None:
        query = query.where(certificate.c.issuer_id.in_(list(wish.issuer_ids)))
    if wish.template_id is not None:
        versions = select(template_version.c.id).where(template_version.c.template_id == wish.template_id)
        query = query.where(certificate.c.template_version_id.in_(versions))
    if wish.statuses:
        query = query.where(certificate.c.status.in_(list(wish.statuses)))
    if wish.serial is not None:
        # By way of the issuers, because certificates are indexed by issuer first.
        issuers = select(issuer.c.id)
        query = query.where(certificate.c.issuer_id.in_(issuers), certificate.c.serial == wish.serial)
    if wish.not_after_from is not None:
        query = query.where(certificate.c.not_after >= wish.not_after_from)
    if wish.not_after_until is not None:
        query = query.where(certificate.c.not_after < wish.not_after_until)
    if wish.not_owned_by is not None:
        theirs = select(template_version.c.id).join(template).where(template.c.owner == wish.not_owned_by)
        version = certificate.c.template_version_id
        query = query.where(version.is_(None) | version.not_in(theirs))
    if wish.name is not None:
        query = query.where(_named(wish.name.lower(), wish.name_kind))
    return query


def _named(name: str, kind: str | None) -> Any:  # noqa: ANN401
    if "*" not in name:
        matches = certificate_name.c.value == name
    else:
        escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
        matches = certificate_name.c.value.like(escaped, escape="\\")
    found = select(certificate_name.c.issuer_id, certificate_name.c.serial).where(matches)
    if kind is not None:
        found = found.where(certificate_name.c.kind == kind)
    return tuple_(certificate.c.issuer_id, certificate.c.serial).in_(found)


def revoked(c: Connection, issuer_id: int, ended_after: int, shard: int | None = None) -> Iterator[tuple[Any, ...]]:
    """The lines of a CRL, as the columns of RevokedRow, by shard and serial, of one shard or of all: revoked, held
    and given up, without those that ended before `ended_after` and were revoked before it too."""
    return _REVOKED[shard is not None].each(c, {"of": issuer_id, "shard": shard, "ended_after": ended_after})


def count_revoked(c: Connection, issuer_id: int, ended_after: int, shard: int | None = None) -> int:
    """How many `revoked` yields."""
    return int(_COUNT[shard is not None].scalar(c, {"of": issuer_id, "shard": shard, "ended_after": ended_after}))


def changed(c: Connection, issuer_id: int, since: int, shard: int | None = None) -> list[ChangedRow]:
    """Certificates whose status changed after the status epoch `since`."""
    return _CHANGED[shard is not None].all(c, {"of": issuer_id, "shard": shard, "since": since})


def has_unended(c: Connection, issuer_id: int, now: int) -> bool:
    """Whether a certificate that an issuer gave to others has not ended yet, be it revoked: for as long as that, its
    revocation has to be told too."""
    return _UNENDED.scalar(c, {"of": issuer_id, "now": now}) is not None


def count_by_status(c: Connection) -> list[tuple[int, str, int]]:
    """Issuer id, status, how many."""
    query = select(certificate.c.issuer_id, certificate.c.status, func.count()).group_by(
        certificate.c.issuer_id, certificate.c.status
    )
    return [(int(row[0]), str(row[1]), int(row[2])) for row in c.execute(query)]


def names_of(c: Connection, issuer_id: int, serial: bytes) -> list[tuple[str, str]]:
    """Kind and value of every searchable name."""
    query = (
        select(certificate_name.c.kind, certificate_name.c.value)
        .where(certificate_name.c.issuer_id == issuer_id, certificate_name.c.serial == serial)
        .order_by(certificate_name.c.kind, certificate_name.c.value)
    )
    return [(str(kind), str(value)) for kind, value in c.execute(query)]


def import_certificates(c: Connection, rows: Iterable[CertificateRow]) -> int:
    """Take in serials that another program issued; how many. Raises Conflict (from the database) for a known one."""
    values = [{name: getattr(row, name) for name in CertificateRow.__slots__} for row in rows]
    if values:
        c.execute(insert(certificate), values)
    return len(values)
