"""Requests that are approved before there is a key: proposed, offered by a link, sent again, expired."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.names import encode_name, general_name_text, name_text, parse_general_name_text, parse_name
from pkiconf.enrolment.links import Links, digest_of, url_of
from pkiconf.enrolment.outbox import queue_mail
from pkiconf.enrolment.terms import Place, check_wish, wanted
from pkiconf.errors import Conflict, Refused
from pkiconf.issuance.changes import overrides_record
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import template_address
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.durations import Duration
from pkiconf.model.enrolment import Deliver, GrantWish, Offer
from pkiconf.model.keys import KeyType
from pkiconf.model.request import Overrides, PublicKeyFacts, RequestState
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.lifecycle import RequestEvent, move_request
from pkiconf.policy.overrides import apply_overrides
from pkiconf.steps import Step
from pkiconf.store import approvals, grants, mail, requests, scep_challenges
from pkiconf.store.database import Connection
from pkiconf.store.grants import GrantRow
from pkiconf.store.requests import RequestRow

LIFETIME: Final = Duration(7, "d")
"""How long a link is good for, if nothing else is said."""

LONGEST: Final = Duration(90, "d")

_PAGE: Final = 100
_NO_KEY: Final = PublicKeyFacts(KeyType.EC, 0)


class Grants:
    """Acts take the actor. An Offer holds the link, which is told once: nothing that is stored leads back to it."""

    def __init__(self, parts: Parts, pipeline: Pipeline, links: Links) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._links = links

    def propose(self, wish: GrantWish, actor: Actor) -> int:
        """Record a request that brings no key; it waits to be approved. Its number.

        Raises Refused for what could never be issued, NotFound for an unknown template.
        """
        wish, place = check_wish(self._parts, self._pipeline, wish, actor)
        check_may(actor, Action.REQUEST_SUBMIT, f"template/{place.address}")
        now = to_epoch(self._parts.now())
        state = move_request(RequestState.SUBMITTED, RequestEvent.ASK_OPERATOR)
        return self._parts.db.write(Step.REQUEST_SUBMIT, lambda c: self._add(c, wish, place, state, actor, now))

    def preapprove(self, wish: GrantWish, actor: Actor, lifetime: Duration = LIFETIME) -> Offer:
        """Record and approve in one go: the link is good for `lifetime`. Raises as `propose` does."""
        wish, place = check_wish(self._parts, self._pipeline, wish, actor)
        for action in (Action.REQUEST_SUBMIT, Action.REQUEST_APPROVE):
            check_may(actor, action, f"template/{place.address}")
        expires_at, salt = self._ends(lifetime), self._links.new_salt()
        now = to_epoch(self._parts.now())
        state = move_request(RequestState.SUBMITTED, RequestEvent.OFFER)

        def write(c: Connection) -> int:
            number = self._add(c, wish, place, state, actor, now)
            approvals.add(c, number, str(actor), "approve", None, now)
            self._offer(c, number, 1, salt, expires_at, wish.email)
            details = {"expires": expires_at.isoformat(), "email": wish.email, "deliver": wish.deliver}
            self._parts.record(c, actor, "request.approve", f"request/{number}", details)
            return number

        number = self._parts.db.write(Step.REQUEST_DECIDE, write)
        return self._told(number, place, wish.deliver, salt, expires_at, wish.email)

    def approve(self, number: int, overrides: Overrides, actor: Actor, lifetime: Duration = LIFETIME) -> Offer:
        """Approve a request that brought no key, as changed by `overrides`.

        Raises NotFound; Conflict for one that brought its key or was decided before; Refused as `propose` does.
        """
        row, grant, address = self._parts.db.read(lambda c: _rows(c, number))
        check_may(actor, Action.REQUEST_APPROVE, f"template/{address}")
        if row.state != RequestState.PENDING:
            raise _decided(row)
        wish, place = check_wish(self._parts, self._pipeline, _changed(wish_of(row, grant, address), overrides), actor)
        expires_at, salt = self._ends(lifetime), self._links.new_salt()
        changes, now = overrides_record(overrides), to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            requests.move(
                c, number, RequestState.PENDING, move_request(RequestState.PENDING, RequestEvent.OFFER),
                subject=name_text(wish.subject), names=_names(wish), decided_at=now,
                overrides=json.dumps(changes, sort_keys=True),
            )  # fmt: skip
            grants.rename(c, number, encode_name(wish.subject), _validity(wish.validity))
            approvals.add(c, number, str(actor), "approve", None, now)
            self._offer(c, number, 1, salt, expires_at, wish.email)
            details = {"overrides": changes, "expires": expires_at.isoformat(), "email": wish.email}
            self._parts.record(c, actor, "request.approve", f"request/{number}", details)

        self._parts.db.write(Step.REQUEST_DECIDE, write)
        return self._told(number, place, wish.deliver, salt, expires_at, wish.email)

    def resend(self, number: int, actor: Actor, lifetime: Duration = LIFETIME, email: str | None = None) -> Offer:
        """Another link for a request that waits to be claimed, or that nobody claimed in time; the ones before lead
        nowhere from then on. `email` tells another recipient.

        Raises NotFound; Conflict for one that brought its key, is not approved, was claimed or declined.
        """
        row, grant, address = self._parts.db.read(lambda c: _rows(c, number))
        check_may(actor, Action.REQUEST_RESEND, f"template/{address}")
        if row.state == RequestState.PENDING:
            raise Conflict(f"request {number} is not approved yet", f"Use `pkiconf request approve {number}`")
        target = move_request(RequestState(row.state), RequestEvent.OFFER)
        wish = wish_of(row, grant, address)
        wish, place = check_wish(self._parts, self._pipeline, replace(wish, email=email or wish.email), actor)
        expires_at, salt = self._ends(lifetime), self._links.new_salt()
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            requests.move(c, number, row.state, target)
            mail.void(c, number, now)
            self._offer(c, number, grant.token_number + 1, salt, expires_at, wish.email)
            # After the grant is locked: a profile that is being fetched has its challenge by then, or is refused.
            scep_challenges.void(c, number, now)
            details = {"expires": expires_at.isoformat(), "email": wish.email}
            self._parts.record(c, actor, "request.resend", f"request/{number}", details)

        self._parts.db.write(Step.REQUEST_DECIDE, write)
        return self._told(number, place, wish.deliver, salt, expires_at, wish.email)

    def expire_overdue(self) -> int:
        """End what nobody claimed in time; how many."""
        now = to_epoch(self._parts.now())
        overdue = self._parts.db.read(lambda c: grants.list_overdue(c, now, _PAGE))
        ended = 0
        for grant in overdue:
            with suppress(Conflict):  # claimed, declined or sent again meanwhile
                self._parts.db.write(Step.REQUEST_DECIDE, self._expiry(grant, now))
                ended += 1
        return ended

    def find(self, number: int) -> tuple[GrantRow, list[mail.MailRow]] | None:
        """What a request without a key was approved for, and what was mailed; None for one that brought its key."""

        def read(c: Connection) -> tuple[GrantRow, list[mail.MailRow]] | None:
            grant = grants.find_grant(c, number)
            return (grant, mail.list_mail(c, number)) if grant is not None else None

        return self._parts.db.read(read)

    def _expiry(self, grant: GrantRow, now: int) -> Any:  # noqa: ANN401 - a closure
        def write(c: Connection) -> None:
            row = requests.get_request(c, grant.request_id)
            current = grants.get_grant(c, grant.request_id)
            if current.token_number != grant.token_number:
                raise Conflict(f"request {grant.request_id} was sent again meanwhile")
            requests.move(c, row.id, row.state, move_request(RequestState(row.state), RequestEvent.EXPIRE))
            mail.void(c, row.id, now)
            self._parts.record(c, SYSTEM, "request.expire", f"request/{row.id}", {})

        return write

    def _add(self, c: Connection, wish: GrantWish, place: Place, state: RequestState, actor: Actor, now: int) -> int:
        new = requests.NewRequest(
            template_id=place.template_id,
            csr=b"",
            subject=name_text(wish.subject),
            names=_names(wish),
            submitted_at=now,
            submitted_by=str(actor),
            state=str(state),
        )
        number = requests.add(c, new)
        grants.add(
            c, number, subject=encode_name(wish.subject), validity=_validity(wish.validity), email=wish.email,
            deliver=wish.deliver,
        )  # fmt: skip
        self._parts.record(c, actor, "request.submit", f"request/{number}", {"template": place.address})
        return number

    def _offer(
        self, c: Connection, number: int, count: int, salt: bytes, expires_at: datetime, email: str | None
    ) -> None:
        grants.offer(
            c, number, salt=salt, digest=digest_of(self._links.token(salt, number)), number=count,
            expires_at=to_epoch(expires_at), email=email,
        )  # fmt: skip
        if email is not None:
            queue_mail(c, number, count, email, to_epoch(self._parts.now()))

    def _told(
        self, number: int, place: Place, deliver: Deliver, salt: bytes, expires_at: datetime, email: str | None
    ) -> Offer:
        if email is not None:
            self._parts.wake()
        url = url_of(place.settings.enrolment_url, deliver, self._links.token(salt, number))
        return Offer(number, url, expires_at, email)

    def _ends(self, lifetime: Duration) -> datetime:
        if lifetime.seconds > LONGEST.seconds:
            raise Refused(f"a link that is good for {lifetime} is good for too long", f"Give at most {LONGEST}")
        return lifetime.after(self._parts.now())


def wish_of(row: RequestRow, grant: GrantRow, address: str) -> GrantWish:
    """What stands in the rows."""
    validity = json.loads(grant.validity or "{}")
    return GrantWish(
        template=address,
        subject=parse_name(grant.subject),
        sans=tuple(parse_general_name_text(text) for text in json.loads(row.names)),
        validity=Overrides(
            days=validity.get("days"),
            not_before=_moment(validity.get("not_before")),
            not_after=_moment(validity.get("not_after")),
        ),
        email=grant.email,
        deliver=Deliver(grant.deliver),
    )


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else from_epoch(seconds)


def _validity(overrides: Overrides) -> str | None:
    written: dict[str, int] = {}
    if overrides.days is not None:
        written["days"] = overrides.days
    if overrides.not_before is not None:
        written["not_before"] = to_epoch(overrides.not_before)
    if overrides.not_after is not None:
        written["not_after"] = to_epoch(overrides.not_after)
    return json.dumps(written, sort_keys=True, separators=(",", ":")) if written else None


def _names(wish: GrantWish) -> str:
    return json.dumps([general_name_text(name) for name in wish.sans], separators=(",", ":"))


def _changed(wish: GrantWish, overrides: Overrides) -> GrantWish:
    changed = apply_overrides(wanted(wish.subject, wish, b"", _NO_KEY), overrides)
    given = (overrides.days, overrides.not_before, overrides.not_after) != (None, None, None)
    validity = overrides if given else wish.validity
    return replace(wish, subject=changed.subject, sans=changed.sans, validity=validity)


def _rows(c: Connection, number: int) -> tuple[RequestRow, GrantRow, str]:
    grant = grants.get_grant(c, number)
    row = requests.get_request(c, number)
    return row, grant, template_address(c, row.template_id)


def _decided(row: RequestRow) -> Conflict:
    state = row.state.replace("_", " ")
    return Conflict(f"request {row.id} is {state} already", f"Look at it: pkiconf request show {row.id}")
