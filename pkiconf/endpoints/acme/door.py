"""The one way in for every POST (RFC 8555 §6.2 to §6.5).

What costs little is asked first. Nothing is written before the signature holds, and then the nonce is used up before
anything else happens; so who cannot sign leaves no trace, and who repeats a request finds it used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import falcon

from pkiconf.acme.accounts import Accounts, check_valid
from pkiconf.acme.nonces import Nonces, OpenNonce
from pkiconf.endpoints.acme.envelope import JWS, read_jws
from pkiconf.endpoints.acme.jws import PublicKey, kept_key, read_key
from pkiconf.endpoints.acme.strict import malformed, parse_object
from pkiconf.endpoints.acme.whereabouts import Whereabouts
from pkiconf.endpoints.body import read_body
from pkiconf.model.acme import Account, ACMEProblem, ProblemType
from pkiconf.model.acme_urls import URLs
from pkiconf.services import Services

MEDIA_TYPE: Final = "application/jose+json"
LARGEST_BODY: Final = 128 * 1024
"""Octets: a CSR for hundreds of names, twice in base64, is below."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has asked for, and signed. `url` is the one it signed, which is where it was sent."""

    urls: URLs
    url: str
    payload: bytes

    @property
    def is_fetch(self) -> bool:
        """POST-as-GET (§6.3): the payload is empty, which is not `{}`."""
        return not self.payload

    def check_fetch(self) -> None:
        if self.payload:
            raise malformed('this is only fetched: send the empty string as payload (POST-as-GET), not "{}"')

    def wish(self) -> Mapping[str, Any]:
        """The payload, an object. Raises ACMEProblem `malformed`."""
        if not self.payload:
            raise malformed("the payload is empty, where a JSON object belongs")
        return parse_object(self.payload, "the payload")


@dataclass(frozen=True, slots=True)
class AccountRequest(Request):
    """Signed by a valid account (kid)."""

    account: Account


@dataclass(frozen=True, slots=True)
class KeyRequest(Request):
    """Signed by a key that came with it (jwk)."""

    key: PublicKey


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose signature has not been checked yet."""

    jws: JWS
    nonce: OpenNonce
    urls: URLs
    url: str


class Door:
    def __init__(self, services: Services, whereabouts: Whereabouts) -> None:
        self._accounts: Accounts = services.acme.accounts
        self._nonces: Nonces = services.acme.nonces
        self._whereabouts = whereabouts

    def by_account(self, req: falcon.Request) -> AccountRequest:
        """Raises ACMEProblem for whatever a client can do wrong, Unavailable."""
        asked = self._read(req)
        if "kid" not in asked.jws.header:
            raise malformed("the request is signed by jwk, where kid belongs: the account's URL (RFC 8555 §6.2)")
        return self._by_account(asked)

    def by_key(self, req: falcon.Request) -> KeyRequest:
        """Raises as `by_account`."""
        asked = self._read(req)
        if "jwk" not in asked.jws.header:
            raise malformed("the request is signed by kid, where jwk belongs: the key itself (RFC 8555 §6.2)")
        return self._by_key(asked)

    def by_either(self, req: falcon.Request) -> AccountRequest | KeyRequest:
        """Raises as `by_account`."""
        asked = self._read(req)
        return self._by_key(asked) if "jwk" in asked.jws.header else self._by_account(asked)

    def _read(self, req: falcon.Request) -> _Asked:
        _check_media_type(req)
        body = read_body(req, LARGEST_BODY)
        if len(body) > LARGEST_BODY:
            raise ACMEProblem(ProblemType.MALFORMED, f"the request has more than {LARGEST_BODY} octets", status=413)
        jws = read_jws(body, "the request")
        if ("jwk" in jws.header) == ("kid" in jws.header):
            raise malformed("the protected header has exactly one of jwk and kid (RFC 8555 §6.2)")
        urls, url = self._check_url(req, jws)
        nonce = jws.text("nonce")
        if nonce is None:
            raise ACMEProblem(ProblemType.BAD_NONCE, "the protected header has no nonce: use the one in this answer")
        return _Asked(jws, self._nonces.check(nonce), urls, url)

    def _check_url(self, req: falcon.Request, jws: JWS) -> tuple[URLs, str]:
        """§6.4: what was signed is where it was sent, by the configured base and not by any header of the request."""
        claimed = jws.text("url")
        if claimed is None:
            raise malformed("the protected header has no url (RFC 8555 §6.4)")
        path = req.path + (f"?{req.query_string}" if req.query_string else "")
        urls = self._whereabouts.urls()
        if claimed != urls.of(path):
            urls = self._whereabouts.read()[1]
        if claimed != urls.of(path):
            raise ACMEProblem(
                ProblemType.UNAUTHORIZED,
                f"url in the protected header is not the one that the request was sent to, {urls.of(path)[:300]!r}",
            )
        req.context.urls = urls  # for a problem that names an account
        return urls, claimed

    def _by_account(self, asked: _Asked) -> AccountRequest:
        jws, urls = asked.jws, asked.urls
        kid = jws.text("kid")
        name = urls.find_account(kid) if kid is not None else None
        account = self._accounts.find(name) if name is not None else None
        if account is None:
            raise ACMEProblem(
                ProblemType.ACCOUNT_DOES_NOT_EXIST, "kid is the URL of no account here: register with newAccount"
            )
        jws.check(kept_key(account.jwk))
        check_valid(account)
        self._nonces.use_up(asked.nonce)
        return AccountRequest(urls, asked.url, jws.payload, account)

    def _by_key(self, asked: _Asked) -> KeyRequest:
        key = read_key(asked.jws.header["jwk"])
        asked.jws.check(key)
        self._nonces.use_up(asked.nonce)
        return KeyRequest(asked.urls, asked.url, asked.jws.payload, key)


def _check_media_type(req: falcon.Request) -> None:
    given = req.content_type or ""
    if given.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise ACMEProblem(
            ProblemType.MALFORMED, f"the Content-Type is {given[:80]!r}: send {MEDIA_TYPE} (RFC 8555 §6.2)", status=415
        )
