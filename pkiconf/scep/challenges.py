"""One-time challenge passwords (RFC 8894 §7.3): made for a template, good for one certificate, for a while."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.names import general_name_text, name_text, parse_general_name_text, parse_name_text
from pkiconf.errors import Refused
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import template_address
from pkiconf.model.actor import Actor
from pkiconf.model.scep import BoundNames
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.scep.digests import Purpose, digest_of
from pkiconf.scep.terms import SCEPTerms, TermsLookup
from pkiconf.steps import Step
from pkiconf.store import grants
from pkiconf.store import scep_challenges as store
from pkiconf.store.database import Connection

CHALLENGE_OCTETS: Final = 8
"""Of randomness, written as upper-case hexadecimal digits: what Microsoft's service gives by default."""

MOST_TRIES: Final = 5
"""How often a challenge may be presented with names that it is not good for."""

LONGEST: Final = timedelta(days=30)

_REMEMBERED: Final = timedelta(days=7)
"""How long one that has expired can still be told from one that never was."""


class CacheFull(Refused):
    """As many challenges as the template allows are waiting to be used."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """As it stands in the database, for people: never the challenge itself."""

    row: store.ChallengeRow
    bound: BoundNames | None

    def state(self, now: int) -> str:
        """unused, used, expired, or `spent`: presented too often with wrong names."""
        if self.row.consumed_at is not None:
            return "used"
        if self.row.expires_at <= now:
            return "expired"
        return "spent" if self.row.tries >= MOST_TRIES else "unused"


class Challenges:
    def __init__(self, parts: Parts, terms: TermsLookup) -> None:
        self._parts = parts
        self._terms = terms

    def create(
        self,
        template_id: int,
        by: Actor,
        ttl: timedelta | None = None,
        bound: BoundNames | None = None,
        grant_id: int | None = None,
        *,
        beside: Callable[[Connection], None] | None = None,
    ) -> Secret:
        """A challenge, told to nobody else: ASCII text. Without `ttl` it is good for as long as the template says.

        `beside`, a profile that is fetched, is done in the same write, before. If it raises, there is no challenge.

        Raises NotFound; Refused where the template takes no challenges, and for one that would be good for more than
        LONGEST; CacheFull.
        """
        terms = self._terms.get(template_id)
        check_may(by, Action.SCEP_CHALLENGE_CREATE, terms.address)
        if not terms.enabled or not terms.spec.takes_challenges:
            raise Refused(
                f"{terms.address} takes no challenges",
                "Write scep: {enabled: true, challenges: true} in its declaration, and apply",
            )
        if ttl is not None and not timedelta(seconds=1) <= ttl <= LONGEST:
            raise Refused("a challenge is good for 30 days at most", "Make it when it is needed")
        challenge = self._parts.entropy.token(CHALLENGE_OCTETS).hex().upper().encode()
        digest = digest_of(self._parts, Purpose.CHALLENGE, template_id, challenge)
        now = to_epoch(self._parts.now())
        expires_at = now + (int(ttl.total_seconds()) if ttl is not None else terms.spec.ndes.challenge_ttl.seconds)
        written = _written(bound) if bound is not None else None

        def write(c: Connection) -> None:
            if beside is not None:
                beside(c)
            store.prune(c, now - int(_REMEMBERED.total_seconds()))
            if _is_full(c, terms, now):
                raise _full(terms)
            number = store.add(
                c, template_id=template_id, digest=digest, bound=written, grant_id=grant_id, created_by=str(by),
                created_at=now, expires_at=expires_at,
            )  # fmt: skip
            details: dict[str, object] = {"challenge": number, "expires_at": expires_at}
            if written is not None:
                details["bound"] = json.loads(written)
            self._parts.record(c, by, Action.SCEP_CHALLENGE_CREATE, terms.address, details)

        step = Step.SCEP_CHALLENGE_CREATE if beside is None else Step.PROFILE_FETCH
        self._parts.db.write(step, write)
        return Secret(challenge)

    def check_room(self, template_id: int) -> None:
        """Raise CacheFull where no more may be made now; NotFound."""
        terms, now = self._terms.get(template_id), to_epoch(self._parts.now())
        if self._parts.db.look(lambda c: _is_full(c, terms, now)):
            raise _full(terms)

    def find(self, template_id: int, presented: str) -> Challenge | None:
        """The challenge that a client presents, whatever has become of it."""
        digest = digest_of(
            self._parts, Purpose.CHALLENGE, template_id, presented.strip().upper().encode("utf-8", "surrogatepass")
        )
        row = self._parts.db.look(lambda c: store.find(c, template_id, digest))
        return Challenge(row, _read(row.bound)) if row is not None else None

    def list(self, template_id: int, most: int = 1000) -> list[Challenge]:
        """Those that can still be used, the oldest first."""
        now = to_epoch(self._parts.now())
        rows = self._parts.db.look(lambda c: store.list_outstanding(c, template_id, now, most))
        return [Challenge(row, _read(row.bound)) for row in rows]

    def consume(self, c: Connection, challenge: Challenge, by: str) -> None:
        """In the transaction of what it is used for, together with the pre-approved request that it was made for.
        Raises Conflict when another request has used either meanwhile."""
        if challenge.row.grant_id is not None:
            grants.claim(c, challenge.row.grant_id)
        store.consume(c, challenge.row.id, by, to_epoch(self._parts.now()), MOST_TRIES)

    def withdraw(self, template_id: int, challenge: Secret, by: Actor) -> None:
        """It came into nobody's hands: it takes no room any more. `by` had made it."""
        digest = digest_of(self._parts, Purpose.CHALLENGE, template_id, challenge.reveal())
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            number = store.void_one(c, template_id, digest, now)
            if number is not None:
                address = f"template/{template_address(c, template_id)}"
                self._parts.record(c, by, "template.scep-challenge-withdraw", address, {"challenge": number})

        self._parts.db.write(Step.SCEP_CHALLENGE_CREATE, write)

    def record_try(self, challenge: Challenge) -> None:
        """It was presented with names that it is not good for."""
        self._parts.db.write(Step.SCEP_TRIES, lambda c: store.record_try(c, challenge.row.id), durable=False)


def _written(bound: BoundNames) -> str:
    return json.dumps(
        {
            "subject": name_text(bound.subject) if bound.subject is not None else None,
            "sans": [general_name_text(name) for name in bound.sans] if bound.sans is not None else None,
        },
        ensure_ascii=False,
    )


def _read(text: str | None) -> BoundNames | None:
    if text is None:
        return None
    fields = json.loads(text)
    return BoundNames(
        parse_name_text(fields["subject"]) if fields["subject"] is not None else None,
        tuple(parse_general_name_text(name) for name in fields["sans"]) if fields["sans"] is not None else None,
    )


def _is_full(c: Connection, terms: SCEPTerms, now: int) -> bool:
    return store.count_outstanding(c, terms.template_id, now) >= terms.spec.ndes.max_outstanding


def _full(terms: SCEPTerms) -> CacheFull:
    most = terms.spec.ndes.max_outstanding
    noun = "challenge waits" if most == 1 else "challenges wait"
    return CacheFull(
        f"{most} {noun} to be used at {terms.address}, and no more may",
        "Use those, wait until they expire, or raise scep.ndes.max_outstanding",
    )
