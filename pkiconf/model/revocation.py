"""Why a certificate is no longer good (RFC 5280 §5.3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class RevocationReason(Enum):
    """Spelled as the RFC spells them; `code` is the CRLReason. removeFromCRL exists only on delta CRLs
    and is no reason to revoke."""

    UNSPECIFIED = ("unspecified", 0)
    KEY_COMPROMISE = ("keyCompromise", 1)
    CA_COMPROMISE = ("cACompromise", 2)
    AFFILIATION_CHANGED = ("affiliationChanged", 3)
    SUPERSEDED = ("superseded", 4)
    CESSATION_OF_OPERATION = ("cessationOfOperation", 5)
    CERTIFICATE_HOLD = ("certificateHold", 6)
    PRIVILEGE_WITHDRAWN = ("privilegeWithdrawn", 9)
    AA_COMPROMISE = ("aACompromise", 10)

    def __init__(self, text: str, code: int) -> None:
        self.text = text
        self.code = code

    @classmethod
    def from_code(cls, code: int) -> RevocationReason:
        for reason in cls:
            if reason.code == code:
                return reason
        raise ValueError(f"no revocation reason has code {code}")

    @classmethod
    def from_text(cls, text: str) -> RevocationReason:
        for reason in cls:
            if reason.text == text:
                return reason
        raise ValueError(f"no revocation reason is called {text!r}")


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One line of a CRL. `removed`, on delta CRLs: it is no longer on the list (removeFromCRL)."""

    serial_number: int
    revoked_at: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    invalidity_date: datetime | None = None
    removed: bool = False
