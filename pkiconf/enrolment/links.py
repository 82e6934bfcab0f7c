"""The tokens of links that are mailed. A link is all that its holder needs, so a token never lies anywhere.

A token is an HMAC-SHA-256 over a random salt and the request's number, under a key that lies sealed in the database.
What lies beside it is the salt and the token's digest: enough to find a token that is presented, and not to make one.
The outbox derives it again when a message is sent, so no message waits with a token in it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import Final

from pkiconf.errors import NotFound
from pkiconf.issuance.own_secrets import own_secret
from pkiconf.issuance.parts import Parts
from pkiconf.model.enrolment import Deliver
from pkiconf.model.secret import Secret

KEY_NAME: Final = "claim-links"
SALT_SIZE: Final = 16
CLAIM_PATH: Final = "/claim/"
PROFILE_PATH: Final = "/profile/"
SUFFIX: Final = ".mobileconfig"

_KEY_SIZE: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Links:
    """For all threads of one process. The key is made with the first link, and read once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._key: bytes | None = None

    def new_salt(self) -> bytes:
        self.open()
        return self._parts.entropy.token(SALT_SIZE)

    def open(self) -> None:
        """Have the key at hand; not from inside a transaction. Raises Unavailable."""
        if self._key is None:
            parts = self._parts
            made = own_secret(parts.db, parts.keyring, KEY_NAME, lambda: parts.entropy.token(_KEY_SIZE), create=True)
            self._key = made.reveal()

    def token(self, salt: bytes, request_id: int) -> Secret:
        """43 characters of base64url: always the same ones for a salt and a request."""
        assert self._key is not None, "open comes first"
        octets = hmac.digest(self._key, salt + b"%d" % request_id, "sha256")
        return Secret(urlsafe_b64encode(octets).rstrip(b"="))


def url_of(base: str, deliver: str, token: Secret) -> Secret:
    """The link itself. `base` has no slash at its end."""
    text = token.reveal().decode()
    path = f"{PROFILE_PATH}{text}{SUFFIX}" if deliver == Deliver.APPLE else f"{CLAIM_PATH}{text}"
    return Secret(f"{base}{path}".encode())


def digest_of(token: Secret) -> bytes:
    return hashlib.sha256(b"pkiconf link 1\n" + token.reveal()).digest()


def digest_of_text(text: str) -> bytes:
    """Of a token as somebody presents it. Raises NotFound for what cannot be one."""
    if not _TOKEN.fullmatch(text):
        raise no_such_link()
    return digest_of(Secret(text.encode()))


def no_such_link() -> NotFound:
    return NotFound("there is no such link", "Look at it again, or ask whoever sent it for another")
