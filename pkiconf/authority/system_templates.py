"""Templates that nobody declares: every certificate has one, an authority's own and its services' included.

They stand beside the declared templates of the authority that signs, under names no declaration can take.
"""

from __future__ import annotations

from pkiconf.authority.declared import canonical, digest
from pkiconf.issuance.requests import SYSTEM_OWNER
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import templates
from pkiconf.store.database import Connection


def ensure_system_template(c: Connection, authority_id: int, spec: TemplateSpec, now: int) -> int:
    """The row id of the system template, at a version with exactly these contents. Idempotent."""
    name = f"_{spec.name}"
    text = canonical(spec.model_dump(mode="json", by_alias=True))
    row = templates.find_template(c, authority_id, name)
    if row is None:
        return templates.add_template(
            c, slug=name, authority_id=authority_id, name=name, owner=SYSTEM_OWNER, lifecycle="active",
            spec=text, spec_digest=digest(text), created_at=now,
        )  # fmt: skip
    if row.spec_digest != digest(text):
        templates.update_template(c, row.id, row.generation, spec=text, spec_digest=digest(text))
        templates.add_template_version(c, row.id, text, digest(text), now)
    return row.id
