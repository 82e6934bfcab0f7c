"""Revocation over ACME (RFC 8555 §7.6)."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pkiconf.acme.accounts import account_actor
from pkiconf.acme.context import AccountTerms, is_good, unauthorized
from pkiconf.acme.origin import ORIGIN
from pkiconf.clock import to_epoch
from pkiconf.der.certificate import Certificate, assemble_certificate, parse_certificate
from pkiconf.der.extensions import parse_basic_constraints, parse_subject_alternative_names
from pkiconf.der.names import parse_name
from pkiconf.der.oids import BASIC_CONSTRAINTS, SUBJECT_ALTERNATIVE_NAME
from pkiconf.errors import Conflict, Malformed, NotFound, UnsupportedAlgorithm
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import ORIGIN as REQUEST_ORIGIN
from pkiconf.issuance.requests import find_template
from pkiconf.model.acme import Account, ACMEProblem, Identifier, ProblemType
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.acme.revocation import names_to_prove, parse_reason
from pkiconf.policy.acme.terms import Terms
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.revoke import Revocations
from pkiconf.store import acme_authorizations, acme_orders, certificates, templates
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection

REVOCABLE: Final = (ORIGIN, REQUEST_ORIGIN)
"""Origins of certificates that are subscribers' own. What an authority issued to itself or to its services only an
operator revokes, and so what devices enrolled over SCEP, which knows no revocation."""

_SCEP: Final = "scep"


@dataclass(frozen=True, slots=True)
class _Found:
    row: CertificateRow
    certificate: Certificate


class ACMERevocations:
    def __init__(self, parts: Parts, revocations: Revocations, terms: AccountTerms) -> None:
        self._parts = parts
        self._revocations = revocations
        self._terms = terms

    def by_account(self, account: Account, certificate: bytes, reason: int | None) -> None:
        """By the account that ordered it; or by one that has proved all its names by challenges, and may order of the
        same template: what is pre-approved for one source of certificates says nothing about another's.

        keyCompromise is recorded as the reason, and bars no key: a CSR can be anybody's, so to have ordered a
        certificate is no proof of having its key. Raises ACMEProblem: `malformed` (no certificate, or none of ours:
        404), `unauthorized` (403), `alreadyRevoked`, `badRevocationReason` (also keyCompromise from an account that did
        not order it).
        """
        parsed = _parse(certificate)
        actor = account_actor(account)

        def read(c: Connection) -> tuple[_Found, bool]:
            terms = self._terms.of(c, account)
            found = _find(c, parsed)
            own = _ordered_by(c, found.row, account)
            if not own:
                _check_template(c, terms, found.row)
                self._check_names(c, terms, account, parsed)
            return found, own

        found, own = self._parts.db.read(read)
        self._revoke(found, parse_reason(reason, may_blame_key=own), actor, by_key=False)

    def by_key(self, spki: bytes, certificate: bytes, reason: int | None) -> None:
        """By whoever signs with the certificate's own key; raises as `by_account`. What is revoked already may still
        become revoked for keyCompromise."""
        parsed = _parse(certificate)
        actor = Actor("acme", f"key-{hashlib.sha256(spki).hexdigest()[:32]}", "jws")
        found = self._parts.db.read(lambda c: _find(c, parsed))
        if parsed.spki != spki:
            raise unauthorized("the request is not signed with the certificate's key")
        self._revoke(found, parse_reason(reason, may_blame_key=True), actor, by_key=True)

    def _revoke(self, found: _Found, reason: RevocationReason, actor: Actor, *, by_key: bool) -> None:
        row = found.row
        check_may(actor, Action.CERTIFICATE_REVOKE, f"certificate/{row.issuer_id}/{row.serial.hex()}")
        corrected = by_key and reason is RevocationReason.KEY_COMPROMISE
        if row.status == CertificateStatus.REVOKED and not corrected:
            raise _already()
        try:
            self._revocations.revoke(row.id, reason, actor, bars_key=by_key)
        except Conflict:  # revoked by somebody else in the same moment, or for keyCompromise already
            raise _already() from None

    def _check_names(self, c: Connection, terms: Terms, account: Account, certificate: Certificate) -> None:
        """Raise ACMEProblem `unauthorized` unless the account has proved every name, and that still counts."""
        extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME)
        sans = parse_subject_alternative_names(extension.value) if extension else ()
        needed = names_to_prove(parse_name(certificate.subject), tuple(sans))
        if needed is None:
            raise unauthorized("the certificate was ordered by another account, and names what no authorization proves")
        now = to_epoch(self._parts.now())
        missing = [name for name in sorted(needed) if not _has_proved(c, terms, account, name, now)]
        if missing:
            raise unauthorized(
                "the certificate was ordered by another account, and this one holds no valid authorization, proved by "
                "a challenge, for " + ", ".join(name.value for name in missing)
            )


def _has_proved(c: Connection, terms: Terms, account: Account, identifier: Identifier, now: int) -> bool:
    """A pre-approved name was proved by nobody."""
    rows = acme_authorizations.list_valid(
        c, account.id, identifier.type.value, identifier.base.value, wildcard=identifier.is_wildcard, now=now
    )
    return any(row.offered and is_good(terms, row, now) for row in rows)


def _check_template(c: Connection, terms: Terms, row: CertificateRow) -> None:
    """Raise ACMEProblem `unauthorized` unless the account might have ordered of the certificate's template."""
    version = row.template_version_id
    template_id = None if version is None else templates.get_template_version(c, version).template_id
    for reference in terms.profiles.values():
        with suppress(NotFound):  # another one may be the certificate's
            if find_template(c, reference).id == template_id:
                return
    raise unauthorized("the certificate was ordered by another account, and this one may order none of its template")


def _ordered_by(c: Connection, row: CertificateRow, account: Account) -> bool:
    order = acme_orders.find(c, row.origin_id) if row.origin_kind == ORIGIN else None
    return order is not None and order.account_id == account.id


def _parse(der: bytes) -> Certificate:
    try:
        return parse_certificate(der)
    except (Malformed, UnsupportedAlgorithm) as ex:
        raise ACMEProblem(ProblemType.MALFORMED, f"what is to be revoked is no certificate: {ex}") from None


def _find(c: Connection, wanted: Certificate) -> _Found:
    """The certificate as it was issued here, octet by octet: one that only shares its serial is another's."""
    for row in certificates.list_by_serial(c, serial_bytes(wanted.serial_number)):
        stored = certificates.find_stored(c, row.issuer_id, row.serial)
        if stored is None or stored.signature is None:
            continue
        if assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature) == wanted.der:
            _check_subscribers(row, wanted)
            return _Found(row, wanted)
    raise ACMEProblem(ProblemType.MALFORMED, "this certificate was not issued here", status=404)


def _check_subscribers(row: CertificateRow, certificate: Certificate) -> None:
    constraints = certificate.extension(BASIC_CONSTRAINTS)
    is_authority = constraints is not None and parse_basic_constraints(constraints.value).ca
    if row.origin_kind in REVOCABLE and not is_authority:
        return
    what = "was enrolled over SCEP" if row.origin_kind == _SCEP else "belongs to an authority or one of its services"
    raise unauthorized(f"the certificate {what}; only an operator revokes it")


def _already() -> ACMEProblem:
    return ACMEProblem(ProblemType.ALREADY_REVOKED, "the certificate is revoked already; nothing is left to do")
