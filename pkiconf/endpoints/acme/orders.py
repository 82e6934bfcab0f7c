"""Orders (RFC 8555 §7.4): asked for, looked at, finalized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from pkiconf.endpoints.acme.answers import send_order
from pkiconf.endpoints.acme.door import Door
from pkiconf.endpoints.acme.payloads import moment_of, octets_of, text_of
from pkiconf.endpoints.acme.strict import malformed
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import NotFound
from pkiconf.model.acme import OrderWish
from pkiconf.model.acme_urls import is_name
from pkiconf.policy.acme import parse_identifiers
from pkiconf.services import Services


class NewOrderResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._orders = services.acme.orders
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response) -> None:
        asked = self._door.by_account(req)
        order = self._orders.create(asked.account, _order_wish(asked.wish()))
        send_order(resp, asked.urls, order, falcon.HTTP_201)


class OrderResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._orders = services.acme.orders
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str) -> None:
        asked = self._door.by_account(req)
        asked.check_fetch()
        check_name(name, "order")
        send_order(resp, asked.urls, self._orders.get(asked.account, name))


class FinalizeResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._orders = services.acme.orders
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str) -> None:
        asked = self._door.by_account(req)
        csr = octets_of(asked.wish(), "csr")
        check_name(name, "order")
        send_order(resp, asked.urls, self._orders.finalize(asked.account, name, csr))


def check_name(name: str, what: str) -> None:
    """Raise NotFound for what cannot be the name of anything."""
    if not is_name(name):
        raise NotFound(f"there is no such {what}")


def _order_wish(wish: Mapping[str, Any]) -> OrderWish:
    given = wish.get("identifiers")
    if not isinstance(given, list):
        raise malformed("member 'identifiers' is not an array of identifiers")
    return OrderWish(
        identifiers=parse_identifiers(given),
        profile=text_of(wish, "profile"),
        not_before=moment_of(wish, "notBefore"),
        not_after=moment_of(wish, "notAfter"),
        replaces=text_of(wish, "replaces"),
    )
