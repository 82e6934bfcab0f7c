"""What names in URLs stand for: given once, kept across renames, never given again."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import slug


@dataclass(frozen=True, slots=True)
class SlugRow:
    """`kind` is `authority`, `template/<authority's slug>`, …; `destroyed_at` marks a tombstone."""

    kind: str
    slug: str
    address: str
    destroyed_at: int | None


_ADD = Prepared(inserting(slug, "destroyed_at", ending="ON CONFLICT (kind, slug) DO NOTHING"))
_FIND = Prepared(select(slug).where(slug.c.kind == bindparam("kind"), slug.c.slug == bindparam("wish")), SlugRow)
_OF_ADDRESS = Prepared(select(slug).where(slug.c.address == bindparam("address")).order_by(slug.c.slug), SlugRow)
_BURIED = Prepared(select(slug).where(slug.c.destroyed_at.is_not(None)).order_by(slug.c.kind, slug.c.slug), SlugRow)
_RENAME = Prepared(
    text("UPDATE slug SET address = :new WHERE address = :old AND destroyed_at IS NULL"),
)
_BURY = Prepared(text("UPDATE slug SET destroyed_at = :at WHERE address = :address AND destroyed_at IS NULL"))


def claim_slug(c: Connection, kind: str, name: str, address: str) -> str:
    """A slug for a new object: its name in URL letters, with a number behind it if that was ever given.

    Raises Conflict when the address itself was destroyed: its name and URLs are never used again.
    """
    if any(row.destroyed_at is not None for row in _OF_ADDRESS.all(c, {"address": address})):
        raise Conflict(f"{address} was destroyed, and its name is never used again", "Choose another name")
    wish = url_letters(name)
    for number in range(1, 10_000):
        candidate = wish if number == 1 else f"{wish}-{number}"
        if _ADD.count(c, {"kind": kind, "slug": candidate, "address": address}):
            return candidate
    raise Conflict(f"all slugs like {wish!r} are taken", "Choose another name")


def url_letters(name: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "x"


def find_slug(c: Connection, kind: str, slug: str) -> SlugRow | None:
    return _FIND.find(c, {"kind": kind, "wish": slug})


def list_buried(c: Connection) -> list[SlugRow]:
    """The tombstones."""
    return _BURIED.all(c)


def rename_slug(c: Connection, old: str, new: str) -> None:
    """Let the slug of an address stand for its new address. Raises NotFound."""
    if _RENAME.count(c, {"old": old, "new": new}) == 0:
        raise NotFound(f"{old} has no slug")


def bury_slug(c: Connection, address: str, at: int) -> None:
    """Leave a tombstone. Raises NotFound for an address without a living slug."""
    if _BURY.count(c, {"address": address, "at": at}) == 0:
        raise NotFound(f"{address} has no slug")
