"""Create, change, roll over, renew, retire: each one durable wish, then the work that makes it true."""

from __future__ import annotations

import json
from typing import Any

from pkiconf.authority import establish
from pkiconf.authority.declared import DeclaredAuthority, Guard, canonical, digest, unguarded
from pkiconf.authority.establish import Establisher, Wish
from pkiconf.authority.feasible import check_certifiable, check_cross_certifiable
from pkiconf.authority.imported import Imported, check_imported, record_imported
from pkiconf.authority.issuers import NewKey, declared_key, record_issuer, subject_of
from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import SYSTEM_OWNER
from pkiconf.model.actor import Actor
from pkiconf.model.keys import get_key_algorithm
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.keys import check_not_compromised
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.steps import Step
from pkiconf.store import acme_policies, authorities, compromised_keys, keys, slugs, templates
from pkiconf.store.authorities import AuthorityRow
from pkiconf.store.database import Connection


class Authorities:
    """The declared life of authorities. Every method takes the actor, and a guard that runs first in its transaction;
    `generation` is the row version the caller saw, and Conflict is raised when it has moved."""

    def __init__(self, parts: Parts, establisher: Establisher) -> None:
        self._parts = parts
        self._establisher = establisher

    def create(self, declared: DeclaredAuthority, actor: Actor, guard: Guard = unguarded) -> AuthorityRow:
        """A new authority with its first issuer.

        Its certificate is issued at once where we can; `issuer: external` leaves it waiting for one. Raises Refused
        (policy, an unusable import), Conflict (the name is taken, or the authority above cannot sign yet); nothing
        is recorded then.
        """
        check_may(actor, Action.AUTHORITY_CREATE, f"authority/{declared.name}")
        spec = declared.spec
        subject = subject_of(declared)
        key = declared_key(self._parts, declared)
        past = self._parts.db.read(lambda c: check_imported(c, declared, key.spki, subject, self._parts.now()))
        if past is None:
            self._check_certifiable(spec, subject, key)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> int:
            guard(c)
            slug = slugs.claim_slug(c, "authority", declared.name, f"authority/{declared.name}")
            authority_id = authorities.add_authority(
                c, slug=slug, name=declared.name, owner=declared.owner, lifecycle=_first_lifecycle(spec, past),
                spec=declared.text, spec_digest=digest(declared.text), created_at=now,
            )  # fmt: skip
            issuer_id = self._record_issuer(c, authority_id, 1, past.subject if past else subject, key, now)
            self._parts.record(c, actor, "authority.create", f"authority/{declared.name}", _key_details(key))
            if past is not None:
                record_imported(c, self._parts, issuer_id, past, actor)
                establish.activate(c, self._parts, issuer_id)
            establish.queue(c, authority_id, Wish(issuer_id, 0 if past else 1), now)
            return authority_id

        step = Step.AUTHORITY_CREATE if past is None else Step.AUTHORITY_IMPORT
        authority_id = self._parts.db.write(step, write)
        return self._establish(authority_id, actor)

    def update(
        self,
        declared: DeclaredAuthority,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        renew: bool = False,
    ) -> AuthorityRow:
        """Write a changed declaration; with `renew`, also issue the CA certificate again for the same key. A retired
        authority comes back."""
        row = self._get(declared.name)
        check_may(actor, Action.AUTHORITY_UPDATE, f"authority/{row.name}")
        spec = declared.spec
        if renew:
            self._check_renewable(row, spec)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            authorities.update_authority(c, row.id, generation, **_columns(declared), **_revived(c, row, spec))
            if renew:
                self._queue_renewal(c, row, now)
            action = "authority.renew" if renew else "authority.update"
            self._parts.record(c, actor, action, f"authority/{row.name}", {"spec": digest(declared.text)})

        self._parts.db.write(Step.AUTHORITY_UPDATE, write)
        return self._establish(row.id, actor)

    def renew(self, name: str, actor: Actor) -> AuthorityRow:
        """A new certificate for the same key, from today, with what is declared. For `external`: a new CSR is due."""
        row = self._get(name)
        check_may(actor, Action.AUTHORITY_RENEW, f"authority/{name}")
        if row.lifecycle != "active":
            raise Conflict(f"authority {name!r} is {row.lifecycle.replace('_', ' ')}", "Only an active one is renewed")
        self._check_renewable(row, authority_spec(row))
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            authorities.update_authority(c, row.id, row.generation)
            self._queue_renewal(c, row, now)
            self._parts.record(c, actor, "authority.renew", f"authority/{name}", {})

        self._parts.db.write(Step.AUTHORITY_UPDATE, write)
        return self._establish(row.id, actor)

    def roll_over(
        self, declared: DeclaredAuthority, generation: int, actor: Actor, guard: Guard = unguarded
    ) -> AuthorityRow:
        """A new key generation under the same identity (and, for a replacement, with a new subject or issuer).

        The old generation keeps its CRL and OCSP until its last certificate has ended.
        """
        row = self._get(declared.name)
        check_may(actor, Action.AUTHORITY_ROLLOVER, f"authority/{row.name}")
        spec = declared.spec
        subject = subject_of(declared)
        key = declared_key(self._parts, declared)
        self._check_certifiable(spec, subject, key)
        if spec.rollover.cross_certificates:
            moment = self._parts.now()
            self._parts.db.read(lambda c: check_cross_certifiable(c, row.id, spec, subject, key.spki, moment))
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            lifecycle = _revived(c, row, spec)
            if spec.issuer == "external":
                lifecycle["lifecycle"] = "waiting_certificate"
            authorities.update_authority(c, row.id, generation, **_columns(declared), **lifecycle)
            latest = max(issuer.generation for issuer in authorities.list_issuers(c, row.id))
            issuer_id = self._record_issuer(c, row.id, latest + 1, subject, key, now)
            details = _key_details(key) | {"generation": latest + 1}
            self._parts.record(c, actor, "authority.rollover", f"authority/{row.name}", details)
            establish.queue(c, row.id, Wish(issuer_id, 1, spec.rollover.cross_certificates), now)

        self._parts.db.write(Step.AUTHORITY_ROLLOVER, write)
        return self._establish(row.id, actor)

    def rename(self, old: str, new: str, generation: int, actor: Actor, guard: Guard = unguarded) -> None:
        """The name changes; the slug, and so every URL, stays. What the authorities below say of their issuer follows,
        which is a write of their rows too."""
        row = self._get(old)
        check_may(actor, Action.AUTHORITY_UPDATE, f"authority/{old}")

        def write(c: Connection) -> None:
            guard(c)
            authorities.update_authority(c, row.id, generation, name=new, **_respelled(row, name=new))
            slugs.rename_slug(c, f"authority/{old}", f"authority/{new}")
            _follow(c, row, new)
            acme_policies.respell_templates(c, lambda offered: _under(offered, old, new))
            self._parts.record(c, actor, "authority.rename", f"authority/{new}", {"from": old})

        self._parts.db.write(Step.AUTHORITY_UPDATE, write)

    def retire(self, name: str, generation: int, actor: Actor, guard: Guard = unguarded) -> None:
        """Issuance stops; CRL and OCSP stay until the last certificate has ended. Declaring it again undoes this."""
        row = self._get(name)
        check_may(actor, Action.AUTHORITY_RETIRE, f"authority/{name}")
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            guard(c)
            authorities.update_authority(c, row.id, generation, lifecycle="retired", retired_at=now)
            self._parts.record(c, actor, "authority.retire", f"authority/{name}", {})

        self._parts.db.write(Step.AUTHORITY_RETIRE, write)

    def finish(self, name: str, actor: Actor) -> AuthorityRow:
        """Finish what an interrupted change left undone."""
        return self._establish(self._get(name).id, actor)

    def _get(self, name: str) -> AuthorityRow:
        return self._parts.db.read(lambda c: authorities.get_authority_by_name(c, name))

    def _establish(self, authority_id: int, actor: Actor) -> AuthorityRow:
        self._establisher.establish(authority_id, actor)
        return self._parts.db.read(lambda c: authorities.get_authority(c, authority_id))

    def _record_issuer(
        self, c: Connection, authority_id: int, generation: int, subject: bytes, key: NewKey, now: int
    ) -> int:
        check_not_compromised(key.spki, compromised_keys.known(c, key.spki))
        return record_issuer(c, authority_id, generation, subject, key.record(c, now), key.spki, now)

    def _check_certifiable(self, spec: AuthoritySpec, subject: bytes, key: NewKey) -> None:
        now = self._parts.now()
        self._parts.db.read(lambda c: check_certifiable(c, spec, subject, key.algorithm, key.spki, now))

    def _check_renewable(self, row: AuthorityRow, spec: AuthoritySpec) -> None:
        if row.current_issuer_id is None:
            raise Conflict(f"authority {row.name!r} has no certificate to renew", "Finish it with `pkiconf apply`")
        issuer_id, now = row.current_issuer_id, self._parts.now()

        def check(c: Connection) -> None:
            wish = establish.find_wish(c, row.id)
            if wish is not None and wish.issuer_id != issuer_id:
                raise Conflict(f"the rollover of authority {row.name!r} is not finished", "Finish it first")
            issuer = authorities.get_issuer(c, issuer_id)
            key = keys.get_key(c, issuer.key_id)
            check_certifiable(c, spec, issuer.subject, get_key_algorithm(key.algorithm), key.spki, now)

        self._parts.db.read(check)

    def _queue_renewal(self, c: Connection, row: AuthorityRow, now: int) -> None:
        issuer_id = row.current_issuer_id
        if issuer_id is None:
            raise Conflict(f"authority {row.name!r} has no certificate to renew", "Finish it with `pkiconf apply`")
        own = [old for old in authorities.list_ca_certificates(c, issuer_id) if old.role != "cross"]
        establish.queue(c, row.id, Wish(issuer_id, len(own) + 1), now)


def _first_lifecycle(spec: AuthoritySpec, past: Imported | None) -> str:
    return "waiting_certificate" if spec.issuer == "external" and past is None else "creating"


def _respelled(row: AuthorityRow, **fields: str) -> dict[str, str]:
    text = canonical({**json.loads(row.spec), **fields})
    return {"spec": text, "spec_digest": digest(text)}


def _under(reference: str, old: str, new: str) -> str:
    """`authority/template` after the authority's renaming."""
    authority, _, name = reference.partition("/")
    return f"{new if authority == old else authority}/{name}"


def _follow(c: Connection, renamed: AuthorityRow, new: str) -> None:
    """Rows that speak of an authority by its name speak of it by the new one."""
    for row in authorities.list_authorities(c):
        if row.id != renamed.id and json.loads(row.spec).get("issuer") == renamed.name:
            authorities.update_authority(c, row.id, row.generation, **_respelled(row, issuer=new))
    for template in templates.list_templates(c, renamed.id):
        if template.owner != SYSTEM_OWNER:
            old, now = f"template/{renamed.name}/{template.name}", f"template/{new}/{template.name}"
            slugs.rename_slug(c, old, now)


def _columns(declared: DeclaredAuthority) -> dict[str, Any]:
    return {"spec": declared.text, "spec_digest": digest(declared.text), "owner": declared.owner}


def _revived(c: Connection, row: AuthorityRow, spec: AuthoritySpec) -> dict[str, Any]:
    """What a retired authority becomes when it is declared again: what it was."""
    if row.lifecycle != "retired":
        return {}
    newest = authorities.list_issuers(c, row.id)[-1]
    if spec.issuer == "external" and newest.state == "next":
        return {"lifecycle": "waiting_certificate", "retired_at": None}
    return {"lifecycle": "active" if row.current_issuer_id else "creating", "retired_at": None}


def _key_details(key: NewKey) -> dict[str, Any]:
    return {"key": key.spki_sha256.hex(), "algorithm": key.algorithm.name}
