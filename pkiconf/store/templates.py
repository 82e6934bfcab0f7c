"""Templates, their immutable versions, and what an issued certificate depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, text, update

from pkiconf.errors import Conflict, NotFound
from pkiconf.store.database import Connection
from pkiconf.store.issuing_locks import forbid
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import authority, template, template_version


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """`owner` is yaml:<workspace>, console, implied or system; `lifecycle` active or retired; `spec` the resolved
    declaration as canonical JSON; `generation` counts the writes of the row."""

    id: int
    slug: str
    authority_id: int
    name: str
    owner: str
    lifecycle: str
    spec: str
    spec_digest: str
    generation: int
    current_version_id: int
    created_at: int


@dataclass(frozen=True, slots=True)
class TemplateVersionRow:
    """Immutable: `resolved` is canonical JSON, `digest` its SHA-256 in hex."""

    id: int
    template_id: int
    digest: str
    resolved: str
    created_at: int


class IssuingStamp(NamedTuple):
    """Everything behind a certificate that can change: two equal stamps, and nothing has."""

    template_version_id: int
    template_generation: int
    template_lifecycle: str
    authority_id: int
    authority_generation: int
    authority_lifecycle: str
    issuer_state: str
    settings: int
    ca_certificates: int
    preferred_certificates: int


_ADD = Prepared(inserting(template, "id", ending="ON CONFLICT DO NOTHING RETURNING id"))
_GET = Prepared(select(template).where(template.c.id == bindparam("wanted")), TemplateRow)
_FIND = Prepared(
    select(template).where(template.c.authority_id == bindparam("of"), template.c.name == bindparam("wanted")),
    TemplateRow,
)
_BY_SLUG = Prepared(
    select(template).where(template.c.authority_id == bindparam("of"), template.c.slug == bindparam("wanted")),
    TemplateRow,
)
_LIST = Prepared(
    select(template)
    .join(authority, authority.c.id == template.c.authority_id)
    .order_by(authority.c.name, template.c.name),
    TemplateRow,
)
_OF_AUTHORITY = Prepared(
    select(template).where(template.c.authority_id == bindparam("of")).order_by(template.c.name), TemplateRow
)
_BY_NAME = Prepared(select(template).where(template.c.name == bindparam("wanted")), TemplateRow)
_BY_FULL_NAME = Prepared(
    select(template)
    .join(authority, authority.c.id == template.c.authority_id)
    .where(authority.c.name == bindparam("of"), template.c.name == bindparam("wanted")),
    TemplateRow,
)
_SET_VERSION = Prepared(text("UPDATE template SET current_version_id = :version WHERE id = :id"))
_ADD_VERSION = Prepared(inserting(template_version, "id", ending="ON CONFLICT (template_id, digest) DO NOTHING"))
_FIND_VERSION = Prepared(
    select(template_version).where(
        template_version.c.template_id == bindparam("of"), template_version.c.digest == bindparam("wanted")
    ),
    TemplateVersionRow,
)
_GET_VERSION = Prepared(
    select(template_version).where(template_version.c.id == bindparam("wanted")), TemplateVersionRow
)
_VERSIONS = Prepared(
    select(template_version).where(template_version.c.template_id == bindparam("of")).order_by(template_version.c.id),
    TemplateVersionRow,
)
_STAMP_COLUMNS = (
    "SELECT t.current_version_id, t.generation, t.lifecycle, a.id, a.generation, a.lifecycle, i.state,"
    " (SELECT CAST(coalesce(sum(generation), 0) AS BIGINT) FROM setting),"
    " (SELECT coalesce(max(id), 0) FROM ca_certificate),"
    " (SELECT CAST(coalesce(sum(id), 0) AS BIGINT) FROM ca_certificate WHERE preferred = 1)"
)
_STAMP_ROW = (
    " FROM template t, issuer i JOIN authority a ON a.id = i.authority_id"
    " WHERE t.id = :template_id AND i.id = :issuer_id"
)
_STAMP = Prepared(text(_STAMP_COLUMNS + _STAMP_ROW), IssuingStamp)
_STAMP_AND_KEY: Prepared[tuple[IssuingStamp, bool]] = Prepared(
    text(_STAMP_COLUMNS + ", (SELECT 1 FROM compromised_key WHERE spki_sha256 = :digest)" + _STAMP_ROW),  # noqa: S608
    lambda *columns: (IssuingStamp(*columns[:-1]), columns[-1] is not None),
)
_DELETE = (
    Prepared(text("DELETE FROM template_version WHERE template_id = :id")),
    Prepared(text("DELETE FROM template WHERE id = :id")),
)


def add_template(
    c: Connection,
    *,
    slug: str,
    authority_id: int,
    name: str,
    owner: str,
    spec: str,
    spec_digest: str,
    created_at: int,
    lifecycle: str = "active",
    resolved: str | None = None,
    digest: str | None = None,
) -> int:
    """A template with its first version (`resolved` and `digest`, by default the spec's); the new row's id.

    Raises Conflict when the authority has a template of this name already.
    """
    number = _ADD.scalar(
        c,
        {
            "slug": slug,
            "authority_id": authority_id,
            "name": name,
            "owner": owner,
            "lifecycle": lifecycle,
            "spec": spec,
            "spec_digest": spec_digest,
            "generation": 1,
            "current_version_id": 0,
            "created_at": created_at,
        },
    )
    if number is None:
        raise Conflict(f"the authority has a template {name!r} already", "Plan again")
    add_template_version(c, int(number), resolved or spec, digest or spec_digest, created_at)
    return int(number)


def add_template_version(c: Connection, template_id: int, resolved: str, digest: str, created_at: int) -> int:
    """Make a version the current one; one of the same digest is taken again. The version's id."""
    forbid(c)
    values = {"template_id": template_id, "digest": digest, "resolved": resolved, "created_at": created_at}
    _ADD_VERSION.count(c, values)
    version = _FIND_VERSION.find(c, {"of": template_id, "wanted": digest})
    assert version is not None
    _SET_VERSION.count(c, {"id": template_id, "version": version.id})
    return version.id


def update_template(c: Connection, template_id: int, generation: int, **columns: Any) -> int:  # noqa: ANN401
    """Write `columns` of a row that is at `generation`; its new generation. Raises Conflict at another generation."""
    forbid(c)
    statement = (
        update(template)
        .where(template.c.id == template_id, template.c.generation == generation)
        .values(**columns, generation=generation + 1)
    )
    if c.execute(statement).rowcount == 0:
        raise Conflict(f"template {get_template(c, template_id).name!r} was changed meanwhile", "Plan again")
    return generation + 1


def get_template(c: Connection, template_id: int) -> TemplateRow:
    found = _GET.find(c, {"wanted": template_id})
    if found is None:
        raise NotFound(f"there is no template {template_id}")
    return found


def find_template(c: Connection, authority_id: int, name: str) -> TemplateRow | None:
    return _FIND.find(c, {"of": authority_id, "wanted": name})


def find_template_by_slug(c: Connection, authority_id: int, slug: str) -> TemplateRow | None:
    return _BY_SLUG.find(c, {"of": authority_id, "wanted": slug})


def find_by_reference(c: Connection, reference: str) -> list[TemplateRow]:
    """All that `authority/name` or a bare `name` may mean."""
    of, slash, name = reference.rpartition("/")
    return _BY_FULL_NAME.all(c, {"of": of, "wanted": name}) if slash else _BY_NAME.all(c, {"wanted": name})


def list_templates(c: Connection, authority_id: int | None = None) -> list[TemplateRow]:
    """By authority and name."""
    return _LIST.all(c) if authority_id is None else _OF_AUTHORITY.all(c, {"of": authority_id})


def get_template_version(c: Connection, template_version_id: int) -> TemplateVersionRow:
    found = _GET_VERSION.find(c, {"wanted": template_version_id})
    if found is None:
        raise NotFound(f"there is no template version {template_version_id}")
    return found


def list_template_versions(c: Connection, template_id: int) -> list[TemplateVersionRow]:
    """The oldest first."""
    return _VERSIONS.all(c, {"of": template_id})


def find_stamp(c: Connection, template_id: int, issuer_id: int) -> IssuingStamp | None:
    return _STAMP.find(c, {"template_id": template_id, "issuer_id": issuer_id})


def issuing_stamp(c: Connection, template_id: int, issuer_id: int) -> IssuingStamp:
    """Raises NotFound when the template or the issuer is gone."""
    found = find_stamp(c, template_id, issuer_id)
    if found is None:
        raise _gone(template_id, issuer_id)
    return found


def issuing_stamp_and_key(
    c: Connection, template_id: int, issuer_id: int, spki: bytes
) -> tuple[IssuingStamp, frozenset[bytes]]:
    """`issuing_stamp` and `compromised_keys.known` in one statement."""
    digest = hashlib.sha256(spki).digest()
    found = _STAMP_AND_KEY.find(c, {"template_id": template_id, "issuer_id": issuer_id, "digest": digest})
    if found is None:
        raise _gone(template_id, issuer_id)
    stamp, is_compromised = found
    return stamp, frozenset((digest,)) if is_compromised else frozenset()


def _gone(template_id: int, issuer_id: int) -> NotFound:
    return NotFound(f"there is no template {template_id} or no issuer {issuer_id}")


def delete_template(c: Connection, template_id: int) -> None:
    """Remove a template that no certificate and no request refers to."""
    for statement in _DELETE:
        statement.count(c, {"id": template_id})
