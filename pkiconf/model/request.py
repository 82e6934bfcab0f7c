"""A request for a certificate, what may be changed before signing, and its three outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pkiconf.model.certificate import CertificateID, Extension
from pkiconf.model.keys import KeyType
from pkiconf.model.names import Attribute, GeneralName, Name


@dataclass(frozen=True, slots=True)
class PublicKeyFacts:
    """`bits` as in KeyAlgorithm; `curve` for EC keys (`p256` …); `modulus` and `exponent` for RSA keys only."""

    type: KeyType
    bits: int
    curve: str | None = None
    modulus: int | None = None
    exponent: int | None = None

    def __str__(self) -> str:
        if self.type is KeyType.EC:
            return f"ec-{self.curve}"
        return self.type.value if self.type in (KeyType.ED25519, KeyType.ED448) else f"{self.type.value}-{self.bits}"


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A PKCS#10 request (RFC 2986) whose proof of possession was verified when it was parsed.

    `spki` is the SubjectPublicKeyInfo exactly as it came; `extensions` are the requested ones but for the
    subject alternative names, which stand in `sans`. `der` is the whole request.
    """

    der: bytes
    subject: Name
    spki: bytes
    key: PublicKeyFacts
    sans: tuple[GeneralName, ...] = ()
    sans_critical: bool = False
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Overrides:
    """What an operator changes at signing; the CSR itself is kept (F90–F92).

    `set_subject` replaces every value of those attribute types (an empty value removes them).
    Validity is a start (default: now) and either `days` from it or an end (`not_after`, included).
    """

    set_subject: tuple[Attribute, ...] = ()
    add_sans: tuple[GeneralName, ...] = ()
    remove_sans: tuple[GeneralName, ...] = ()
    days: int | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a template is asked for: a request with the overrides folded in, or a wish that never was a CSR.

    `subject` and `sans` are what the certificate shall name before the template's own rules; `extensions` are
    wishes that are judged and never copied. `overrides` keeps what a person set explicitly: explicit wishes
    that cannot be met are refused, where a template's defaults would be shortened.
    """

    subject: Name
    spki: bytes
    key: PublicKeyFacts
    sans: tuple[GeneralName, ...] = ()
    extensions: tuple[Extension, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)


class RequestState(StrEnum):
    SUBMITTED = "submitted"  # being judged: never stored
    PENDING = "pending"
    AWAITING_CLAIM = "awaiting_claim"  # approved without a key: whoever it is for has a link, and brings one
    APPROVED = "approved"  # signing is under way, or was interrupted and will be resumed
    ISSUED = "issued"
    DECLINED = "declined"
    REJECTED = "rejected"  # policy said no at signing; it may not be signed again
    EXPIRED = "expired"  # nobody claimed it in time; it may be sent again


@dataclass(frozen=True, slots=True)
class Issued:
    """`der` is the certificate; `chain` its issuers, nearest first, without a self-signed root's duplicate."""

    id: CertificateID
    der: bytes
    chain: tuple[bytes, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Pending:
    """Ask again after `retry_after` seconds. `reason` says what it waits for; empty for a key."""

    reference: str
    retry_after: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    reason: str


Outcome = Issued | Pending | Rejected
