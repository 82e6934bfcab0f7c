"""ACME renewal information (RFC 9773)."""

from __future__ import annotations

from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import RenewalWindow


class Renewals:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def window(self, certificate_id: str) -> RenewalWindow:
        """When to renew (§4.2): around two thirds of the validity; in the past once it is revoked or held; soon when
        its authority has rolled over or its issuer's certificate ends earlier.

        Raises ACMEProblem `malformed`: 400 for what is no certificate identifier, 404 for one of no certificate here.
        """
        raise NotImplementedError
