"""Templates, for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import SYSTEM_OWNER, find_template
from pkiconf.policy.unattended import unattended_ways
from pkiconf.store import acme_policies, authorities, inventory, templates
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class TemplateView:
    """`live_certificates` are neither ended nor revoked; held ones count. `versions` are the digests of its versions,
    oldest first, each with the time it was made; `unattended` are the ways over which it issues without anybody
    deciding, and `acme_policies` the slugs of the policies among them."""

    row: templates.TemplateRow
    authority: str
    live_certificates: int
    versions: tuple[tuple[str, datetime], ...]
    unattended: tuple[str, ...]
    acme_policies: tuple[str, ...]

    @property
    def address(self) -> str:
        return f"{self.authority}/{self.row.name}"


@dataclass(frozen=True, slots=True)
class TemplateLookup:
    parts: Parts

    def get(self, reference: str, *, include_system: bool = False) -> TemplateView:
        """By `authority/name`, or a bare name that only one template has. Raises NotFound."""
        now = to_epoch(self.parts.now())
        return self.parts.db.read(lambda c: _view(c, find_template(c, reference, include_system=include_system), now))

    def list(self, *, include_system: bool = False) -> list[TemplateView]:
        """By authority and name. System templates are those of authorities' own and their services' certificates."""
        now = to_epoch(self.parts.now())

        def read(c: Connection) -> list[TemplateView]:
            rows = templates.list_templates(c)
            return [_view(c, row, now) for row in rows if include_system or row.owner != SYSTEM_OWNER]

        return self.parts.db.read(read)


def _view(c: Connection, row: templates.TemplateRow, now: int) -> TemplateView:
    live = inventory.Wish(template_id=row.id, statuses=inventory.LIVE, not_after_from=now)
    authority = authorities.get_authority(c, row.authority_id)
    in_use = row.lifecycle == "active" and authority.lifecycle != "retired"
    offers = acme_policies.offers(c) if in_use else []
    address = f"{authority.name}/{row.name}"
    return TemplateView(
        row,
        authority.name,
        inventory.count(c, live),
        tuple((one.digest, from_epoch(one.created_at)) for one in templates.list_template_versions(c, row.id)),
        unattended_ways(address, json.loads(row.spec), {policy.name: profiles for policy, profiles in offers}),
        tuple(policy.slug for policy, profiles in offers if address in profiles.values()),
    )
