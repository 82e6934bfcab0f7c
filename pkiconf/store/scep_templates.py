"""Templates as SCEP's URLs name them, and what their terms hang on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared
from pkiconf.store.tables import authority, template


@dataclass(frozen=True, slots=True)
class SCEPPlace:
    """A template and its authority as they are now. Two equal ones, and nothing about the template has changed.

    `name` and `authority` are their present names, which a rename changes and a URL does not; `issuer_id` is the
    authority's current issuer.
    """

    template_id: int
    slug: str
    name: str
    lifecycle: str
    generation: int
    authority_id: int
    authority_slug: str
    authority: str
    authority_lifecycle: str
    authority_generation: int
    issuer_id: int | None

    @property
    def address(self) -> str:
        return f"template/{self.authority}/{self.name}"


_PLACE: Final = (
    template.c.id,
    template.c.slug,
    template.c.name,
    template.c.lifecycle,
    template.c.generation,
    authority.c.id,
    authority.c.slug,
    authority.c.name,
    authority.c.lifecycle,
    authority.c.generation,
    authority.c.current_issuer_id,
)
_JOINED: Final = select(*_PLACE).join(authority, authority.c.id == template.c.authority_id)
_BY_SLUGS = Prepared(
    _JOINED.where(authority.c.slug == bindparam("above"), template.c.slug == bindparam("below")), SCEPPlace
)
_BY_ID = Prepared(_JOINED.where(template.c.id == bindparam("this")), SCEPPlace)


def find_place(c: Connection, authority_slug: str, template_slug: str) -> SCEPPlace | None:
    return _BY_SLUGS.find(c, {"above": authority_slug, "below": template_slug})


def find_place_of(c: Connection, template_id: int) -> SCEPPlace | None:
    return _BY_ID.find(c, {"this": template_id})
