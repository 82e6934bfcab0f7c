"""CertPoll, GetCert and GetCRL (RFC 8894 §3.3.3 to §3.3.5)."""

from __future__ import annotations

import hashlib

from pkiconf.der.certificate import assemble_certificate
from pkiconf.der.certificate_head import IssuerAndSerial
from pkiconf.der.scep import parse_get
from pkiconf.errors import Malformed, NotFound
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateID
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.request import Issued
from pkiconf.model.scep import FailInfo, SCEPFailure
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.crl_downloads import CRLDownloads
from pkiconf.scep.enrolment import Enrolment
from pkiconf.scep.envelope import Opened
from pkiconf.scep.places import Place
from pkiconf.scep.transactions import Transactions, Waiting
from pkiconf.store import certificates, intune
from pkiconf.store.database import Connection
from pkiconf.store.intune import IntuneState


class Inquiries:
    def __init__(self, parts: Parts, transactions: Transactions, enrolment: Enrolment, crls: CRLDownloads) -> None:
        self._parts = parts
        self._transactions = transactions
        self._enrolment = enrolment
        self._crls = crls

    def poll(self, place: Place, opened: Opened) -> Issued | Waiting:
        """What has become of a transaction, for the key that began it. The names in a poll say nothing that the
        transaction's id does not say better, so nobody looks at them. Raises SCEPFailure."""
        row = self._transactions.find(place, opened.message.transaction_id)
        if row is None or row.signer_spki_sha256 != hashlib.sha256(opened.signer.spki).digest():
            raise SCEPFailure(
                FailInfo.BAD_CERT_ID, "there is no such transaction of this key", "Begin anew with PKCSReq"
            )
        outcome = self._transactions.outcome(row)
        if not isinstance(outcome, Issued) or row.after_issue is None:
            return outcome
        return self._enrolment.deliver(row, None, outcome)

    def certificate(self, place: Place, opened: Opened) -> bytes:
        """One that this authority issued, and that may be handed out. Raises SCEPFailure badCertId."""
        asked, issuer_ids = _asked_for(place, opened)
        number = serial_bytes(asked.serial_number)

        def find(c: Connection) -> bytes | None:
            for issuer_id in issuer_ids:
                stored = certificates.find_stored(c, issuer_id, number)
                if stored is not None and stored.signature is not None and _is_let_out(c, issuer_id, asked):
                    return assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature)
            return None

        found = self._parts.db.read(find)
        if found is None:
            raise _not_ours()
        return found

    def crl(self, place: Place, opened: Opened) -> bytes:
        """The list of the issuer of the certificate that is named. Raises SCEPFailure badCertId; Unavailable,
        SigningUnavailable when there is none to be had."""
        asked, issuer_ids = _asked_for(place, opened)
        number = serial_bytes(asked.serial_number)

        def find(c: Connection) -> int | None:
            issued = (one for one in issuer_ids if certificates.find(c, one, number) is not None)
            return next(issued, None)

        issuer_id = self._parts.db.read(find)
        if issuer_id is None:
            raise _not_ours()
        try:
            return self._crls.current(issuer_id).der
        except NotFound:
            raise _not_ours() from None


def _is_let_out(c: Connection, issuer_id: int, asked: IssuerAndSerial) -> bool:
    """What Intune let in nobody has before Intune was told of it, and nobody at all if it was withdrawn."""
    let_in = intune.find(c, CertificateID(issuer_id, asked.serial_number))
    return let_in is None or let_in.state == IntuneState.TOLD


def _asked_for(place: Place, opened: Opened) -> tuple[IssuerAndSerial, tuple[int, ...]]:
    """What cannot be read is answered as what was not issued here is: whoever sends on another's message, changed,
    would learn from two answers how it is padded (RFC 3218 §2.3)."""
    try:
        asked = parse_get(opened.content)
    except Malformed as ex:
        raise _not_ours(f"the question cannot be read: {ex}") from None
    issuer_ids = place.issuers.get(asked.issuer, ())
    if not issuer_ids or not 0 < asked.serial_number < 1 << 160:
        raise _not_ours()
    return asked, issuer_ids


def _not_ours(reason: str = "") -> SCEPFailure:
    return SCEPFailure(
        FailInfo.BAD_CERT_ID, "this authority issued no such certificate", "Check issuer and serial", reason=reason
    )
