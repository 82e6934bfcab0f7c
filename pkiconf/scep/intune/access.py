"""Which template asks which tenant, and the one service of a process for each access."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from pkiconf.egress.https import HTTPSClient
from pkiconf.errors import NotFound
from pkiconf.issuance.parts import Parts
from pkiconf.model.intune import IntuneAccess
from pkiconf.scep.intune.service import IntuneService
from pkiconf.scep.secrets import TemplateSecrets
from pkiconf.scep.terms import SCEPTerms, TermsLookup
from pkiconf.store.scep_secrets import SecretKind
from pkiconf.store.scep_templates import SCEPPlace


class Accesses(Protocol):
    """What is declared now."""

    def __call__(self, template_id: int) -> IntuneAccess | None:
        """None for a template without Intune. Raises Unavailable where its secret cannot be opened."""
        ...


class DeclaredAccesses:
    """With the secrets opened once for each declaration. A template that is retired, or whose SCEP is off, still has
    its tenant: its certificates may be revoked."""

    def __init__(self, terms: TermsLookup, secrets: TemplateSecrets) -> None:
        self._terms, self._secrets = terms, secrets
        self._known: dict[int, tuple[SCEPPlace, IntuneAccess]] = {}

    def __call__(self, template_id: int) -> IntuneAccess | None:
        try:
            terms = self._terms.get(template_id)
            return self._of(terms) if terms.spec.intune is not None else None
        except NotFound:
            return None

    def _of(self, terms: SCEPTerms) -> IntuneAccess:
        known = self._known.get(terms.template_id)
        if known is None or known[0] != terms.place:
            known = self._known[terms.template_id] = (terms.place, self._read(terms))
        return known[1]

    def _read(self, terms: SCEPTerms) -> IntuneAccess:
        spec = terms.spec.intune
        assert spec is not None
        return IntuneAccess(
            tenant_id=spec.tenant_id,
            client_id=spec.client_id,
            client_secret=self._secrets.reveal(terms.template_id, SecretKind.INTUNE),
            authority_url=spec.authority_url,
            graph_url=spec.graph_url,
            resource_url=spec.resource_url,
        )


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

    def all(self) -> tuple[IntuneService, ...]:
        with self._making:
            return tuple(self._known.values())


def service_maker(parts: Parts, https: HTTPSClient) -> MakeService:
    return lambda access: IntuneService(https, access, parts.now, parts.entropy)
