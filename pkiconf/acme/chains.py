"""The chains under which a certificate can be served (RFC 8555 §7.4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pkiconf.der.certificate import assemble_certificate, parse_certificate
from pkiconf.der.pem import pem_decode_all
from pkiconf.issuance.issuer import chain_of
from pkiconf.model.acme import ACMEProblem, CertificateChain, ProblemType
from pkiconf.model.certificate import CertificateID
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.store import authorities, certificates
from pkiconf.store.acme_orders import OrderRow
from pkiconf.store.authorities import CACertificateRow
from pkiconf.store.database import Connection

MOST_CHAINS: Final = 8
"""Cross-certificates multiply; no client looks at more."""

_DEEPEST: Final = 16


def certificate_chain(c: Connection, row: OrderRow, alternate: int, now: int) -> CertificateChain:
    """The order's certificate under its `alternate`-th chain. Raises ACMEProblem 404 where there is none (yet)."""
    if row.status != "valid" or row.issuer_id is None or row.serial is None:
        raise _none("the order has no certificate yet; ask for the order until it is valid")
    stored = certificates.get_stored(c, CertificateID(row.issuer_id, int.from_bytes(row.serial)))
    if stored.signature is None:
        raise _none("the certificate is not signed yet")
    leaf = assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature)
    chains = list_chains(c, row.issuer_id, now)
    if not 0 <= alternate < len(chains):
        raise _none(f"there is no chain {alternate}; the alternates count to {len(chains) - 1}")
    return CertificateChain((leaf, *chains[alternate]), len(chains) - 1)


def list_chains(c: Connection, issuer_id: int, now: int) -> list[tuple[bytes, ...]]:
    """What may follow a leaf, the preferred chain first, self-signed roots left out, no chain twice."""
    found = {chain_of(c, issuer_id): None}
    for path in _paths(c, issuer_id, now, frozenset()):
        found[path] = None
        if len(found) == MOST_CHAINS:
            break
    return list(found)


def _paths(c: Connection, issuer_id: int, now: int, below: frozenset[int]) -> Iterator[tuple[bytes, ...]]:
    """Every way up from an issuer that does not come by one that lies `below` it."""
    for row in _certificates(c, issuer_id, now):
        signer = row.signed_by_issuer_id
        if row.role == "self":
            yield ()
        elif row.role == "external":
            yield (row.der, *(der for der in pem_decode_all(row.chain or b"", "CERTIFICATE") if not _is_root(der)))
        elif signer is not None and signer not in below and signer != issuer_id and len(below) < _DEEPEST:
            for rest in _paths(c, signer, now, below | {issuer_id}):
                yield (row.der, *rest)


def _certificates(c: Connection, issuer_id: int, now: int) -> list[CACertificateRow]:
    """Of each issuer that certified this one, the newest certificate that is valid now; the preferred one first."""
    newest: dict[int | None, CACertificateRow] = {}
    for row in authorities.list_ca_certificates(c, issuer_id):
        if row.not_before <= now < row.not_after:
            newest[row.signed_by_issuer_id] = row
    return sorted(newest.values(), key=lambda row: (-row.preferred, row.id))


def _is_root(der: bytes) -> bool:
    certificate = parse_certificate(der)
    return certificate.issuer == certificate.subject


def _none(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.MALFORMED, detail, status=404)
