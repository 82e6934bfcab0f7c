"""Orders that say which certificate they replace (RFC 9773 §5), and certificate identifiers looked up."""

from __future__ import annotations

from collections.abc import Iterable

from pkiconf.acme.context import unauthorized
from pkiconf.acme.order_view import identifiers_of
from pkiconf.acme.origin import ORIGIN
from pkiconf.model.acme import Account, ACMEProblem, Identifier, ProblemType
from pkiconf.model.certificate import CertificateStatus
from pkiconf.policy.acme.renewals import parse_certificate_id
from pkiconf.store import acme_orders, authorities, certificates
from pkiconf.store.authorities import IssuerRow
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection


def find_certificate(c: Connection, certificate_id: str) -> tuple[CertificateRow, IssuerRow]:
    """Raises ACMEProblem `malformed`: 400 for what is no certificate identifier, 404 for one of no certificate here."""
    key_identifier, serial = parse_certificate_id(certificate_id)
    for row in certificates.list_by_serial(c, serial):  # two authorities may have the same key
        issuer = authorities.get_issuer(c, row.issuer_id)
        if issuer.ski == key_identifier and row.status not in (CertificateStatus.RESERVED, CertificateStatus.ABANDONED):
            return row, issuer
    raise ACMEProblem(ProblemType.MALFORMED, f"there is no certificate {certificate_id[:100]!r} here", status=404)


def check_replaces(
    c: Connection, account: Account, certificate_id: str, identifiers: Iterable[Identifier], now: int
) -> None:
    """Raise ACMEProblem unless an order of this account may replace the certificate: `alreadyReplaced` (409),
    `malformed` (no such certificate, or no name in common), `unauthorized` (another account's)."""
    row, _ = find_certificate(c, certificate_id)
    replaced = acme_orders.find(c, row.origin_id) if row.origin_kind == ORIGIN else None
    if replaced is None or replaced.account_id != account.id:
        raise unauthorized("the certificate to replace was not ordered by this account; leave out replaces")
    if not set(identifiers_of(replaced)) & set(identifiers):
        raise ACMEProblem(
            ProblemType.MALFORMED,
            "the order shares no name with the certificate it replaces; leave out replaces",
        )
    acme_orders.lock_certificate(c, row.issuer_id, row.serial)
    other = acme_orders.find_replacement(c, certificate_id, now)
    if other is not None:
        raise ACMEProblem(
            ProblemType.ALREADY_REPLACED, f"order {other} replaces this certificate already; leave out replaces",
            status=409,
        )  # fmt: skip
