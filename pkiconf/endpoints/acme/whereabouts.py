"""Where this PKI says that it is: the base of every URL that ACME clients see and sign."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme_urls import URLs
from pkiconf.spec.settings import Settings

_KEPT: Final = 1.0
"""Seconds for which a process may go on with a base that was changed meanwhile. Directories are always read afresh,
and so is the base before a client is told that its URL is another one."""


class Whereabouts:
    """`ticks` is a clock that only goes forward, in seconds."""

    def __init__(self, parts: Parts, ticks: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._ticks = ticks
        self._known: tuple[URLs, float] | None = None

    def urls(self) -> URLs:
        """Raises Unavailable."""
        known = self._known
        if known is not None and self._ticks() - known[1] < _KEPT:
            return known[0]
        return self.read()[1]

    def read(self) -> tuple[Settings, URLs]:
        """As it is now. Raises Unavailable."""
        began = self._ticks()
        settings = self._parts.db.look(load_settings)
        urls = URLs(settings.enrolment_url)
        self._known = (urls, began)
        return settings, urls
