"""Which template asks which tenant, and the one service of a process for each access."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from pkiconf.egress.https import HTTPSClient
from pkiconf.issuance.parts import Parts
from pkiconf.model.intune import IntuneAccess
from pkiconf.scep.intune.service import IntuneService


class Accesses(Protocol):
    """What is declared now."""

    def __call__(self, template_id: int) -> IntuneAccess | None:
        """None for a template that has no Intune, or is not served any more."""
        ...


MakeService = Callable[[IntuneAccess], IntuneService]


class IntuneServices:
    """Kept, because tokens and places of a tenant are good for many requests."""

    def __init__(self, make: MakeService) -> None:
        self._make = make
        self._making = threading.Lock()
        self._known: dict[str, IntuneService] = {}

    def of(self, access: IntuneAccess) -> IntuneService:
        with self._making:
            known = self._known.get(access.key)
            if known is None:
                known = self._known[access.key] = self._make(access)
            return known


def service_maker(parts: Parts, https: HTTPSClient) -> MakeService:
    return lambda access: IntuneService(https, access, parts.now, parts.entropy)
