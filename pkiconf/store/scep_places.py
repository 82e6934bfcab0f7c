"""What a SCEP URL names, in one statement: the template, and everything that its answers are made from."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared


class PlaceStamp(NamedTuple):
    """Two equal ones, and nothing has changed: declarations, issuers in charge, revocations, their certificates and
    those of the registration authority."""

    template_id: int
    template_generation: int
    template_version_id: int
    template_lifecycle: str
    authority_id: int
    authority_generation: int
    authority_lifecycle: str
    current_issuer_id: int | None
    status_epochs: int
    issuer_states: int
    ca_certificates: int
    preferred_certificates: int
    service_certificates: int


_FIND: Final = Prepared(
    text(
        "SELECT t.id, t.generation, t.current_version_id, t.lifecycle, a.id, a.generation, a.lifecycle,"
        " a.current_issuer_id,"
        " (SELECT CAST(coalesce(sum(i.status_epoch), 0) AS BIGINT) FROM issuer i WHERE i.authority_id = a.id),"
        " (SELECT count(*) FROM issuer i WHERE i.authority_id = a.id AND i.state IN ('active', 'retiring')),"
        " (SELECT coalesce(max(id), 0) FROM ca_certificate),"
        " (SELECT CAST(coalesce(sum(id), 0) AS BIGINT) FROM ca_certificate WHERE preferred = 1),"
        " (SELECT CAST(coalesce(sum(s.id), 0) AS BIGINT) FROM service_certificate s"
        " JOIN issuer i ON i.id = s.issuer_id"
        " WHERE i.authority_id = a.id AND s.purpose = 'scep_ra' AND s.serial IS NOT NULL)"
        " FROM template t JOIN authority a ON a.id = t.authority_id"
        " WHERE a.slug = :authority AND t.slug = :template AND t.owner <> 'system'"
    ),
    PlaceStamp,
)


def find_place(c: Connection, authority: str, template: str) -> PlaceStamp | None:
    """By the slugs in the URL."""
    return _FIND.find(c, {"authority": authority, "template": template})
