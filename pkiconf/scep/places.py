"""What stands behind a SCEP URL, read once and kept while its rows stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pkiconf.authority.purposes import SCEP_RA
from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.clock import to_epoch
from pkiconf.errors import NotFound, Refused, SigningUnavailable
from pkiconf.issuance.issuer import path_to_root
from pkiconf.issuance.parts import Parts
from pkiconf.scep.recipients import Candidate, Recipient, list_candidates, open_recipient
from pkiconf.scep.terms import SCEPTerms, TermsLookup
from pkiconf.spec.scep import SCEPSpec
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import authorities, templates
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp, get_stamp
from pkiconf.store.scep_places import PlaceStamp, find_place


@dataclass(frozen=True, slots=True)
class Place:
    """`recipients` are those of the present generation first. `issuers` maps the DER subject of each issuer that still
    answers for what it signed to its row ids. `path` is the present issuer's certificate and all above it; `previous`
    the issuer before it, during a rollover."""

    stamp: PlaceStamp
    terms: SCEPTerms
    template: TemplateSpec
    issuer_id: int
    recipients: tuple[Recipient, ...]
    issuers: Mapping[bytes, tuple[int, ...]]
    path: tuple[bytes, ...]
    previous: int | None

    @property
    def template_id(self) -> int:
        return self.stamp.template_id

    @property
    def spec(self) -> SCEPSpec:
        return self.terms.spec

    @property
    def address(self) -> str:
        """`template/<authority>/<name>`."""
        return self.terms.address

    def now_open(self, now: datetime) -> tuple[Recipient, ...]:
        """The recipients that have not ended."""
        moment = to_epoch(now)
        return tuple(one for one in self.recipients if moment < one.until)

    def presented(self, now: datetime) -> Recipient:
        """Whom clients are told to encrypt to. Raises SigningUnavailable."""
        for one in self.now_open(now):
            if one.issuer_id == self.issuer_id:
                return one
        raise SigningUnavailable(f"{self.address} has no registration authority now")


@dataclass(frozen=True, slots=True)
class _Read:
    """A place whose keys are not opened yet."""

    stamp: PlaceStamp
    issuer_id: int
    template: TemplateSpec
    candidates: tuple[Candidate, ...]
    issuers: Mapping[bytes, tuple[int, ...]]
    path: tuple[bytes, ...]
    previous: int | None
    issuer_stamp: Stamp


class Places:
    """Those of this process."""

    def __init__(self, parts: Parts, terms: TermsLookup, services: ServiceCertificates) -> None:
        self._parts = parts
        self._terms = terms
        self._services = services
        self._known: dict[tuple[str, str], Place] = {}

    def find(self, authority: str, template: str) -> Place:
        """By the slugs of a URL, as the rows say now.

        Raises NotFound for what names no template, Refused where SCEP is off; SigningUnavailable when there is no
        registration authority and none can be made; Unavailable.
        """
        found = self.find_known(authority, template)
        if found is None:
            found = self._known[authority, template] = self._make(authority, template)
        return found

    def find_known(self, authority: str, template: str) -> Place | None:
        """One that was found before, with its terms, if all that it was made from is the same; nothing is made here.
        Raises Unavailable."""
        known = self._known.get((authority, template))
        if known is None:
            return None
        stamp = self._parts.db.look(lambda c: find_place(c, authority, template))
        ended = all(to_epoch(self._parts.now()) >= one.until for one in known.recipients[:1])
        return known if known.stamp == stamp and not ended else None

    def _make(self, authority: str, template: str) -> Place:
        terms = self._terms.at(authority, template)
        now = to_epoch(self._parts.now())
        read = self._parts.db.read(lambda c: _read(c, authority, template))
        if not any(one.issuer_id == read.issuer_id and now < one.until for one in read.candidates):
            self._services.get(read.issuer_id, SCEP_RA, read.issuer_stamp)
            read = self._parts.db.read(lambda c: _read(c, authority, template))
        return Place(
            stamp=read.stamp,
            terms=terms,
            template=read.template,
            issuer_id=read.issuer_id,
            recipients=tuple(open_recipient(self._parts, one) for one in read.candidates if now < one.until),
            issuers=read.issuers,
            path=read.path,
            previous=read.previous,
        )


def _read(c: Connection, authority: str, template: str) -> _Read:
    stamp = find_place(c, authority, template)
    if stamp is None:
        raise NotFound("there is no such template")
    if stamp.current_issuer_id is None:
        raise Refused("the authority has no certificate yet")
    version = templates.get_template_version(c, stamp.template_version_id)
    issuers: dict[bytes, tuple[int, ...]] = {}
    previous = None
    for row in authorities.list_issuers(c, stamp.authority_id):
        if row.state in ("active", "retiring"):
            issuers[row.subject] = (*issuers.get(row.subject, ()), row.id)
        if row.state == "retiring":
            previous = row.id
    return _Read(
        stamp=stamp,
        issuer_id=stamp.current_issuer_id,
        template=TemplateSpec.model_validate(json.loads(version.resolved)),
        candidates=tuple(list_candidates(c, stamp.authority_id, stamp.current_issuer_id)),
        issuers=issuers,
        path=path_to_root(c, stamp.current_issuer_id),
        previous=previous,
        issuer_stamp=get_stamp(c, stamp.current_issuer_id),
    )
