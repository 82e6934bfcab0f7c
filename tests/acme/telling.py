"""Credentials as a test hears them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from pkiconf.acme.credentials import Credentials
from pkiconf.authority.telling import Told


@dataclass
class Heard:
    """Remembers what was kept before the commit, and what was shown after it."""

    kept: list[Credentials] = field(default_factory=list)
    shown: list[Credentials] = field(default_factory=list)

    def keep(self, told: Told) -> None:
        assert isinstance(told, Credentials)
        self.kept.append(told)

    def show(self, told: Told) -> None:
        assert isinstance(told, Credentials)
        self.shown.append(told)

    @property
    def last(self) -> Credentials:
        return self.shown[-1]


def octets_of(text: bytes) -> bytes:
    """What a client makes of an HMAC key."""
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
