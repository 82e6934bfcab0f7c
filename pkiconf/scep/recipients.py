"""The keys that SCEP messages to an authority are encrypted to, and that sign its answers.

A self-signed authority with an RSA key answers itself where its certificate allows that: with digitalSignature and
keyEncipherment, or with any usage (RFC 8894 §2.1.2): clients look at it. Every other authority has a registration
authority: a service certificate with an RSA key (§2.2). One that was replaced opens messages until it ends, for
clients that fetched it earlier, and so does that of the generation before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pkiconf.authority.purposes import SCEP_RA
from pkiconf.der.certificate import Certificate, assemble_certificate, parse_certificate
from pkiconf.der.certificate_head import CertificateHead, parse_head
from pkiconf.der.extensions import parse_key_usage
from pkiconf.der.oids import KEY_USAGE
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.cms import Digest
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType, get_key_algorithm
from pkiconf.model.usages import KeyUsage
from pkiconf.signing.signer import Decrypter
from pkiconf.store import authorities, certificates, keys, service_certificates
from pkiconf.store.database import Connection

_USAGES: Final = frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_ENCIPHERMENT})


class EnvelopeKey(Decrypter, Protocol):
    def sign_rsa(self, message: bytes, digest: Digest) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Recipient:
    """`until` in seconds since 1970: from then on it opens nothing."""

    issuer_id: int
    head: CertificateHead
    key: EnvelopeKey
    until: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipient whose key is not opened yet."""

    issuer_id: int
    der: bytes
    key: keys.KeyRow
    until: int


def list_candidates(c: Connection, authority_id: int, current_issuer_id: int) -> list[Candidate]:
    """Those of the current generation first, in each the one that lasts longest."""
    found = []
    for issuer in authorities.list_issuers(c, authority_id):
        if issuer.state in ("active", "retiring"):
            found += list(_own(c, issuer)) or list(_registration_authorities(c, issuer.id))
    return sorted(found, key=lambda one: (one.issuer_id != current_issuer_id, -one.issuer_id, -one.until))


def _own(c: Connection, issuer: authorities.IssuerRow) -> Iterator[Candidate]:
    row = authorities.find_ca_certificate(c, issuer.id)
    if row is None or row.role != "self":
        return
    key = keys.get_key(c, issuer.key_id)
    is_here = get_key_algorithm(key.algorithm).type is KeyType.RSA and key.sealed is not None
    if is_here and _may_answer(parse_certificate(row.der)):
        yield Candidate(issuer.id, row.der, key, row.not_after)


def _may_answer(certificate: Certificate) -> bool:
    usage = certificate.extension(KEY_USAGE)
    return usage is None or parse_key_usage(usage.value) >= _USAGES


def _registration_authorities(c: Connection, issuer_id: int) -> Iterator[Candidate]:
    for row in service_certificates.list_service_certificates(c, issuer_id):
        if row.purpose != SCEP_RA or row.serial is None:
            continue
        status = certificates.status(c, issuer_id, row.serial)
        if status is None or status.status != CertificateStatus.GOOD:
            continue
        stored = certificates.find_stored(c, issuer_id, row.serial)
        if stored is not None and stored.signature is not None:
            der = assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature)
            yield Candidate(issuer_id, der, keys.get_key(c, row.key_id), row.until_at)


def open_recipient(parts: Parts, candidate: Candidate) -> Recipient:
    """Raises Unavailable when the key cannot be opened."""
    key = candidate.key
    signer = parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)
    return Recipient(candidate.issuer_id, parse_head(candidate.der), signer, candidate.until)
