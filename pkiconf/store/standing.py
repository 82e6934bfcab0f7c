"""What a comparison with the declaration reads beside the declared rows themselves, in a few statements for all."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from pkiconf.store.database import Connection
from pkiconf.store.inventory import LIVE
from pkiconf.store.tables import ca_certificate, certificate, issuer, key, template_version

_OWN = ("ca", "service")  # an authority's certificates for itself, its subordinates and its services


@dataclass(frozen=True, slots=True)
class AuthorityStanding:
    """`key` is the SHA-256 (hex) of the newest generation's SubjectPublicKeyInfo, `certificates` those of all CA
    certificates it has had (the newest first); `not_after` is the end of the one that is preferred now."""

    key: str | None = None
    certificates: tuple[str, ...] = ()
    not_after: int | None = None


def authority_standings(c: Connection) -> dict[int, AuthorityStanding]:
    """By authority id."""
    keys: dict[int, str] = {}
    for authority_id, digest in c.execute(
        select(issuer.c.authority_id, key.c.spki_sha256)
        .join(key, key.c.id == issuer.c.key_id)
        .order_by(issuer.c.generation)
    ):
        keys[authority_id] = digest.hex()
    certificates: dict[int, list[str]] = {}
    ends: dict[int, int] = {}
    query = (
        select(issuer.c.authority_id, issuer.c.state, ca_certificate.c.der, ca_certificate.c.not_after)
        .add_columns(ca_certificate.c.preferred)
        .join(ca_certificate, ca_certificate.c.issuer_id == issuer.c.id)
        .order_by(ca_certificate.c.id.desc())
    )
    for authority_id, state, der, not_after, preferred in c.execute(query):
        certificates.setdefault(authority_id, []).append(hashlib.sha256(der).hexdigest())
        if preferred and state == "active":
            ends[authority_id] = int(not_after)
    return {
        number: AuthorityStanding(keys.get(number), tuple(certificates.get(number, ())), ends.get(number))
        for number in keys
    }


def _live(now: int) -> tuple[ColumnElement[bool], ...]:
    return (
        certificate.c.status.in_(LIVE),
        certificate.c.not_after > now,
        certificate.c.origin_kind.not_in(_OWN),
    )


def live_by_authority(c: Connection, authority_ids: Collection[int], now: int) -> Mapping[int, int]:
    """How many certificates of each authority, all generations together, are neither ended nor revoked."""
    query = (
        select(issuer.c.authority_id, func.count())
        .select_from(certificate.join(issuer, issuer.c.id == certificate.c.issuer_id))
        .where(issuer.c.authority_id.in_(list(authority_ids)), *_live(now))
        .group_by(issuer.c.authority_id)
    )
    return {int(number): int(count) for number, count in c.execute(query)} if authority_ids else {}


def live_by_template(c: Connection, template_ids: Collection[int], now: int) -> Mapping[int, int]:
    """The same for templates, all versions together."""
    query = (
        select(template_version.c.template_id, func.count())
        .select_from(certificate.join(template_version, template_version.c.id == certificate.c.template_version_id))
        .where(template_version.c.template_id.in_(list(template_ids)), *_live(now))
        .group_by(template_version.c.template_id)
    )
    return {int(number): int(count) for number, count in c.execute(query)} if template_ids else {}


def live_serials(c: Connection, template_id: int, now: int, limit: int) -> list[bytes]:
    """The first serials that keep a template from being retired."""
    query = (
        select(certificate.c.serial)
        .join(template_version, template_version.c.id == certificate.c.template_version_id)
        .where(template_version.c.template_id == template_id, *_live(now))
        .order_by(certificate.c.reserved_at, certificate.c.serial)
        .limit(limit)
    )
    return [bytes(serial) for (serial,) in c.execute(query)]
