"""Validation of challenges (RFC 8555 §8, RFC 8737, RFC 8738) and CAA (RFC 8659, RFC 8657), as jobs of the worker."""

from __future__ import annotations

from pkiconf.issuance.parts import Parts
from pkiconf.store.jobs import JobRow


class Validations:
    """Claims, asks the network through what it is handed, and settles; many at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def validate(self, job: JobRow) -> None:
        """One attempt of one claimed job, ended in one transaction with what it found."""
        raise NotImplementedError
