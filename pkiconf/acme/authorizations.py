"""Authorizations (RFC 8555 §7.1.4, §7.5): offered, answered, deactivated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pkiconf.acme.accounts import account_actor
from pkiconf.acme.context import AccountTerms, check_issuable, is_good, unauthorized
from pkiconf.acme.names import make_name, make_token
from pkiconf.acme.settle import end_authorization, identifier_of, read_problem
from pkiconf.acme.waiting import Waiting
from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import (
    Account,
    ACMEProblem,
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    ChallengeType,
    Identifier,
    Problem,
    ProblemType,
)
from pkiconf.policy.acme.identifiers import check_none
from pkiconf.policy.acme.patterns import is_preapproved
from pkiconf.policy.acme.terms import Terms, check_active, check_within, choose_profile, offered_challenges
from pkiconf.policy.authorization import Action, check_may
from pkiconf.steps import Step
from pkiconf.store import acme_authorizations, jobs
from pkiconf.store.acme_authorizations import AuthorizationRow, NewAuthorization
from pkiconf.store.database import Connection

VALIDATION_JOB = "acme.validate"
"""The kind of the job that an accepted challenge queues; `dedupe` is the authorization's id, `payload` says whose it
is."""

POLL: Final = 1
"""Seconds after which a client looks again at what is being validated."""

_PAUSES: Final = (1, 3, 10, 30, 60)
"""Seconds before another attempt: DNS and web servers take a moment to have what a client has just put there."""

_LONG_ENOUGH: Final = 3600
"""Seconds for which a proof must still hold, so that the order that leans on it can be finished."""


class Authorizations:
    """Every method is an account's: another one's is 403 `unauthorized`, an unknown one 404 `malformed`."""

    def __init__(self, parts: Parts, terms: AccountTerms, waiting: Waiting) -> None:
        self._parts = parts
        self._terms = terms
        self._waiting = waiting

    def create(self, account: Account, identifier: Identifier) -> tuple[Authorization, bool]:
        """Pre-authorization (§7.4.1), and whether it is new. Raises ACMEProblem `malformed` for a wildcard,
        `rejectedIdentifier`, `unauthorized`."""
        if identifier.is_wildcard:
            raise _malformed(f"{identifier.value}: a wildcard is not authorized by itself; order it (RFC 8555 §7.4.1)")
        actor, address = account_actor(account), f"acme-account/{account.name}"
        check_may(actor, Action.ACME_AUTHORIZATION_CREATE, address)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> tuple[AuthorizationRow, bool]:
            terms = self._terms.of(c, account)
            check_active(terms)
            check_none(check_within(terms, (identifier,)))
            self._check_some_profile(c, terms, identifier)
            row, new = self.obtain(c, account, terms, identifier, now)
            if new:
                details: dict[str, object] = {"authorization": row.name, "identifier": str(identifier)}
                self._parts.record(c, actor, Action.ACME_AUTHORIZATION_CREATE, address, details)
            return row, new

        row, new = self._parts.db.write(Step.ACME_ORDER_CREATE, write)
        return view(row, now), new

    def _check_some_profile(self, c: Connection, terms: Terms, identifier: Identifier) -> None:
        """Raise ACMEProblem unless an order for one of the account's profiles could name the identifier."""
        usual = choose_profile(terms, None)
        refused: ACMEProblem | None = None
        for profile in (usual, *(other for other in sorted(terms.profiles) if other != usual)):
            try:
                check_none(check_issuable(self._terms.issuing(c, terms, profile), (identifier,)))
            except ACMEProblem as ex:
                refused = refused or ex
            else:
                return
        if refused is not None:
            raise refused

    def obtain(
        self, c: Connection, account: Account, terms: Terms, identifier: Identifier, now: int
    ) -> tuple[AuthorizationRow, bool]:
        """An authorization of the account for what it orders, and whether it was made for it: one that stands already
        (the longest valid one, else a pending one), else a new one, valid at once where the name is pre-approved.

        Raises ACMEProblem `rejectedIdentifier` when there is no way to prove it.
        """
        preapproved = is_preapproved(terms.preapproved, identifier)
        offered = () if preapproved else offered_challenges(terms.challenges, identifier)
        name, wildcard = identifier.base.value, identifier.is_wildcard
        lasting = now + min(_LONG_ENOUGH, terms.authorization_lifetime // 2)
        standing = acme_authorizations.list_reusable(
            c, account.id, identifier.type.value, name, wildcard=wildcard, after=lasting
        )
        found = _choose(standing, terms, offered, lasting)
        if found is not None:
            return found, False
        new = NewAuthorization(
            name=make_name(self._parts.entropy, now),
            account_id=account.id,
            kind=identifier.type.value,
            value=name,
            wildcard=int(wildcard),
            status="valid" if preapproved else "pending",
            token=make_token(self._parts.entropy),
            offered=",".join(offered),
            validated_at=now if preapproved else None,
            created_at=now,
            expires_at=now + terms.authorization_lifetime,
        )
        return acme_authorizations.add(c, new), True

    def get(self, account: Account, name: str) -> Authorization:
        """As it is now; one that is being validated for the first time, as it is after that, if that does not take
        long."""
        row = self._own(account, name)
        return self._after_first_attempt(row) if _is_first_attempt(row) else view(row, to_epoch(self._parts.now()))

    def deactivate(self, account: Account, name: str) -> Authorization:
        """§7.5.2; its pending and ready orders become invalid. Raises ACMEProblem `malformed` for one that has ended
        already."""
        row = self._own(account, name)
        actor, address = account_actor(account), f"acme-account/{account.name}"
        check_may(actor, Action.ACME_AUTHORIZATION_DEACTIVATE, address)
        now = to_epoch(self._parts.now())
        identifier = identifier_of(row)
        why = Problem(ProblemType.UNAUTHORIZED, f"the authorization for {identifier.value} was deactivated", identifier)

        def write(c: Connection) -> None:
            self._terms.of(c, account)
            if row.expires_at <= now or not end_authorization(c, row.id, AuthorizationStatus.DEACTIVATED, why):
                raise _malformed(
                    f"the authorization is {_status_now(c, row, now)}; only a pending or valid one ends so"
                )
            details: dict[str, object] = {"authorization": row.name, "identifier": str(identifier)}
            self._parts.record(c, actor, Action.ACME_AUTHORIZATION_DEACTIVATE, address, details)

        self._parts.db.write(Step.ACME_ORDER_WRITE, write)
        return view(row._replace(status="deactivated"), now)

    def respond(self, account: Account, name: str, challenge: ChallengeType) -> Authorization:
        """The client is ready (§7.5.1): queue the validation in the same commit, then wake the worker, and give it the
        moment that it mostly takes.

        Asked again, or for another challenge while one is processing, nothing changes. Raises ACMEProblem `malformed`
        (404) for a challenge that was not offered, `malformed` for an authorization that is not pending any more and
        not valid.
        """
        row = self._own(account, name)
        if challenge.value not in row.offered.split(","):
            raise _malformed("the authorization has no such challenge", status=404)
        now = to_epoch(self._parts.now())
        status = view(row, now).status
        if status is AuthorizationStatus.VALID or (status is AuthorizationStatus.PENDING and row.accepted is not None):
            return view(row, now)
        if status is not AuthorizationStatus.PENDING:
            raise _malformed(f"the authorization is {status}, so its challenges are over; make a new order")
        actor, address = account_actor(account), f"acme-account/{account.name}"
        check_may(actor, Action.ACME_CHALLENGE_RESPOND, address)
        details: dict[str, object] = {
            "authorization": row.name,
            "identifier": str(identifier_of(row)),
            "challenge": challenge.value,
        }

        def write(c: Connection) -> bool:
            self._terms.of(c, account)
            if not acme_authorizations.accept(c, row.id, challenge.value, now):
                return False
            jobs.queue(c, VALIDATION_JOB, str(row.id), f'{{"account":{account.id}}}', now)
            self._parts.record(c, actor, Action.ACME_CHALLENGE_RESPOND, address, details)
            return True

        if self._parts.db.write(Step.ACME_CHALLENGE_ACCEPT, write):
            accepted = row._replace(accepted=challenge.value, accepted_at=now)
            return self._after_first_attempt(accepted, self._parts.wake)
        return self.get(account, name)  # another request was first

    def _after_first_attempt(self, row: AuthorizationRow, begin: Callable[[], None] = lambda: None) -> Authorization:
        """Waits with nothing in its hands: no transaction, no lock, and one of few places of this process."""

        def look() -> AuthorizationRow | None:
            found = self._parts.db.look(lambda c: acme_authorizations.find(c, row.id))
            return None if found is None or _is_first_attempt(found) else found

        return view(self._waiting.until(look, str(row.id), begin) or row, to_epoch(self._parts.now()))

    def _own(self, account: Account, name: str) -> AuthorizationRow:
        row = self._parts.db.look(lambda c: acme_authorizations.find_by_name(c, name))
        if row is None:
            raise _malformed("there is no such authorization", status=404)
        if row.account_id != account.id:
            raise unauthorized("the authorization belongs to another account")
        return row


def _is_first_attempt(row: AuthorizationRow) -> bool:
    """Whether it is being validated and has not failed yet: then there will soon be news."""
    return row.status == AuthorizationStatus.PENDING and row.accepted is not None and row.attempts == 0


def _choose(
    standing: list[AuthorizationRow], terms: Terms, offered: tuple[ChallengeType, ...], lasting: int
) -> AuthorizationRow | None:
    """Of what stands, what today's policy would still give: proved by a challenge that is still offered, or
    pre-approved and still so; a pending one with just these challenges. `offered` is empty for a pre-approved name."""
    proved = [
        row
        for row in standing
        if is_good(terms, row, lasting) and (row.accepted in offered if row.offered else not offered)
    ]
    if proved:
        return max(proved, key=lambda row: row.expires_at)
    text = ",".join(offered)
    pending = (row for row in reversed(standing) if row.status == "pending" and row.offered == text)
    return next(pending, None) if offered else None


def _status_now(c: Connection, row: AuthorizationRow, now: int) -> AuthorizationStatus:
    return view(acme_authorizations.find(c, row.id) or row, now).status


def view(row: AuthorizationRow, now: int) -> Authorization:
    """As a client sees it at `now`. A challenge that was accepted stands alone once the authorization has ended."""
    status = AuthorizationStatus(row.status)
    if row.expires_at <= now and status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
        status = AuthorizationStatus.EXPIRED
    challenges = tuple(_challenge(row, ChallengeType(kind)) for kind in row.offered.split(",") if kind)
    if row.status in ("valid", "invalid"):
        challenges = tuple(challenge for challenge in challenges if challenge.type == row.accepted)
    return Authorization(
        id=row.id,
        name=row.name,
        account_id=row.account_id,
        identifier=identifier_of(row).base,
        wildcard=bool(row.wildcard),
        status=status,
        expires_at=row.expires_at,
        challenges=challenges,
        retry_after=_until_next(row) if status is AuthorizationStatus.PENDING and row.accepted else None,
    )


def _until_next(row: AuthorizationRow) -> int:
    """Seconds until there may be news. Some clients count how often they ask, and would give up before the last attempt
    if they asked each second."""
    return pause_after(row.attempts) if row.attempts else POLL


def pause_after(attempts: int) -> int:
    """Seconds between the last of so many attempts that have failed and the next."""
    return _PAUSES[min(attempts, len(_PAUSES)) - 1]


def _challenge(row: AuthorizationRow, kind: ChallengeType) -> Challenge:
    if kind != row.accepted:
        return Challenge(kind, ChallengeStatus.PENDING, row.token)
    running = ChallengeStatus.PROCESSING if row.status == "pending" else ChallengeStatus.PENDING
    status = {"valid": ChallengeStatus.VALID, "invalid": ChallengeStatus.INVALID}.get(row.status, running)
    error = read_problem(row.error)
    return Challenge(kind, status, row.token, row.validated_at, error)


def _malformed(detail: str, *, status: int | None = None) -> ACMEProblem:
    return ACMEProblem(ProblemType.MALFORMED, detail, status=status)
