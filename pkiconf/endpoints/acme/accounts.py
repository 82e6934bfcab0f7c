"""Accounts (RFC 8555 §7.3): registered, looked at, changed, deactivated; their orders; another key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import falcon

from pkiconf.acme.accounts import Registration, account_actor, check_valid
from pkiconf.acme.bindings import OpenBinding
from pkiconf.der.keys import parse_public_key
from pkiconf.endpoints.acme.answers import add_link, send, send_account
from pkiconf.endpoints.acme.door import AccountRequest, Door, KeyRequest
from pkiconf.endpoints.acme.envelope import read_binding, read_key_change
from pkiconf.endpoints.acme.payloads import flag_of, is_deactivation, texts_of
from pkiconf.endpoints.acme.strict import malformed
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import Account, AccountKey, ACMEProblem, ProblemType
from pkiconf.model.acme_urls import is_name
from pkiconf.policy.keys import check_public_key
from pkiconf.services import Services
from pkiconf.store import compromised_keys

_PAGE: Final = 100
"""Orders in one answer."""


class NewAccountResource:
    """At a directory of its own, a policy may let anybody in."""

    def __init__(self, services: Services, door: Door) -> None:
        self._services = services
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, policy: str | None = None) -> None:
        asked = self._door.by_key(req)
        wish = asked.wish()
        only_existing = flag_of(wish, "onlyReturnExisting")
        key = asked.key.account_key
        known = self._services.acme.accounts.find_by_key(key.thumbprint)
        if only_existing and known is None:
            raise ACMEProblem(ProblemType.ACCOUNT_DOES_NOT_EXIST, "there is no account for this key")
        if known is None:
            check_account_key(self._services.parts, key)
        elif only_existing or wish.get("externalAccountBinding") is None:
            check_valid(known)
            send_account(resp, asked.urls, known)
            return
        self._register(req, resp, asked, wish, policy, known)

    def _register(
        self, req: falcon.Request, resp: Response, asked: KeyRequest, wish: Mapping[str, Any], policy: str | None,
        known: Account | None,
    ) -> None:  # fmt: skip
        registration = Registration(
            key=asked.key.account_key,
            contacts=texts_of(wish, "contact") or (),
            terms_agreed=bool(flag_of(wish, "termsOfServiceAgreed")),
            client=req.context.client,
            binding=self._binding(asked, wish, known),
            policy=policy,
        )
        account, is_new = self._services.acme.accounts.register(registration)
        if not is_new:
            send_account(resp, asked.urls, account)
        elif registration.binding is None:
            send_account(resp, asked.urls, account, falcon.HTTP_201)
        else:  # §7.3.4: what was sent is in the answer
            more = {"externalAccountBinding": wish["externalAccountBinding"]}
            send_account(resp, asked.urls, account, falcon.HTTP_201, **more)

    def _binding(self, asked: KeyRequest, wish: Mapping[str, Any], known: Account | None) -> OpenBinding | None:
        """The binding that was presented, its MAC checked. One that a registered key presents again needs not be open
        any more: its account is given back whatever else was sent (§7.3.1)."""
        if wish.get("externalAccountBinding") is None:
            return None
        try:
            claim = read_binding(wish["externalAccountBinding"], asked.url)
            binding = self._services.acme.bindings.open(claim.key_id, self._services.parts.now())
            claim.check(binding.key.reveal(), asked.key.account_key)
        except ACMEProblem:
            if known is None:
                raise
            return None
        return binding


class AccountResource:
    def __init__(self, services: Services, door: Door) -> None:
        self._accounts = services.acme.accounts
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str) -> None:
        asked = self._door.by_account(req)
        check_own(asked, name)
        account = asked.account
        if not asked.is_fetch:
            account = self._change(account, asked.wish())
        send_account(resp, asked.urls, account)

    def _change(self, account: Account, wish: Mapping[str, Any]) -> Account:
        if is_deactivation(wish):
            return self._accounts.deactivate(account, account_actor(account))
        contacts, agreed = texts_of(wish, "contact"), flag_of(wish, "termsOfServiceAgreed")
        if contacts is None and agreed is None:
            return account  # everything else is ignored (§7.3.2)
        return self._accounts.update(account, contacts=contacts, terms_agreed=agreed)


class OrdersResource:
    """§7.1.2.1: URLs of the account's orders, a page at a time."""

    def __init__(self, services: Services, door: Door) -> None:
        self._orders = services.acme.orders
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response, name: str) -> None:
        asked = self._door.by_account(req)
        asked.check_fetch()
        check_own(asked, name)
        names, cursor = self._orders.page(asked.account, _cursor(req), _PAGE)
        if cursor is not None:
            add_link(resp, asked.urls.orders(name, cursor), "next")
        send(resp, {"orders": [asked.urls.order(order) for order in names]})


class KeyChangeResource:
    """§7.3.5: signed by the old key, around what the new key signed."""

    def __init__(self, services: Services, door: Door) -> None:
        self._services = services
        self._door = door

    def on_post(self, req: falcon.Request, resp: Response) -> None:
        asked = self._door.by_account(req)
        change = read_key_change(asked.payload, asked.url)
        if change.account != asked.urls.account(asked.account.name):
            raise malformed("account in the inner JWS is not the account that signed the outer one")
        if change.old_key.account_key.thumbprint != asked.account.thumbprint:
            raise malformed("oldKey in the inner JWS is not the account's key")
        check_account_key(self._services.parts, change.key.account_key)
        account = self._services.acme.accounts.change_key(asked.account, change.key.account_key)
        send_account(resp, asked.urls, account)


def check_own(asked: AccountRequest, name: str) -> None:
    """Raise ACMEProblem `unauthorized` for another account's URL, whether there is such an account or not."""
    if not is_name(name) or name != asked.account.name:
        raise ACMEProblem(ProblemType.UNAUTHORIZED, "the request is signed by another account than its URL names")


def check_account_key(parts: Parts, key: AccountKey) -> None:
    """Raise ACMEProblem `badPublicKey` for a key that is weak, or known to strangers (RFC 8555 §6.2, §11.1)."""
    compromised = parts.db.look(lambda c: compromised_keys.known(c, key.spki))
    try:
        check_public_key(key.spki, parse_public_key(key.spki), compromised)
    except (Refused, Malformed, UnsupportedAlgorithm) as error:
        raise ACMEProblem(ProblemType.BAD_PUBLIC_KEY, str(error)) from None


def _cursor(req: falcon.Request) -> int:
    text = req.get_param("cursor") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise malformed("cursor is not one of those that Link headers give")
    return int(text)
