"""Revocation over ACME (RFC 8555 §7.6)."""

from __future__ import annotations

from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import Account
from pkiconf.revocation.revoke import Revocations


class ACMERevocations:
    def __init__(self, parts: Parts, revocations: Revocations) -> None:
        self._parts = parts
        self._revocations = revocations

    def by_account(self, account: Account, certificate: bytes, reason: int | None) -> None:
        """By the account that ordered it, or one that holds valid authorizations for all its names.

        Raises ACMEProblem: `malformed` (no certificate, or none of ours: 404), `unauthorized` (403),
        `alreadyRevoked`, `badRevocationReason`.
        """
        raise NotImplementedError

    def by_key(self, spki: bytes, certificate: bytes, reason: int | None) -> None:
        """By whoever signs with the certificate's own key; raises as `by_account`."""
        raise NotImplementedError
