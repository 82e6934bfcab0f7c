"""Errors named for what they mean.

Each protocol translates these once, in a table of its own; anything else that is raised is an
internal error and leaks no detail to a client.
"""

from __future__ import annotations

from typing import Self


class WouldWait(Exception):
    """It cannot be had without waiting for a lock, a disk, a server or a key. Nothing has begun."""


class PkiconfError(Exception):
    """Root of every error that a caller is expected to translate.

    `detail` says what happened and where; `hint` says what to do instead, and may be empty.
    Neither ever holds a secret.
    """

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def anew(self) -> Self:
        """One that says the same and was never raised. What is kept must be such a one, and what is raised another:
        each raise adds frames to an exception, and they hold whatever the callers held."""
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        return made

    def __str__(self) -> str:
        return f"{self.detail}. {self.hint}" if self.hint else self.detail


class Malformed(PkiconfError):
    """The input cannot be read as what it claims to be."""


class Unverified(PkiconfError):
    """A signature, a MAC or a proof of possession does not hold."""


class UnsupportedAlgorithm(PkiconfError):
    """A key, hash or signature algorithm that this program or this machine cannot do."""


class Refused(PkiconfError):
    """Understood, and not allowed: by policy, by a template, by authorization or by state."""


class NotFound(PkiconfError):
    """The named thing does not exist."""


class Conflict(PkiconfError):
    """The world is not as the caller assumed: a moved precondition, a taken name, a wrong state."""


class Unavailable(PkiconfError):
    """Something this program needs cannot be had now: a busy or full database, a missing key file."""


class SigningUnavailable(PkiconfError):
    """The key gave no usable signature."""


class NotSigned(SigningUnavailable):
    """Certain: nothing was signed. What the attempt had reserved may be given back."""


class OutcomeUnknown(SigningUnavailable):
    """The key may have signed. The intent must be resumed or revoked, never dropped."""
