"""ACME renewal information (RFC 9773)."""

from __future__ import annotations

from pkiconf.acme.replacement import find_certificate
from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import RenewalWindow
from pkiconf.model.certificate import CertificateStatus
from pkiconf.policy.acme.renewals import Lifetime, renewal_window
from pkiconf.store import authorities
from pkiconf.store.authorities import IssuerRow
from pkiconf.store.database import Connection


class Renewals:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def window(self, certificate_id: str) -> RenewalWindow:
        """When to renew (§4.2): around two thirds of the validity; in the past once it is revoked or held; within a
        day from when its authority rolled over; reckoned from its issuer's end where that comes first.

        Of whichever protocol the certificate came by. Raises ACMEProblem `malformed`: 400 for what is no certificate
        identifier, 404 for one of no certificate here.
        """
        life = self._parts.db.read(lambda c: _lifetime(c, certificate_id))
        return renewal_window(life, to_epoch(self._parts.now()))


def _lifetime(c: Connection, certificate_id: str) -> Lifetime:
    row, issuer = find_certificate(c, certificate_id)
    ended = row.status in (CertificateStatus.REVOKED, CertificateStatus.HELD)
    above = authorities.find_ca_certificate(c, issuer.id)
    return Lifetime(
        not_before=row.not_before,
        not_after=row.not_after,
        ended_at=row.revoked_at if ended else None,
        superseded_at=_superseded_at(c, issuer),
        issuer_end=None if above is None else above.not_after,
    )


def _superseded_at(c: Connection, issuer: IssuerRow) -> int | None:
    """Since when the authority signs with another key than this one."""
    current = authorities.get_authority(c, issuer.authority_id).current_issuer_id
    if current is None or current == issuer.id:
        return None
    newer = authorities.get_issuer(c, current)
    return newer.created_at if newer.generation > issuer.generation else None
