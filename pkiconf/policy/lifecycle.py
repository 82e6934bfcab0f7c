"""What may follow what: one table for each thing that has a life. A move that no table holds raises Conflict."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from pkiconf.errors import Conflict
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import RequestState

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)
Moves = Mapping[tuple[State, Event], State]


class RequestEvent(StrEnum):
    ASK_OPERATOR = "wait for an operator"
    AUTO_APPROVE = "be approved without an operator"
    APPROVE = "be approved"
    COMPLETE = "be issued"
    DECLINE = "be declined"
    REJECT = "be rejected"
    GIVE_BACK = "be given back"  # it is certain that nothing was signed
    OFFER = "be offered to be claimed"
    CLAIM = "be claimed"
    UNCLAIM = "wait for its claim again"  # it is certain that nothing was signed
    EXPIRE = "expire"


REQUEST_MOVES: Final[Moves[RequestState, RequestEvent]] = MappingProxyType(
    {
        (RequestState.SUBMITTED, RequestEvent.ASK_OPERATOR): RequestState.PENDING,
        (RequestState.SUBMITTED, RequestEvent.AUTO_APPROVE): RequestState.APPROVED,
        (RequestState.SUBMITTED, RequestEvent.REJECT): RequestState.REJECTED,
        (RequestState.PENDING, RequestEvent.APPROVE): RequestState.APPROVED,
        (RequestState.PENDING, RequestEvent.DECLINE): RequestState.DECLINED,
        (RequestState.PENDING, RequestEvent.REJECT): RequestState.REJECTED,
        (RequestState.APPROVED, RequestEvent.COMPLETE): RequestState.ISSUED,
        (RequestState.APPROVED, RequestEvent.REJECT): RequestState.REJECTED,
        (RequestState.APPROVED, RequestEvent.GIVE_BACK): RequestState.PENDING,
        # Without a key: what is approved waits for whom it is for.
        (RequestState.SUBMITTED, RequestEvent.OFFER): RequestState.AWAITING_CLAIM,
        (RequestState.PENDING, RequestEvent.OFFER): RequestState.AWAITING_CLAIM,
        (RequestState.AWAITING_CLAIM, RequestEvent.OFFER): RequestState.AWAITING_CLAIM,
        (RequestState.AWAITING_CLAIM, RequestEvent.CLAIM): RequestState.APPROVED,
        (RequestState.APPROVED, RequestEvent.UNCLAIM): RequestState.AWAITING_CLAIM,
        (RequestState.AWAITING_CLAIM, RequestEvent.DECLINE): RequestState.DECLINED,
        (RequestState.AWAITING_CLAIM, RequestEvent.EXPIRE): RequestState.EXPIRED,
        (RequestState.EXPIRED, RequestEvent.OFFER): RequestState.AWAITING_CLAIM,
        (RequestState.EXPIRED, RequestEvent.DECLINE): RequestState.DECLINED,
    }
)


class CertificateEvent(StrEnum):
    COMPLETE = "be completed"
    ABANDON = "be abandoned"
    HOLD = "be put on hold"
    RELEASE = "be released"
    REVOKE = "be revoked"


CERTIFICATE_MOVES: Final[Moves[CertificateStatus, CertificateEvent]] = MappingProxyType(
    {
        (CertificateStatus.RESERVED, CertificateEvent.COMPLETE): CertificateStatus.GOOD,
        (CertificateStatus.RESERVED, CertificateEvent.ABANDON): CertificateStatus.ABANDONED,
        (CertificateStatus.GOOD, CertificateEvent.HOLD): CertificateStatus.HELD,
        (CertificateStatus.GOOD, CertificateEvent.REVOKE): CertificateStatus.REVOKED,
        (CertificateStatus.HELD, CertificateEvent.RELEASE): CertificateStatus.GOOD,
        (CertificateStatus.HELD, CertificateEvent.REVOKE): CertificateStatus.REVOKED,
    }
)


class AuthorityState(StrEnum):
    CREATING = "creating"
    WAITING_CERTIFICATE = "waiting_certificate"
    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


class AuthorityEvent(StrEnum):
    AWAIT_CERTIFICATE = "wait for its certificate"
    ACTIVATE = "become active"
    INSTALL_CERTIFICATE = "get a certificate installed"
    RENEW = "be renewed"
    ROLL_OVER = "be rolled over"
    RETIRE = "be retired"
    REVIVE = "be taken back into service"
    DESTROY = "be destroyed"


AUTHORITY_MOVES: Final[Moves[AuthorityState, AuthorityEvent]] = MappingProxyType(
    {
        (AuthorityState.CREATING, AuthorityEvent.ACTIVATE): AuthorityState.ACTIVE,
        (AuthorityState.CREATING, AuthorityEvent.AWAIT_CERTIFICATE): AuthorityState.WAITING_CERTIFICATE,
        (AuthorityState.CREATING, AuthorityEvent.RETIRE): AuthorityState.RETIRED,
        (AuthorityState.WAITING_CERTIFICATE, AuthorityEvent.INSTALL_CERTIFICATE): AuthorityState.ACTIVE,
        (AuthorityState.WAITING_CERTIFICATE, AuthorityEvent.RETIRE): AuthorityState.RETIRED,
        (AuthorityState.ACTIVE, AuthorityEvent.INSTALL_CERTIFICATE): AuthorityState.ACTIVE,
        (AuthorityState.ACTIVE, AuthorityEvent.RENEW): AuthorityState.ACTIVE,
        (AuthorityState.ACTIVE, AuthorityEvent.ROLL_OVER): AuthorityState.ACTIVE,
        (AuthorityState.ACTIVE, AuthorityEvent.RETIRE): AuthorityState.RETIRED,
        (AuthorityState.RETIRED, AuthorityEvent.REVIVE): AuthorityState.ACTIVE,
        (AuthorityState.RETIRED, AuthorityEvent.AWAIT_CERTIFICATE): AuthorityState.WAITING_CERTIFICATE,
        (AuthorityState.RETIRED, AuthorityEvent.DESTROY): AuthorityState.DESTROYED,
    }
)


class TemplateState(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


class TemplateEvent(StrEnum):
    ISSUE = "issue"
    RETIRE = "be retired"
    REVIVE = "be taken back into service"
    DESTROY = "be deleted"


TEMPLATE_MOVES: Final[Moves[TemplateState, TemplateEvent]] = MappingProxyType(
    {
        (TemplateState.ACTIVE, TemplateEvent.ISSUE): TemplateState.ACTIVE,
        (TemplateState.ACTIVE, TemplateEvent.RETIRE): TemplateState.RETIRED,
        (TemplateState.ACTIVE, TemplateEvent.DESTROY): TemplateState.DESTROYED,
        (TemplateState.RETIRED, TemplateEvent.REVIVE): TemplateState.ACTIVE,
        (TemplateState.RETIRED, TemplateEvent.DESTROY): TemplateState.DESTROYED,
    }
)


def move_request(state: RequestState, event: RequestEvent) -> RequestState:
    """The state that follows. Raises Conflict."""
    return _move("request", REQUEST_MOVES, state, event)


def move_certificate(status: CertificateStatus, event: CertificateEvent) -> CertificateStatus:
    """The status that follows. Raises Conflict."""
    return _move("certificate", CERTIFICATE_MOVES, status, event)


def move_authority(state: AuthorityState, event: AuthorityEvent) -> AuthorityState:
    """The state that follows. Raises Conflict."""
    return _move("authority", AUTHORITY_MOVES, state, event)


def move_template(state: TemplateState, event: TemplateEvent) -> TemplateState:
    """The state that follows. Raises Conflict."""
    return _move("template", TEMPLATE_MOVES, state, event)


def _move(what: str, moves: Moves[State, Event], state: State, event: Event) -> State:
    try:
        return moves[state, event]
    except KeyError:
        words = state.value.replace("_", " ")
        possible = [follows.value for (at, follows) in moves if at is state]
        hint = f"It can {', or '.join(possible)}" if possible else "This state is final"
        raise Conflict(f"a {what} that is {words} cannot {event.value}", hint) from None
