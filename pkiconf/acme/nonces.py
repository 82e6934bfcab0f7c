"""Nonces (RFC 8555 §6.5): epoch(4) ‖ expiry(4) ‖ random(8) ‖ HMAC-SHA256[:16], base64url.

Nothing is stored when one is made, so asking for nonces costs nobody anything; what was redeemed is remembered until
it has expired. Every host of an installation knows the MAC key, so a nonce is good at all of them.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Final, NewType

from pkiconf.clock import to_epoch
from pkiconf.issuance.own_secrets import own_secret
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.store.nonces import Ledger

KEY_NAME: Final = "acme-nonces"
LIFETIME: Final = 3600
"""Seconds. Clients keep nonces between requests, and some wait an hour for DNS."""

LENGTH: Final = 43
"""Characters: 32 octets in base64url without padding."""

_GRACE: Final = 600  # seconds by which clocks of hosts may differ before one forgets what another still accepts
_PRUNE_EVERY: Final = 300  # seconds
_KEY_SIZE: Final = 32
_MAC_SIZE: Final = 16


OpenNonce = NewType("OpenNonce", bytes)
"""What stands in a nonce that was made here, without the MAC."""


class Nonces:
    """For all threads of one process. The MAC key is made with the first nonce, and read once."""

    def __init__(self, parts: Parts, ledger: Ledger) -> None:
        self._parts = parts
        self._ledger = ledger
        self._key: bytes | None = None
        self._pruned_at = 0

    def make(self) -> str:
        """A fresh one. Raises Unavailable."""
        expiry = to_epoch(self._parts.now()) + LIFETIME
        body = self._ledger.epoch() + expiry.to_bytes(4, "big") + self._parts.entropy.token(8)
        return urlsafe_b64encode(body + self._mac(body))[:LENGTH].decode()

    def check(self, text: str) -> OpenNonce:
        """Raise ACMEProblem `badNonce` unless this installation made it and it has not expired. Costs no statement:
        what comes from nowhere is refused before anything else is looked at."""
        return OpenNonce(self._open(text))

    def redeem(self, text: str) -> None:
        """Check it, and use it up. Raises as these do."""
        self.use_up(self.check(text))

    def use_up(self, nonce: OpenNonce) -> None:
        """Once only. Raises ACMEProblem `badNonce` when that has happened already, or its epoch is over."""
        if not self._ledger.redeem(nonce[:4], nonce[4:]):
            raise _bad("the nonce was used before, or the server has forgotten it")

    def prune(self) -> int:
        """Forget redeemed nonces that have expired, every few minutes however often it is called; how many there
        were. Raises Unavailable."""
        now = to_epoch(self._parts.now())
        if now < self._pruned_at + _PRUNE_EVERY:
            return 0
        self._pruned_at = now
        return self._ledger.prune(now - _GRACE)

    def close(self) -> None:
        self._ledger.close()

    def _open(self, text: str) -> bytes:
        octets = _decode(text)
        body, mac = octets[:-_MAC_SIZE], octets[-_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _bad("the nonce is none that this server made")
        if int.from_bytes(body[4:8], "big") <= to_epoch(self._parts.now()):
            raise _bad("the nonce has expired")
        return body

    def _mac(self, body: bytes) -> bytes:
        if self._key is None:
            parts = self._parts
            made = own_secret(parts.db, parts.keyring, KEY_NAME, lambda: parts.entropy.token(_KEY_SIZE), create=True)
            self._key = made.reveal()
        mac = _keyed(self._key).copy()
        mac.update(body)
        return mac.digest()[:_MAC_SIZE]


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    """To be copied: looking the algorithm up takes longer than the MAC, and threads wait for one another there."""
    return hmac.new(key, digestmod="sha256")


def _decode(text: str) -> bytes:
    """One spelling for each nonce: what decodes to the same octets in another way is refused."""
    if len(text) == LENGTH and text.isascii():
        try:
            octets = urlsafe_b64decode(text + "=")
        except binascii.Error:
            octets = b""
        if urlsafe_b64encode(octets)[:LENGTH].decode() == text:
            return octets
    raise _bad("the nonce is none that this server made")


def _bad(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.BAD_NONCE, f"{detail}: try again with the one in this answer")
