"""ACME in values (RFC 8555): identifiers, problems, states, and what accounts, orders and authorizations look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pkiconf.errors import PkiconfError


class IdentifierType(StrEnum):
    DNS = "dns"
    IP = "ip"  # RFC 8738


class Identifier(NamedTuple):
    """What an order asks for. A DNS name is in lower case and A-labels, without a trailing dot, and keeps its `*.`;
    an IP address is in its canonical text (RFC 5952)."""

    type: IdentifierType
    value: str

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Identifier:
        """What `str` gave."""
        kind, _, value = text.partition(":")
        return cls(IdentifierType(kind), value)

    @property
    def is_wildcard(self) -> bool:
        return self.value.startswith("*.")

    @property
    def base(self) -> Identifier:
        """What an authorization names: without the wildcard label (§7.1.3)."""
        return Identifier(self.type, self.value.removeprefix("*."))

    @property
    def record(self) -> dict[str, str]:
        return {"type": self.type.value, "value": self.value}


class ChallengeType(StrEnum):
    HTTP_01 = "http-01"  # §8.3
    DNS_01 = "dns-01"  # §8.4
    TLS_ALPN_01 = "tls-alpn-01"  # RFC 8737


class AccountStatus(StrEnum):
    VALID = "valid"
    DEACTIVATED = "deactivated"  # by its holder
    REVOKED = "revoked"  # by the operator


class OrderStatus(StrEnum):
    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(StrEnum):
    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"  # never stored: time makes it so
    REVOKED = "revoked"


class ChallengeStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class ProblemType(StrEnum):
    """§6.7, RFC 9773 §7.4 and draft-ietf-acme-profiles; the last part of `urn:ietf:params:acme:error:…`."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REPLACED = "alreadyReplaced"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    COMPOUND = "compound"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    INVALID_PROFILE = "invalidProfile"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"


_URN: Final = "urn:ietf:params:acme:error:"


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 7807 problem document. `identifier` says which one it is about, in a subproblem or an authorization."""

    type: ProblemType
    detail: str
    identifier: Identifier | None = None
    subproblems: tuple[Problem, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """As JSON speaks it, also as rows store it. A top-level `identifier` is left to whoever renders (§6.7.1)."""
        made: dict[str, Any] = {"type": _URN + self.type, "detail": self.detail}
        if self.identifier is not None:
            made["identifier"] = self.identifier.record
        if self.subproblems:
            made["subproblems"] = [inner.record for inner in self.subproblems]
        return made

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Problem:
        """What `record` gave."""
        named = record.get("identifier")
        return cls(
            ProblemType(record["type"].removeprefix(_URN)),
            record["detail"],
            Identifier(IdentifierType(named["type"]), named["value"]) if named else None,
            tuple(cls.parse(inner) for inner in record.get("subproblems", ())),
        )


class ACMEProblem(PkiconfError):
    """A refusal that an ACME client is to hear as this very problem.

    `status` overrides the HTTP status that the problem's type has by itself; `retry_after` is in seconds; `location`
    is an account's name (a key that another account has, RFC 8555 §7.3.5); `links` are further Link headers as
    (relation, URL).
    """

    def __init__(
        self,
        type: ProblemType,
        detail: str,
        *,
        status: int | None = None,
        retry_after: int | None = None,
        location: str | None = None,
        identifier: Identifier | None = None,
        subproblems: tuple[Problem, ...] = (),
        links: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(type, detail, identifier, subproblems)
        self.status = status
        self.retry_after = retry_after
        self.location = location
        self.links = links


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A public key as JOSE writes it. `thumbprint` is that of RFC 7638 (SHA-256, base64url); `jwk` is canonical JSON
    of the public members alone; `spki` its SubjectPublicKeyInfo, DER."""

    thumbprint: str
    jwk: str
    spki: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """`name` stands in its URL. `policy_id` and `binding_id` never change."""

    id: int
    name: str
    policy_id: int
    binding_id: int | None
    thumbprint: str
    jwk: str
    status: AccountStatus
    contacts: tuple[str, ...]
    terms_agreed_at: int | None
    created_at: int


@dataclass(frozen=True, slots=True)
class OrderWish:
    """What a client asks for (§7.4), its identifiers already read; times are epoch seconds."""

    identifiers: tuple[Identifier, ...]
    profile: str | None = None
    not_before: int | None = None
    not_after: int | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as a client sees it at one moment. `retry_after` in seconds while it is processing."""

    name: str
    account_id: int
    status: OrderStatus
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    profile: str
    expires_at: int
    not_before: int | None = None
    not_after: int | None = None
    replaces: str | None = None
    error: Problem | None = None
    has_certificate: bool = False
    retry_after: int | None = None


class Challenge(NamedTuple):
    type: ChallengeType
    status: ChallengeStatus
    token: str
    validated_at: int | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization as a client sees it at one moment; `identifier` never has a wildcard label."""

    id: int
    name: str
    account_id: int
    identifier: Identifier
    wildcard: bool
    status: AuthorizationStatus
    expires_at: int
    challenges: tuple[Challenge, ...]
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """What the certificate resource serves: leaf first, a self-signed root left out; `alternates` counts the other
    chains, which are numbered from 1."""

    certificates: tuple[bytes, ...]
    alternates: int


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """RFC 9773 §4.2; epoch seconds, `end` after `start`. `retry_after` in seconds."""

    start: int
    end: int
    retry_after: int
    explanation: str | None = None
