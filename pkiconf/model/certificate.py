"""A certificate before and after it is signed (RFC 5280 §4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pkiconf.model.keys import KeyAlgorithm, SignatureAlgorithm
from pkiconf.model.names import NameConstraints


@dataclass(frozen=True, slots=True)
class Extension:
    """`value` is the DER inside extnValue's OCTET STRING."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class TBSCertificate:
    """Everything that will be signed, as values. `issuer`, `subject` and `spki` are DER, copied byte for byte."""

    serial_number: int
    signature: SignatureAlgorithm
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    spki: bytes
    extensions: tuple[Extension, ...]

    def numbered(self, serial_number: int) -> TBSCertificate:
        """The same under another number; made for each certificate, which `dataclasses.replace` is too slow for."""
        return TBSCertificate(
            serial_number,
            self.signature,
            self.issuer,
            self.not_before,
            self.not_after,
            self.subject,
            self.spki,
            self.extensions,
        )


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What issuing under an issuer depends on: the key, its certificate's limits and its URLs.

    `subject` is the DER Name; `ski` the subject key identifier as its CA certificate has it. `path_length`
    is the tightest along its chain (None: unlimited); `constraints` holds the name constraints of every
    certificate of the chain. `authority` and `generation` name it for people and in URLs (`slug`).
    A root's facts before its own certificate exists carry the validity it is about to get. `crl_partitions` is into how
    many parts its CRL is divided (0: not at all).
    """

    issuer_id: int
    authority: str
    slug: str
    generation: int
    subject: bytes
    spki: bytes
    ski: bytes
    key: KeyAlgorithm
    signature: SignatureAlgorithm
    not_before: datetime
    not_after: datetime
    path_length: int | None
    constraints: tuple[NameConstraints, ...]
    aia_url: str
    ocsp_url: str
    crl_url: str
    cps_url: str
    crl_partitions: int = 0
    delta_crls: bool = False


class CertificateStatus(StrEnum):
    """`RESERVED`: serial and TBS are recorded, the signature is not. `ABANDONED`: the intent was given up;
    its serial counts as revoked, because the key may have worked."""

    RESERVED = "reserved"
    GOOD = "good"
    HELD = "held"
    REVOKED = "revoked"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class CertificateID:
    """What identifies a certificate: its issuer (row id) and serial number."""

    issuer_id: int
    serial_number: int
