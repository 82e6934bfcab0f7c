"""The declared life of templates. Every written change is a new immutable version; certificates point to theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pkiconf.authority.declared import Guard, canonical, digest, unguarded
from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import SYSTEM_OWNER
from pkiconf.model.actor import Actor
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.template import compile_template
from pkiconf.spec.template import TemplateSpec
from pkiconf.steps import Step
from pkiconf.store import acme_policies, authorities, slugs, standing, templates
from pkiconf.store.authorities import AuthorityRow
from pkiconf.store.database import Connection
from pkiconf.store.templates import TemplateRow

_SHOWN: Final = 10

Also = Callable[[Connection, int], None]
"""What is written with a template, in its transaction: called with its id. Touches only the database, and may run
again."""


def nothing_else(c: Connection, template_id: int) -> None:
    """For templates without secrets."""


class Templates:
    """Every method takes the actor, and a guard that runs first in its transaction; `generation` is the row version
    the caller saw, and Conflict is raised when it has moved."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(
        self,
        authority: str,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        also: Also = nothing_else,
    ) -> None:
        """A new template with its first version; `spec` is whole and JSON-able, with marks in the places of secrets.

        Raises NotFound for an unknown authority, Conflict when the name is taken or was destroyed.
        """
        address = template_address(authority, name)
        check_may(actor, Action.TEMPLATE_CREATE, address)
        text = _checked(spec)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            above = authorities.get_authority_by_name(c, authority)
            if templates.find_template(c, above.id, name) is not None:
                raise Conflict(f"template {authority}/{name} exists already", "Plan again")
            number = templates.add_template(
                c, slug=slugs.claim_slug(c, f"template/{above.slug}", name, address), authority_id=above.id, name=name,
                owner=owner, spec=text, spec_digest=digest(text), created_at=now,
            )  # fmt: skip
            also(c, number)
            self._parts.record(c, actor, "template.create", address, {"spec": digest(text)})

        self._parts.db.write(Step.TEMPLATE_WRITE, write)

    def update(
        self,
        authority: str,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        former_name: str | None = None,
        also: Also = nothing_else,
    ) -> None:
        """Write a changed declaration, under another name if `former_name` is given; a retired template comes back.

        The slug, and so every URL, stays. Raises NotFound, Conflict.
        """
        address = template_address(authority, name)
        check_may(actor, Action.TEMPLATE_UPDATE, address)
        text = _checked(spec)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            above, row = _get(c, authority, former_name or name)
            if former_name is not None:
                self._rename(c, above, row, name, actor)
            templates.update_template(
                c, row.id, generation, name=name, owner=owner, lifecycle="active", spec=text, spec_digest=digest(text)
            )
            templates.add_template_version(c, row.id, text, digest(text), now)
            also(c, row.id)
            self._parts.record(c, actor, "template.update", address, {"spec": digest(text)})

        self._parts.db.write(Step.TEMPLATE_WRITE, write)

    def retire(self, authority: str, name: str, generation: int, actor: Actor, guard: Guard = unguarded) -> None:
        """Nothing more is issued from it; its versions stay, for the certificates that point to them.

        Raises Refused while certificates of it are active (neither ended nor revoked, a held one included), or an ACME
        policy offers it.
        """
        address = template_address(authority, name)
        check_may(actor, Action.TEMPLATE_RETIRE, address)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            _, row = _get(c, authority, name)
            _check_unused(c, row, address, now)
            _check_not_offered(c, address)
            templates.update_template(c, row.id, generation, lifecycle="retired")
            self._parts.record(c, actor, "template.retire", address, {})

        self._parts.db.write(Step.TEMPLATE_RETIRE, write)

    def _rename(self, c: Connection, above: AuthorityRow, row: TemplateRow, name: str, actor: Actor) -> None:
        if templates.find_template(c, above.id, name) is not None:
            raise Conflict(f"template {above.name}/{name} exists already", "Plan again")
        old, new = template_address(above.name, row.name), template_address(above.name, name)
        slugs.rename_slug(c, old, new)
        before, after = f"{above.name}/{row.name}", f"{above.name}/{name}"
        acme_policies.respell_templates(c, lambda offered: after if offered == before else offered)
        self._parts.record(c, actor, "template.rename", new, {"from": old})


def template_address(authority: str, name: str) -> str:
    return f"template/{authority}/{name}"


def _checked(spec: Mapping[str, Any]) -> str:
    """Raises pydantic's ValidationError for what is no template, Refused for one that could issue nothing sound."""
    compile_template(TemplateSpec.model_validate(dict(spec)))
    return canonical(dict(spec))


def _get(c: Connection, authority: str, name: str) -> tuple[AuthorityRow, TemplateRow]:
    above = authorities.get_authority_by_name(c, authority)
    row = templates.find_template(c, above.id, name)
    if row is None or row.owner == SYSTEM_OWNER:
        known = ", ".join(t.name for t in templates.list_templates(c, above.id) if t.owner != SYSTEM_OWNER)
        raise NotFound(f"authority {authority!r} has no template {name!r}", f"It has: {known or 'none'}")
    return above, row


def _check_not_offered(c: Connection, address: str) -> None:
    by = [row.name for row, offered in acme_policies.offers(c) if address.removeprefix("template/") in offered.values()]
    if by:
        raise Refused(
            f"{address} is offered by {', '.join(f'acme-policy/{name}' for name in by)}",
            "Let them offer another template, or retire them first",
        )


def _check_unused(c: Connection, row: TemplateRow, address: str, now: int) -> None:
    active = standing.live_by_template(c, [row.id], now).get(row.id, 0)
    if active:
        shown = [serial.hex().upper() for serial in standing.live_serials(c, row.id, now, _SHOWN)]
        more = f" and {active - len(shown)} more" if active > len(shown) else ""
        raise Refused(
            f"{address} has {active} active certificate{'s' if active > 1 else ''}: {', '.join(shown)}{more}",
            "Revoke them (a hold is not enough) or let them end",
        )
