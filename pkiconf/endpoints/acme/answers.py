"""Resources as JSON (RFC 8555 §7.1), compact, and the headers that go with them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from pkiconf.clock import from_epoch
from pkiconf.endpoints.wsgi import Response
from pkiconf.model.acme import Account, Authorization, AuthorizationStatus, Challenge, Order, OrderStatus, Problem
from pkiconf.model.acme_urls import URLs

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def send(resp: Response, value: object, status: str = "200 OK") -> None:
    resp.status = status
    resp.content_type = "application/json"
    resp.data = _encode(value).encode()


def add_link(resp: Response, url: str, relation: str) -> None:
    """One line for each: some clients read nothing else (RFC 8288 allows both)."""
    resp.add_line("link", f'<{url}>;rel="{relation}"')


def send_account(resp: Response, urls: URLs, account: Account, status: str = "200 OK", **more: object) -> None:
    made: dict[str, Any] = {"status": account.status.value, "contact": list(account.contacts)}
    if account.terms_agreed_at is not None:
        made["termsOfServiceAgreed"] = True
    resp.set_header("Location", urls.account(account.name))
    send(resp, {**made, **more, "orders": urls.orders(account.name)}, status)


def send_order(resp: Response, urls: URLs, order: Order, status: str = "200 OK") -> None:
    """With its Location every time: clients look for it also when they finalize and poll."""
    made: dict[str, Any] = {
        "status": order.status.value,
        "expires": moment(order.expires_at),
        "identifiers": [identifier.record for identifier in order.identifiers],
        "profile": order.profile,
        "authorizations": [urls.authorization(name) for name in order.authorizations],
        "finalize": urls.finalize(order.name),
    }
    if order.not_before is not None:
        made["notBefore"] = moment(order.not_before)
    if order.not_after is not None:
        made["notAfter"] = moment(order.not_after)
    if order.replaces is not None:
        made["replaces"] = order.replaces
    if order.error is not None:
        made["error"] = problem_record(order.error)
    if order.status is OrderStatus.VALID and order.has_certificate:
        made["certificate"] = urls.certificate(order.name)
    resp.set_header("Location", urls.order(order.name))
    if order.retry_after is not None:
        resp.set_header("Retry-After", str(order.retry_after))
    send(resp, made, status)


def send_authorization(resp: Response, urls: URLs, authorization: Authorization, status: str = "200 OK") -> None:
    made: dict[str, Any] = {
        "status": authorization.status.value,
        "expires": moment(authorization.expires_at),
        "identifier": authorization.identifier.record,
        "challenges": [challenge_record(urls, authorization.name, challenge) for challenge in authorization.challenges],
    }
    if authorization.wildcard:
        made["wildcard"] = True
    if authorization.retry_after is not None and authorization.status is AuthorizationStatus.PENDING:
        resp.set_header("Retry-After", str(authorization.retry_after))
    send(resp, made, status)


def challenge_record(urls: URLs, authorization: str, challenge: Challenge) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": challenge.type.value,
        "url": urls.challenge(authorization, challenge.type),
        "status": challenge.status.value,
        "token": challenge.token,
    }
    if challenge.validated_at is not None:
        made["validated"] = moment(challenge.validated_at)
    if challenge.error is not None:
        made["error"] = problem_record(challenge.error)
    return made


def problem_record(problem: Problem) -> dict[str, Any]:
    """§6.7.1: only subproblems name an identifier."""
    made = problem.record
    made.pop("identifier", None)
    return made


@lru_cache(maxsize=1024)
def moment(seconds: int) -> str:
    """RFC 3339, as every client reads it."""
    return from_epoch(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
