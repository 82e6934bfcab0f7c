"""What goes into a CRL, from one view of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.crl import delta_crl_indicator, issuing_distribution_point
from pkiconf.der.crl_entries import encode_crl_entries, encode_removal
from pkiconf.der.extensions import freshest_crl
from pkiconf.errors import Conflict, NotFound
from pkiconf.issuance.issuer import authority_spec, authority_urls, load_settings
from pkiconf.model.certificate import Extension
from pkiconf.policy.crl_parts import delta_url
from pkiconf.revocation.crl_comparison import NewDelta, NewList, check_new_delta, check_new_list
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store import authorities, crls, inventory, keys
from pkiconf.store.crls import FULL, Part
from pkiconf.store.database import Connection

SKEW: Final = timedelta(minutes=5)
"""thisUpdate lies this much in the past, for clients whose clocks are slow."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The epoch of `issuer` is the one that `entries` belong to. `last_update` is the thisUpdate of the CRL before,
    0 if there is none; `base_number` None for a complete list."""

    issuer: authorities.IssuerRow
    key: keys.KeyRow
    spec: AuthoritySpec
    last_update: int
    entries: bytes
    extensions: tuple[Extension, ...]
    base_number: int | None = None


def collect(c: Connection, issuer_id: int, part: Part, now: datetime, *, compare: bool = True) -> Contents:
    """Raises NotFound for a part that no certificate names, Conflict for a delta that has nothing to begin from, and
    Withheld when the list contradicts what was published (unless it is not to be compared)."""
    issuer = authorities.get_issuer(c, issuer_id)
    authority = authorities.get_authority(c, issuer.authority_id)
    spec, key = authority_spec(authority), keys.get_key(c, issuer.key_id)
    scope = _scope(c, issuer_id, part)
    if part.delta:
        before = crls.current(c, issuer_id, part.shard, delta=True)
        delta = _changes(c, issuer_id, part, now)
        if compare:
            check_new_delta(c, delta, before)
        removals = (encode_removal(serial, to_epoch(now)) for serial in delta.removed)
        entries = b"".join((*delta.entries, *removals))
        extensions = (delta_crl_indicator(delta.base), *scope)
        return Contents(issuer, key, spec, before.this_update if before else 0, entries, extensions, delta.base)
    row = crls.current(c, issuer_id, part.shard)
    last_update = row.this_update if row else 0
    # RFC 5280 §3.3: an expired certificate is left out only after it stood on one CRL issued beyond its end. One that
    # was made while the clock was ahead lies beyond the end of certificates that have not ended.
    shown_since = min(last_update, to_epoch(now - SKEW))
    new = NewList(issuer_id, part, _lines(c, issuer_id, part, shown_since), shown_since)
    if compare:
        check_new_list(c, new, row, crls.current(c, issuer_id, part.shard, delta=True))
    url = authority_urls(load_settings(c), spec, authority.slug, issuer.generation).crl
    freshest = (freshest_crl((delta_url(url, part.shard),)),) if spec.crl.delta is not None else ()
    return Contents(issuer, key, spec, last_update, b"".join(new.entries), (*scope, *freshest))


def _scope(c: Connection, issuer_id: int, part: Part) -> tuple[Extension, ...]:
    if part.shard == FULL:
        return ()
    urls = crls.locations(c, issuer_id, part.shard)
    if not urls:
        raise NotFound(f"no certificate of this issuer names part {part.shard} of its CRL")
    return (issuing_distribution_point(urls),)


def _lines(c: Connection, issuer_id: int, part: Part, ended_after: int) -> list[bytes]:
    return encode_crl_entries(inventory.revoked(c, issuer_id, ended_after, None if part.shard == FULL else part.shard))


def _changes(c: Connection, issuer_id: int, part: Part, now: datetime) -> NewDelta:
    """The CRL that a delta begins from, and what has changed since: from the oldest that somebody may
    still use, so that whoever fetched that one need not fetch another (RFC 5280 §5.2.4)."""
    head = crls.head(c, issuer_id, part.shard)
    located = head.located_epoch if head else 0
    possible = [
        base
        for number, base in enumerate(crls.bases(c, issuer_id, part.shard))
        # One that was made before its part got another URL has another scope than the delta.
        if base.covers_epoch >= located and (number == 0 or base.next_update > to_epoch(now))
    ]
    if not possible:
        raise Conflict("there is no complete CRL that a delta CRL could begin from")
    base = possible[-1]
    shard = None if part.shard == FULL else part.shard
    rows = inventory.changed(c, issuer_id, base.covers_epoch, shard)
    listed = encode_crl_entries(
        (row.serial, row.revoked_at or 0, row.reason, row.invalidity_at)
        for row in rows
        if row.status in inventory.REVOKED
    )
    removed = [row.serial for row in rows if row.status not in inventory.REVOKED]
    return NewDelta(issuer_id, part, base.number, listed, removed, to_epoch(now - SKEW))
