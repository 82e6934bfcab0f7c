"""A certificate that was approved in advance, and whoever has the link and a key: exactly the approved names, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.csr import parse_csr
from pkiconf.der.names import name_text
from pkiconf.enrolment.grants import wish_of
from pkiconf.enrolment.links import digest_of_text, no_such_link
from pkiconf.enrolment.terms import ORIGIN, wanted
from pkiconf.errors import Refused
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import Request, current_issuer, template_address
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID
from pkiconf.model.enrolment import Deliver, GrantWish, LinkEnded
from pkiconf.model.request import CertificateRequest, Issued, Outcome, RequestState
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.overrides import comparable, describe
from pkiconf.policy.serials import serial_bytes
from pkiconf.store import grants, requests
from pkiconf.store.database import Connection
from pkiconf.store.grants import GrantRow

ASK_AGAIN: Final = "Ask whoever sent it for another"


@dataclass(frozen=True, slots=True)
class Claim:
    """A link and what it stands for. `number` is the request's."""

    request: Request
    grant: GrantRow

    @property
    def number(self) -> int:
        return self.request.row.id

    @property
    def state(self) -> RequestState:
        return RequestState(self.request.row.state)

    @property
    def expires_at(self) -> datetime:
        assert self.grant.expires_at is not None, "a link comes with its end"
        return from_epoch(self.grant.expires_at)

    @property
    def wish(self) -> GrantWish:
        return wish_of(self.request.row, self.grant, self.request.template)

    @property
    def actor(self) -> Actor:
        return Actor("link", f"request-{self.number}", "claim-link")


def find_claim(c: Connection, token: str, deliver: Deliver) -> Claim:
    """By the token as it was presented. Raises NotFound, also for a link of the other kind."""
    grant = grants.get_grant_by_token(c, digest_of_text(token))
    if grant.deliver != deliver:
        raise no_such_link()
    row = requests.get_request(c, grant.request_id)
    return Claim(Request(row, template_address(c, row.template_id)), grant)


def check_open(claim: Claim, now: datetime) -> None:
    """Raise LinkEnded unless it may still be used."""
    match claim.state:
        case RequestState.AWAITING_CLAIM if now < claim.expires_at:
            return
        case RequestState.AWAITING_CLAIM | RequestState.EXPIRED:
            raise LinkEnded("this link has expired", ASK_AGAIN)
        case RequestState.DECLINED:
            raise LinkEnded("what this link was for has been taken back", ASK_AGAIN)
    raise LinkEnded("this link was used already", "It is good for one certificate. " + ASK_AGAIN)


class Claims:
    def __init__(self, parts: Parts, pipeline: Pipeline) -> None:
        self._parts = parts
        self._pipeline = pipeline

    def look(self, token: str) -> Claim:
        """What a link is good for. Raises NotFound, LinkEnded."""
        claim = self._parts.db.read(lambda c: find_claim(c, token, Deliver.CLAIM))
        check_open(claim, self._parts.now())
        return claim

    def claim(self, token: str, csr: bytes, address: str) -> Outcome:
        """The certificate, for the key of a CSR (PEM or DER); asked again with the same CSR, the same certificate.
        `address` is the client's.

        Raises NotFound; LinkEnded for a link that was used with another CSR, replaced, taken back or has expired;
        Malformed, Unverified, UnsupportedAlgorithm for the CSR; Refused for one that asks for other names. None of
        them uses the link up, and neither does Rejected.
        """
        claim = self._parts.db.read(lambda c: find_claim(c, token, Deliver.CLAIM))
        check_may(claim.actor, Action.REQUEST_CLAIM, f"request/{claim.number}")
        parsed = parse_csr(csr)
        if claim.request.row.csr == parsed.der:
            found = self._pipeline.intents.find(ORIGIN, str(claim.number))
            if found is not None:
                return found
        check_open(claim, self._parts.now())
        _check_names(parsed, claim.wish)
        outcome = self._pipeline.issue(self._order(claim, parsed, address))
        if isinstance(outcome, Issued) and parse_certificate(outcome.der).spki != parsed.spki:
            raise LinkEnded("this link was used already", ASK_AGAIN)  # by somebody who was first by a moment
        return outcome

    def _order(self, claim: Claim, parsed: CertificateRequest, address: str) -> IssuanceOrder:
        template_id = claim.request.row.template_id
        return IssuanceOrder(
            issuer_id=self._parts.db.read(lambda c: current_issuer(c, template_id)),
            template_id=template_id,
            wanted=wanted(claim.wish.subject, claim.wish, parsed.spki, parsed.key),
            origin_kind=ORIGIN,
            origin_id=str(claim.number),
            address=f"template/{claim.request.template}",
            actor=claim.actor,
            reserved=self._taken(claim, parsed, address),
        )

    def _taken(
        self, claim: Claim, parsed: CertificateRequest, address: str
    ) -> Callable[[Connection, CertificateID], None]:
        """What uses the link up, in the transaction that reserves the certificate."""
        now = self._parts.now()

        def write(c: Connection, certificate: CertificateID) -> None:
            # The request before the grant, as everywhere.
            grants.claim(c, claim.number)
            if not grants.is_current(c, claim.grant) or to_epoch(now) >= (claim.grant.expires_at or 0):
                raise LinkEnded("this link was replaced, or has expired", ASK_AGAIN)
            requests.move(
                c, claim.number, RequestState.APPROVED, RequestState.APPROVED, csr=parsed.der,
                issuer_id=certificate.issuer_id, serial=serial_bytes(certificate.serial_number),
            )  # fmt: skip
            self._parts.record(c, claim.actor, "request.claim", f"request/{claim.number}", {"from": address})

        return write


def _check_names(csr: CertificateRequest, wish: GrantWish) -> None:
    """The CSR is there for its key. One that names something else is a mistake, and told so. Raises Refused."""
    approved = {(attribute.oid, attribute.value) for attribute in wish.subject.attributes}
    if any((attribute.oid, attribute.value) not in approved for attribute in csr.subject.attributes):
        raise Refused(
            f"the request names {name_text(csr.subject)}, which is not what was approved: {name_text(wish.subject)}",
            "Make one with that subject, or with none",
        )
    allowed = {comparable(name) for name in wish.sans}
    for name in csr.sans:
        if comparable(name) not in allowed:
            raise Refused(f"the request names {describe(name)}, which was not approved", "Make one without it")
