"""The tables are the documentation; what is tested is what no table may ever allow, and what is said then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from pkiconf.errors import Conflict
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import RequestState
from pkiconf.policy.lifecycle import (
    AUTHORITY_MOVES,
    CERTIFICATE_MOVES,
    REQUEST_MOVES,
    TEMPLATE_MOVES,
    AuthorityEvent,
    AuthorityState,
    CertificateEvent,
    RequestEvent,
    TemplateEvent,
    TemplateState,
    move_authority,
    move_certificate,
    move_request,
    move_template,
)

Table = tuple[type[StrEnum], type[StrEnum], Mapping[Any, StrEnum], Callable[[Any, Any], StrEnum]]
TABLES: dict[str, Table] = {
    "request": (RequestState, RequestEvent, REQUEST_MOVES, move_request),
    "certificate": (CertificateStatus, CertificateEvent, CERTIFICATE_MOVES, move_certificate),
    "authority": (AuthorityState, AuthorityEvent, AUTHORITY_MOVES, move_authority),
    "template": (TemplateState, TemplateEvent, TEMPLATE_MOVES, move_template),
}
FINAL = {
    "request": {RequestState.ISSUED, RequestState.DECLINED, RequestState.REJECTED},
    "certificate": {CertificateStatus.REVOKED, CertificateStatus.ABANDONED},
    "authority": {AuthorityState.DESTROYED},
    "template": {TemplateState.DESTROYED},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_move_is_in_the_table_or_a_conflict(name: str) -> None:
    states, events, moves, move = TABLES[name]
    for state, event in product(states, events):
        if (state, event) in moves:
            assert move(state, event) is moves[state, event]
            continue
        with pytest.raises(Conflict) as conflict:
            move(state, event)
        assert str(conflict.value).startswith(f"a {name} that is {state.value.replace('_', ' ')} cannot {event.value}")


@pytest.mark.parametrize("name", TABLES)
def test_final_states_are_final(name: str) -> None:
    states, _, moves, _ = TABLES[name]
    assert {state for state in states if not any(at is state for at, _ in moves)} == FINAL[name]


@pytest.mark.parametrize("name", TABLES)
def test_every_event_can_happen(name: str) -> None:
    _, events, moves, _ = TABLES[name]
    assert {event for _, event in moves} == set(events)


def test_the_hint_says_what_is_possible() -> None:
    with pytest.raises(Conflict) as conflict:
        move_certificate(CertificateStatus.HELD, CertificateEvent.HOLD)
    assert str(conflict.value) == (
        "a certificate that is held cannot be put on hold. It can be released, or be revoked"
    )
    with pytest.raises(Conflict) as conflict:
        move_request(RequestState.DECLINED, RequestEvent.APPROVE)
    assert str(conflict.value) == "a request that is declined cannot be approved. This state is final"


@pytest.mark.row("F23")
@pytest.mark.parametrize("state", [RequestState.DECLINED, RequestState.REJECTED, RequestState.ISSUED])
def test_nothing_is_issued_on_a_decided_request(state: RequestState) -> None:
    for event in (RequestEvent.APPROVE, RequestEvent.COMPLETE, RequestEvent.AUTO_APPROVE):
        with pytest.raises(Conflict):
            move_request(state, event)


def test_nothing_is_issued_on_a_request_that_nobody_approved() -> None:
    with pytest.raises(Conflict):
        move_request(RequestState.PENDING, RequestEvent.COMPLETE)


@pytest.mark.row("F94")
def test_only_a_hold_is_released() -> None:
    released = {at for at, event in CERTIFICATE_MOVES if event is CertificateEvent.RELEASE}
    assert released == {CertificateStatus.HELD}


def test_a_certificate_that_may_be_signed_already_is_not_forgotten() -> None:
    """What is reserved ends good or abandoned, and abandoned counts as revoked."""
    ends = {to for (at, _), to in CERTIFICATE_MOVES.items() if at is CertificateStatus.RESERVED}
    assert ends == {CertificateStatus.GOOD, CertificateStatus.ABANDONED}


def test_only_a_retired_authority_is_destroyed() -> None:
    destroyed = {at for at, event in AUTHORITY_MOVES if event is AuthorityEvent.DESTROY}
    assert destroyed == {AuthorityState.RETIRED}


def test_a_retired_template_issues_nothing() -> None:
    with pytest.raises(Conflict):
        move_template(TemplateState.RETIRED, TemplateEvent.ISSUE)
