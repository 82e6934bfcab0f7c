"""`template/<authority>/<name>`: what an authority issues. Every change makes a new immutable version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.model.durations import Duration
from pkiconf.model.keys import Hash, get_signature_algorithm
from pkiconf.model.secret import Secret
from pkiconf.policy.starters import DEFAULT_STARTER, overlay, starter_defaults, template_defaults
from pkiconf.policy.template import compile_template
from pkiconf.reconciler.fields import FieldChange, describe, field_changes
from pkiconf.reconciler.kinds.above import end_of, room_below
from pkiconf.reconciler.kinds.authority_key import key_algorithm
from pkiconf.reconciler.kinds.kind import Act, Declaring, Verdict, View, Wait, problem_of
from pkiconf.reconciler.kinds.template_scep import declared_scep, declared_secrets, scep_findings, whole_scep
from pkiconf.reconciler.state import (
    IMPLIED,
    SYSTEM_OWNER,
    Action,
    Actual,
    Desired,
    Finding,
    Severity,
    Spec,
    authority_of,
    name_of,
    template_address,
)
from pkiconf.spec.document import Document
from pkiconf.spec.template import TemplateSpec
from pkiconf.store.authorities import list_authorities
from pkiconf.store.database import Connection
from pkiconf.store.templates import list_templates

_NOT_STORED: Final = ("name", "authority", "state", "moved")


class TemplateKind:
    name = "template"

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        for declaration in document.templates:
            spec = declaration.spec
            explicit = {key: value for key, value in declaration.explicit.items() if key not in _NOT_STORED}
            moved = spec.moved and template_address(*_split(spec.moved, spec.authority))
            secrets: dict[str, Secret] = dict(declaration.secrets)
            write_to = None
            if explicit.get("scep") is not None:
                explicit["scep"], file = declared_scep(explicit["scep"], secrets, declaring.mark)
                write_to = Path(declaration.at.file).parent / Path(file).expanduser() if file else None
            yield Desired(
                template_address(spec.authority, spec.name),
                explicit,
                declaring.owner,
                str(declaration.at),
                absent=spec.state == "absent",
                moved_from=moved,
                secrets=secrets,
                write_to=write_to,
            )

    def imply(self, view: View) -> Iterator[Desired]:
        for address, wish in view.desired.objects.items():
            if not address.startswith("authority/") or wish.absent or address not in view.resolved:
                continue
            for starter in view.resolved[address].get("default_templates") or ():
                implied = template_address(name_of(address), starter)
                if implied not in view.desired.objects:
                    yield Desired(implied, {"starter": starter}, IMPLIED, wish.at)

    def create(self, wish: Desired, view: View) -> Spec:
        starter = str(wish.explicit.get("starter", DEFAULT_STARTER))
        return _named(wish.address, whole_scep(overlay(_starter_spec(starter), wish.explicit)))

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        if wish.owner == IMPLIED:
            return _named(wish.address, standing.spec)
        starter = wish.explicit.get("starter", standing.spec.get("starter"))
        below: Spec = standing.spec
        if starter != standing.spec.get("starter"):
            # Another starter is another set of starting values; what it does not speak of stays.
            below = overlay(below, starter_defaults(str(starter)))
        return _named(wish.address, whole_scep(overlay(below, wish.explicit)))

    def compare(self, wish: Desired, standing: Actual, after: Spec) -> tuple[FieldChange, ...]:
        found = field_changes(standing.spec, after)
        return tuple(change for change in found if change.path != "authority")

    def judge(self, changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Verdict:
        return Verdict(Action.UPDATE if changes else Action.UNCHANGED, describe(changes))

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        if wish.moved_from and authority_of(wish.moved_from) != authority_of(wish.address):
            return f"a template stays with its authority: moved names {wish.moved_from}"
        is_known = standing is not None and standing.spec == after  # it was found good when it was written
        return ("" if is_known else _unusable(after)) or _unfit_hash(after, view)

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        return (authority_of(address),)

    def waiting(self, wish: Desired, standing: Actual | None, after: Spec, action: Action, view: View) -> Wait:
        return Wait()

    def files(self, wish: Desired, standing: Actual | None, action: Action) -> tuple[str, ...]:
        return ()

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]:
        yield from _validity_findings(wish, after, view)
        yield from (Finding(wish.address, Severity.WARNING, text, wish.at) for text in scep_findings(after, view))
        if text := _path_warning(wish, after, view):
            yield Finding(wish.address, Severity.WARNING, text, wish.at)

    def observe(self, c: Connection) -> Iterator[Actual]:
        authorities = {row.id: row.name for row in list_authorities(c)}
        for row in list_templates(c):
            if row.owner != SYSTEM_OWNER:
                address = template_address(authorities[row.authority_id], row.name)
                yield Actual(address, json.loads(row.spec), row.owner, row.lifecycle, row.generation)

    def perform(self, act: Act) -> None:
        _, authority, name = act.change.address.split("/")
        templates, change = act.services.templates, act.change
        if change.action is Action.RETIRE:
            templates.retire(authority, name, act.precondition, act.actor, act.guard)
            return
        secrets = act.services.scep.secrets.prepare(
            change.address, change.before, act.after, declared_secrets(act), act.telling
        )
        if change.action is Action.CREATE:
            templates.create(authority, name, act.after, change.owner, act.actor, act.guard, also=secrets.write)
        else:
            former = name_of(change.moved_from) if change.moved_from else None
            templates.update(
                authority, name, act.after, change.owner, act.precondition, act.actor, act.guard, former_name=former,
                also=secrets.write,
            )  # fmt: skip
        secrets.show()


@lru_cache
def _starter_spec(starter: str) -> dict[str, Any]:
    """Every field of a template, with the starter's values in them. Never changed after it is made."""
    fields = {"name": "x", "authority": "x", **template_defaults({"starter": starter})}
    return TemplateSpec.model_validate(fields).model_dump(mode="json", by_alias=True)


def _unusable(after: Spec) -> str:
    try:
        compile_template(TemplateSpec.model_validate(after))
    except ValidationError as error:
        return problem_of(error)
    except (Malformed, Refused) as error:
        return str(error)
    return ""


def _named(address: str, spec: Spec) -> Spec:
    _, authority, name = address.split("/")
    kept = {key: value for key, value in spec.items() if key not in _NOT_STORED}
    return {"name": name, "authority": authority, **kept}


def _split(moved: str, authority: str) -> tuple[str, str]:
    owner, _, name = moved.rpartition("/")
    return owner or authority, name


def _unfit_hash(after: Spec, view: View) -> str:
    wanted, issuer = after.get("signature_hash"), view.find_spec(authority_of(_address(after)))
    if wanted is None or issuer is None:
        return ""
    try:
        get_signature_algorithm(key_algorithm(issuer["key"]), Hash(wanted))
    except UnsupportedAlgorithm as error:
        return f"signature_hash: {error.detail}"
    return ""


def _address(after: Spec) -> str:
    return template_address(after["authority"], after["name"])


def _path_warning(wish: Desired, after: Spec, view: View) -> str:
    """What the pipeline would refuse each request for."""
    constraints, authority = after.get("basic_constraints") or {}, authority_of(wish.address)
    room = room_below(name_of(authority), view) if constraints.get("ca") else None
    if room is None:
        return ""
    above = "it" if room.by == name_of(authority) else f"authority/{room.by} above it"
    if room.levels <= 0:
        limit = f"has path_length {room.path_length}"
        told = limit if above == "it" else f"cannot have any below it: {above} {limit}"
        return f"makes authorities, but {authority} {told}, so every request is refused"
    own = constraints.get("path_length")
    if own is not None and own >= room.levels:
        return (
            f"makes authorities of path_length {own}, but {authority} leaves them {room.levels - 1} at most "
            f"(path_length {room.path_length} of {above}), so every request is refused"
        )
    return ""


def _validity_findings(wish: Desired, after: Spec, view: View) -> Iterator[Finding]:
    validity, longest = _duration(after.get("validity")), _duration(after.get("max_validity"))
    if validity and longest and longest.after(view.now) < validity.after(view.now):
        text = f"validity {validity} is longer than max_validity {longest}, which wins"
        yield Finding(wish.address, Severity.WARNING, text, wish.at)
    ends = end_of(name_of(authority_of(wish.address)), view)
    if validity and ends is not None and validity.after(view.now).timestamp() > ends:
        text = f"validity {validity} goes beyond the end of {authority_of(wish.address)}; certificates end with it"
        yield Finding(wish.address, Severity.WARNING, text, wish.at)


def _duration(text: object) -> Duration | None:
    return Duration.parse(text) if isinstance(text, str) else None
