"""The seam to a private key, wherever it lives. Bytes are its only currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from pkiconf.model.cms import KeyTransport
from pkiconf.model.keys import SignatureAlgorithm


class Kind(StrEnum):
    """What is about to be signed: what a key's own policy may judge."""

    CERTIFICATE = "certificate"
    CSR = "csr"
    CRL = "crl"
    OCSP = "ocsp"
    TIMESTAMP = "timestamp"
    CMS = "cms"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """`id` is the intent's: asked again, also after a restart, it yields the same result from a remote key.
    `tbs` is the whole message, never a digest."""

    id: UUID
    kind: Kind
    tbs: bytes
    algorithm: SignatureAlgorithm
    deadline: datetime


class Signer(Protocol):
    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        ...

    @property
    def algorithms(self) -> tuple[SignatureAlgorithm, ...]:
        """What this key can sign with; the first is its default."""
        ...

    @property
    def immediate(self) -> bool:
        """False: may be slow, offline, or need a touch."""
        ...

    def sign(self, order: SigningOrder) -> bytes:
        """The raw signature value. Raises NotSigned or OutcomeUnknown."""
        ...


class Decrypter(Protocol):
    """A private key that others encrypt to."""

    def unwrap(self, transport: KeyTransport, encrypted_key: bytes) -> bytes:
        """The key that was hidden; for one that was not made for this key perhaps a random one of any length.

        Raises Unverified, which says nothing, and UnsupportedAlgorithm for a key that cannot decrypt at all.
        """
        ...
