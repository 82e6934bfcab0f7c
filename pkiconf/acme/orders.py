"""Orders (RFC 8555 §7.4): asked for, finalized, fetched."""

from __future__ import annotations

from pkiconf.acme.authorizations import Authorizations
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.acme import Account, CertificateChain, Order, OrderWish


class Orders:
    """Every method is an account's: another one's order is 403 `unauthorized`, an unknown one 404 `malformed`."""

    def __init__(self, parts: Parts, pipeline: Pipeline, authorizations: Authorizations) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._authorizations = authorizations

    def create(self, account: Account, wish: OrderWish) -> Order:
        """A new order; born `ready` when everything is pre-approved or proved already. One commit.

        Raises ACMEProblem: `rejectedIdentifier`, `unsupportedIdentifier`, `malformed`, `invalidProfile`,
        `rateLimited`, `alreadyReplaced` (409), `unauthorized` (retired policy).
        """
        raise NotImplementedError

    def get(self, account: Account, name: str) -> Order:
        raise NotImplementedError

    def page(self, account: Account, after: int, size: int) -> tuple[tuple[str, ...], int | None]:
        """Names of the account's orders that are not invalid (§7.1.2.1), and the cursor of the next page."""
        raise NotImplementedError

    def finalize(self, account: Account, name: str, csr: bytes) -> Order:
        """Issue over the CSR (DER). `valid` at once when the key answers at once; asked again with the same key, the
        same order. Raises ACMEProblem `orderNotReady` (403), `badCSR` (the order stays ready), `rateLimited`."""
        raise NotImplementedError

    def certificate(self, account: Account, name: str, alternate: int = 0) -> CertificateChain:
        """§7.4.2. Raises ACMEProblem 404 where there is none (yet)."""
        raise NotImplementedError
