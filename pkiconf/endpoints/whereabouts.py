"""What the parts of a status URL name. Slugs are kept across renames, so URLs in certificates live on."""

from __future__ import annotations

from pkiconf.errors import NotFound
from pkiconf.store import authorities
from pkiconf.store.database import Connection


def split_name(name: str) -> tuple[int, str]:
    """`1.crl` is generation 1 as `crl`. Raises NotFound for any other shape."""
    stem, dot, form = name.partition(".")
    if not dot or not stem.isascii() or not stem.isdigit() or len(stem) > 9 or stem.startswith("0"):
        raise NotFound(f"{name[:80]!r} names no generation")
    return int(stem), form


def find_authority(c: Connection, slug: str) -> authorities.AuthorityRow:
    # PostgreSQL takes no NUL in a text, not even to look for it.
    found = None if "\0" in slug else authorities.find_authority_by_slug(c, slug)
    if found is None:
        raise NotFound("there is no such authority")
    return found


def find_issuer(c: Connection, slug: str, generation: int) -> authorities.IssuerRow:
    """Raises NotFound, also for a generation that has no certificate yet."""
    found = authorities.find_issuer_by_generation(c, find_authority(c, slug).id, generation)
    if found is None or found.state == "next":
        raise NotFound("there is no such generation of this authority")
    return found
