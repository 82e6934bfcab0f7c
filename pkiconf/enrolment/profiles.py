"""Profiles for Apple's devices: handed out over their link or as a file, each with a challenge of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pkiconf.authority.purposes import PROFILE
from pkiconf.authority.service_certificates import ServiceCertificate, ServiceCertificates
from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der import oids
from pkiconf.der.signed_data import (
    SignerIdentity,
    assemble_signed_data,
    content_type,
    encode_certificates,
    encode_signed_attributes,
    encode_signer_info,
    message_digest,
    signing_time,
)
from pkiconf.der.verify import verify_signature
from pkiconf.enrolment.apple_profile import ProfileFacts, encode_profile
from pkiconf.enrolment.claims import ASK_AGAIN, Claim, check_open, find_claim
from pkiconf.enrolment.expressible import check_template, key_size, key_usage
from pkiconf.errors import Conflict, PkiconfError
from pkiconf.issuance.issuer import load_settings, path_to_root
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import Request, current_issuer, open_template, template_address
from pkiconf.model.actor import Actor
from pkiconf.model.enrolment import Deliver, LinkEnded
from pkiconf.model.scep import BoundNames
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.scep.challenges import LONGEST, Challenges
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import authorities, grants, requests
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp, get_stamp

WINDOW: Final = timedelta(hours=1)
"""How long after the first fetch a link and the challenges of its profiles are good. Safari fetches twice, and scanners
of mail look first: neither may cost a person the link."""

MOST_FETCHES: Final = 10

_NO_ORDER: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Profile:
    """`der` is the signed profile of request `number`; `name` what a file of it is called; `expires_at` when its
    `challenge` ends."""

    number: int
    name: str
    der: bytes
    expires_at: datetime
    challenge: Secret


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands around a request: the template, the issuer that signs for it now, and where devices find it."""

    template: TemplateSpec
    address: str
    authority_slug: str
    template_slug: str
    issuer_id: int
    stamp: Stamp
    base: str
    path: tuple[bytes, ...]


class Profiles:
    def __init__(self, parts: Parts, challenges: Challenges, service_certificates: ServiceCertificates) -> None:
        self._parts = parts
        self._challenges = challenges
        self._service_certificates = service_certificates

    def look(self, token: str) -> Claim:
        """What a link is good for; nothing is counted. Raises NotFound, LinkEnded."""
        claim = self._parts.db.read(lambda c: find_claim(c, token, Deliver.APPLE))
        check_open(claim, self._parts.now())
        self._window_end(claim)
        return claim

    def fetch(self, token: str, address: str) -> Profile:
        """The profile behind a link; `address` is the client's. The first fetch begins the hour in which it may be
        fetched again; the enrolment ends the link.

        Raises NotFound; LinkEnded for a link that was used, replaced, taken back or has expired; Refused where the
        template takes no challenges any more; SigningUnavailable.
        """
        claim = self.look(token)
        check_may(claim.actor, Action.PROFILE_FETCH, f"request/{claim.number}")
        place = self._parts.db.read(lambda c: _place(c, claim.request))
        check_template(place.template, place.address)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            if not grants.fetch(c, claim.grant, now, MOST_FETCHES):
                raise LinkEnded("this link was replaced, or was fetched too often", ASK_AGAIN)
            self._parts.record(c, claim.actor, "request.fetch-profile", f"request/{claim.number}", {"from": address})

        return self._make(claim, place, claim.actor, self._window_end(claim), write)

    def check_room(self, template: str) -> None:
        """Raise NotFound; Refused where as many challenges of the template as may wait to be used do so already."""
        self._challenges.check_room(self._parts.db.read(lambda c: open_template(c, template)[0].id))

    def make(self, number: int, actor: Actor) -> Profile:
        """The profile of a request that waits to be claimed, for the operator to hand over: it is good for as long as
        the request's link, or as a challenge may be.

        Raises NotFound, Conflict for a request of another kind or state, and as `fetch` does.
        """
        claim = self._parts.db.read(lambda c: _claim(c, number))
        check_may(actor, Action.PROFILE_FETCH, f"request/{number}")
        if claim.grant.deliver != Deliver.APPLE:
            raise Conflict(f"request {number} is claimed with a CSR: it has no profile", "Approve one with --apple")
        check_open(claim, self._parts.now())
        place = self._parts.db.read(lambda c: _place(c, claim.request))
        check_template(place.template, place.address)

        def write(c: Connection) -> None:
            if not grants.is_current(c, claim.grant):
                raise LinkEnded("its link was replaced meanwhile", "Try again")

        return self._make(claim, place, actor, min(claim.expires_at, self._parts.now() + LONGEST), write)

    def take_back(self, profile: Profile, actor: Actor) -> None:
        """It was handed to nobody. Other profiles of its request stay good. Raises Unavailable."""
        row = self._parts.db.read(lambda c: requests.get_request(c, profile.number))
        self._challenges.withdraw(row.template_id, profile.challenge, actor)

    def _window_end(self, claim: Claim) -> datetime:
        """When what is fetched now ends. Raises LinkEnded."""
        now, first = self._parts.now(), claim.grant.fetched_at
        ends = (from_epoch(first) if first is not None else now) + WINDOW
        if ends <= now:
            raise LinkEnded(f"this link was used already, at {ends - WINDOW:%Y-%m-%d %H:%M} UTC", ASK_AGAIN)
        return min(ends, claim.expires_at)

    def _make(
        self, claim: Claim, place: _Place, by: Actor, ends: datetime, beside: Callable[[Connection], None]
    ) -> Profile:
        """Its challenge is made in one write with `beside`, which locks the link: whoever replaces it meanwhile, or
        declines its request, finds the challenge. Who signs is found before, and what cannot be signed all the same
        leaves a challenge that is void."""
        wish, template_id = claim.wish, claim.request.row.template_id
        signer = self._service_certificates.get(place.issuer_id, PROFILE, place.stamp)

        def write(c: Connection) -> None:
            beside(c)
            check_open(_claim(c, claim.number), self._parts.now())

        challenge = self._challenges.create(
            template_id,
            by,
            ends - self._parts.now(),
            BoundNames(wish.subject, wish.sans),
            claim.number,
            beside=write,
        )
        try:
            der = self._signed(signer, place, encode_profile(self._facts(claim, place, challenge)))
        except BaseException:
            with suppress(PkiconfError):  # then it takes room until it expires
                self._challenges.withdraw(template_id, challenge, by)
            raise
        return Profile(claim.number, f"{place.template_slug}.mobileconfig", der, ends, challenge)

    def _facts(self, claim: Claim, place: _Place, challenge: Secret) -> ProfileFacts:
        return ProfileFacts(
            request_id=claim.number,
            base=place.base,
            scep_url=f"{place.base}/scep/{place.authority_slug}/{place.template_slug}",
            authority=place.authority_slug,
            template=place.template_slug,
            subject=claim.wish.subject,
            sans=claim.wish.sans,
            challenge=challenge,
            key_size=key_size(place.template),
            key_usage=key_usage(place.template),
            path=place.path,
        )

    def _signed(self, signer: ServiceCertificate, place: _Place, plist: bytes) -> bytes:
        """CMS SignedData around the profile (RFC 5652 §5), with everything from its signer up to the root: a device may
        have none of it yet."""
        identity = SignerIdentity.of(signer.der, signer.algorithm)
        now = self._parts.now()
        attributes = encode_signed_attributes(
            (content_type(oids.PKCS7_DATA), message_digest(identity.digest.digest(plist)), signing_time(now))
        )
        signature = signer.signer.sign(SigningOrder(_NO_ORDER, Kind.CMS, attributes, signer.algorithm, now))
        verify_signature(signer.spki, signer.algorithm, attributes, signature)
        return assemble_signed_data(
            oids.PKCS7_DATA,
            plist,
            ((identity, encode_signer_info(identity, attributes, signature)),),
            encode_certificates((signer.der, *place.path)),
        )


def _claim(c: Connection, number: int) -> Claim:
    grant = grants.get_grant(c, number)
    row = requests.get_request(c, number)
    if grant.expires_at is None:
        raise Conflict(f"request {number} is not approved yet", f"Use `pkiconf request approve {number}`")
    return Claim(Request(row, template_address(c, row.template_id)), grant)


def _place(c: Connection, request: Request) -> _Place:
    template, address = open_template(c, request.template)
    issuer_id = current_issuer(c, template.id)
    return _Place(
        template=TemplateSpec.model_validate(json.loads(template.spec)),
        address=address,
        authority_slug=authorities.get_authority(c, template.authority_id).slug,
        template_slug=template.slug,
        issuer_id=issuer_id,
        stamp=get_stamp(c, issuer_id),
        base=load_settings(c).enrolment_url,
        path=path_to_root(c, issuer_id),
    )
