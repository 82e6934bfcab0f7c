"""The chains under which a certificate can be served (RFC 8555 §7.4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """Good while the rows have this stamp and no certificate begins or ends: until the minute is over."""

    stamp: tuple[int, int]
    minute: int
    chains: list[tuple[bytes, ...]]


class Chains:
    """What this process serves behind leaves; read once and kept while it stands."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def of(self, c: Connection, issuer_id: int, now: int) -> list[tuple[bytes, ...]]:
        stamp, minute = authorities.ca_certificates_stamp(c), now // 60
        kept = self._kept.get(issuer_id)
        if kept is None or (kept.stamp, kept.minute) != (stamp, minute):
            kept = self._kept[issuer_id] = _Kept(stamp, minute, list_chains(c, issuer_id, now))
        return kept.chains


def certificate_chain(c: Connection, chains: Chains, row: OrderRow, alternate: int, now: int) -> CertificateChain:
    """The order's certificate under its `alternate`-th chain. Raises ACMEProblem 404 where there is none (yet)."""
    if row.status != "valid" or row.issuer_id is None or row.serial is None:
        raise _none("the order has no certificate yet; ask for the order until it is valid")
    stored = certificates.get_stored(c, CertificateID(row.issuer_id, int.from_bytes(row.serial)))
    if stored.signature is None:
        raise _none("the certificate is not signed yet")
    leaf = assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature)
    found = chains.of(c, row.issuer_id, now)
    if not 0 <= alternate < len(found):
        raise _none(f"there is no chain {alternate}; the alternates count to {len(found) - 1}")
    return CertificateChain((leaf, *found[alternate]), len(found) - 1)


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
