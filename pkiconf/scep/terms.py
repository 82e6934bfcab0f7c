"""What a template lets devices do over SCEP, read from its rows once and kept while they stand."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import Final

from pkiconf.errors import NotFound, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.policy.scep import Network
from pkiconf.spec.scep import SCEPSpec
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import templates
from pkiconf.store.database import Connection
from pkiconf.store.scep_templates import SCEPPlace, find_place, find_place_of

_OFF: Final = SCEPSpec()


@dataclass(frozen=True, slots=True)
class SCEPTerms:
    """`spec` has every value; the networks are those that enrolment and the page of challenges may be used from, None
    for anywhere. `enabled` is false also where the template or its authority issues nothing; `subject_is_written` says
    that the template writes the whole subject, whatever is asked for."""

    place: SCEPPlace
    spec: SCEPSpec
    enabled: bool
    subject_is_written: bool
    enrolment_networks: tuple[Network, ...] | None
    challenge_networks: tuple[Network, ...] | None

    @property
    def template_id(self) -> int:
        return self.place.template_id

    @property
    def address(self) -> str:
        """`template/<authority>/<name>`, for the audit."""
        return self.place.address


class TermsLookup:
    """For all threads of one process: a statement finds out whether what is kept still holds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[int, SCEPTerms] = {}

    def at(self, authority: str, template: str) -> SCEPTerms:
        """By the slugs of a URL. Raises NotFound for what names no template, Refused where SCEP is off."""
        terms = self.find(authority, template)
        if terms is None:
            raise NotFound("there is no such template")
        if not terms.enabled:
            raise Refused("SCEP is not enabled for this template")
        return terms

    def find(self, authority: str, template: str) -> SCEPTerms | None:
        """By the slugs of a URL, also where SCEP is off."""
        # PostgreSQL takes no NUL in a text, not even to look for it.
        if "\0" in authority + template:
            return None
        place = self._parts.db.look(lambda c: find_place(c, authority, template))
        return self._of(place) if place is not None else None

    def get(self, template_id: int) -> SCEPTerms:
        """Also where SCEP is off. Raises NotFound."""
        place = self._parts.db.look(lambda c: find_place_of(c, template_id))
        if place is None:
            raise NotFound(f"there is no template {template_id}")
        return self._of(place)

    def _of(self, place: SCEPPlace) -> SCEPTerms:
        known = self._known.get(place.template_id)
        if known is None or known.place != place:
            known = self._known[place.template_id] = self._parts.db.look(lambda c: _read(c, place))
        return known


def _read(c: Connection, place: SCEPPlace) -> SCEPTerms:
    """The row may have changed since `place` was read; the next look finds that out."""
    template = TemplateSpec.model_validate(json.loads(templates.get_template(c, place.template_id).spec))
    spec = template.scep or _OFF
    issues = place.lifecycle == "active" and place.authority_lifecycle != "retired" and template.enabled
    access = spec.ip_acl
    networks = None if access.allow is None else tuple(ipaddress.ip_network(text) for text in access.allow)
    return SCEPTerms(
        place,
        spec,
        spec.enabled and issues,
        template.subject.from_ == "template",
        networks if access.applies_to in ("scep", "both") else None,
        networks if access.applies_to in ("ndes", "both") else None,
    )
