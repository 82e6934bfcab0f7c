"""SCEP in values (RFC 8894): message types, states, failures, what is asked for and by which proof it is granted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pkiconf.errors import PkiconfError
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.request import CertificateRequest


class MessageType(StrEnum):
    """§3.2.1.2; every other number is refused."""

    CERT_REP = "3"
    RENEWAL_REQ = "17"
    PKCS_REQ = "19"
    CERT_POLL = "20"
    GET_CERT = "21"
    GET_CRL = "22"


class PKIStatus(StrEnum):
    """§3.2.1.3."""

    SUCCESS = "0"
    FAILURE = "2"
    PENDING = "3"


class FailInfo(StrEnum):
    """§3.2.1.4."""

    BAD_ALG = "0"
    BAD_MESSAGE_CHECK = "1"
    BAD_REQUEST = "2"
    BAD_TIME = "3"
    BAD_CERT_ID = "4"


class SCEPFailure(PkiconfError):
    """Becomes a CertRep with pkiStatus FAILURE; `detail` and `hint` are its failInfoText. `reason`, where it is not
    empty, is for the log and the audit, and tells more than a stranger may know; never a secret."""

    def __init__(self, fail_info: FailInfo, detail: str, hint: str = "", *, reason: str = "") -> None:
        super().__init__(detail, hint)
        self.fail_info = fail_info
        self.reason = reason


NOT_PROVED: Final = "the request is not authorized by its challenge password or certificate"


class NotProved(SCEPFailure):
    """No check let the request in. The client hears one text, whatever the reason was."""

    def __init__(self, reason: str) -> None:
        super().__init__(FailInfo.BAD_REQUEST, NOT_PROVED, reason=reason)


class RefusedByIntune(NotProved):
    """Intune knows the challenge as its own, and refuses it: nobody guessed."""


class ProofMethod(StrEnum):
    """How a request was let in, as it stands in the audit log."""

    PASSPHRASE = "passphrase"  # noqa: S105
    CHALLENGE = "challenge"
    INTUNE = "intune"
    RENEWAL = "renewal"
    APPROVAL = "approval"  # a person decides
    NONE = "none"  # the template says that nothing is needed


@dataclass(frozen=True, slots=True)
class BoundNames:
    """What a proof is good for: exactly this subject and exactly these alternative names, in any order. None: any."""

    subject: Name | None = None
    sans: tuple[GeneralName, ...] | None = None


def attempt_name(attempt: int, transaction_id: str) -> str:
    return f"{attempt}.{transaction_id}"


@dataclass(frozen=True, slots=True)
class SCEPRequest:
    """A PKCSReq or RenewalReq: decrypted, its signature and the CSR's verified; not proved yet.

    `challenge` is the CSR's challengePassword; `signer_certificate` (DER) the one that signed the message: for a first
    enrolment the client's own, which proves nothing. `client_address` is text, empty where it is not known. `attempt`
    counts what was begun under the transaction id.
    """

    template_id: int
    authority_id: int
    transaction_id: str
    wanted: CertificateRequest
    challenge: str | None = field(repr=False)
    signer_certificate: bytes
    is_renewal: bool
    client_address: str
    received_at: datetime
    attempt: int = 1

    @property
    def attempt_name(self) -> str:
        """What a challenge is used by: with another attempt of the same id it has nothing to do."""
        return attempt_name(self.attempt, self.transaction_id)

    @property
    def csr(self) -> bytes:
        """DER."""
        return self.wanted.der

    @property
    def subject(self) -> Name:
        return self.wanted.subject

    @property
    def sans(self) -> tuple[GeneralName, ...]:
        return self.wanted.sans


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a request may have a certificate.

    `detail` is for the audit: which passphrase or challenge, by its id, never itself. Whoever gives the proof has
    compared the wanted names with `allowed`. `consume` is called with the connection of the transaction that
    reserves the certificate (or records the request that waits for a person): it marks what is good for once as
    used by this attempt, and raises Conflict when another request took it, or when what proved it is good no
    longer; it touches only the database and may run again.
    `after_issue` names what has to be told before the certificate is handed out. `request_id` is the pre-approved
    request that a challenge was made for: `consume` moves it from awaiting_claim to approved, the transaction records
    it, and the complete certificate makes it issued.
    """

    method: ProofMethod
    detail: str = ""
    allowed: BoundNames | None = None
    consume: Callable[[Any], None] | None = None
    after_issue: str | None = None
    request_id: int | None = None
