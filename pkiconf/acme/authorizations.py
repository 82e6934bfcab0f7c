"""Authorizations (RFC 8555 §7.1.4, §7.5): offered, answered, deactivated."""

from __future__ import annotations

from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import Account, Authorization, ChallengeType, Identifier

VALIDATION_JOB = "acme.validate"
"""The kind of the job that an accepted challenge queues; `dedupe` is the authorization's id."""


class Authorizations:
    """Every method is an account's: another one's is 403 `unauthorized`, an unknown one 404 `malformed`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(self, account: Account, identifier: Identifier) -> tuple[Authorization, bool]:
        """Pre-authorization (§7.4.1), and whether it is new. Raises ACMEProblem `malformed` for a wildcard,
        `rejectedIdentifier`, `unsupportedIdentifier`."""
        raise NotImplementedError

    def get(self, account: Account, name: str) -> Authorization:
        raise NotImplementedError

    def deactivate(self, account: Account, name: str) -> Authorization:
        """§7.5.2; its pending orders become invalid."""
        raise NotImplementedError

    def respond(self, account: Account, name: str, challenge: ChallengeType) -> Authorization:
        """The client is ready (§7.5.1): queue the validation in the same commit, then wake the worker.

        Asked again, or for another challenge while one is processing, nothing changes. Raises ACMEProblem `malformed`
        (404) for a challenge that was not offered, `malformed` for an authorization that is not pending any more and
        not valid.
        """
        raise NotImplementedError
