"""A reserved certificate on its way to being complete: signed, verified, recorded; now or after a restart.

Everything needed lies in the recorded TBS, so whoever finds an intent can finish it: the process that made it, the
worker, or the next one that asks for the same origin.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import Certificate, assemble_certificate, parse_certificate, parse_public_key_info
from pkiconf.der.extensions import parse_subject_alternative_names
from pkiconf.der.names import general_name_text, parse_name
from pkiconf.der.oids import SUBJECT_ALTERNATIVE_NAME
from pkiconf.der.verify import verify_signature
from pkiconf.errors import NotSigned, PkiconfError, SigningUnavailable
from pkiconf.issuance.audited import address_of, details
from pkiconf.issuance.issuer import chain_of
from pkiconf.issuance.order import Origin
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.transparency import Transparency
from pkiconf.model.actor import SYSTEM
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.certificate import CertificateID, CertificateStatus, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, SignatureAlgorithm
from pkiconf.model.request import Issued, Outcome, Pending, Rejected
from pkiconf.policy.serials import serial_bytes
from pkiconf.policy.transparency import pause_before_next
from pkiconf.signing.signer import Kind, Signer, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, compromised_keys, keys, precertificates
from pkiconf.store.database import Connection

SIGNING_TIME: Final = timedelta(seconds=60)
"""How long one attempt may hold an intent before another process resumes it."""

log = logging.getLogger(__name__)

_INTENT: Final = b"pkiconf intent 1\n"


@dataclass(frozen=True, slots=True)
class Intent:
    """A reserved certificate: everything needed to sign it, now or after a restart."""

    id: CertificateID
    tbs: bytes
    algorithm: SignatureAlgorithm
    origin_kind: str
    origin_id: str
    names: tuple[tuple[str, str], ...] | None = None
    """What it will be found by; None after a restart, when the TBS is read again."""
    is_precertificate: bool = False
    """Whether `tbs` is what logs have to see before there is one to sign."""


@dataclass(frozen=True, slots=True)
class Signed:
    intent: Intent
    signature: bytes
    chain: tuple[bytes, ...]
    der: bytes


class Intents:
    def __init__(self, parts: Parts, origins: Mapping[str, Origin], transparency: Transparency) -> None:
        self._parts = parts
        self._origins = origins
        self._transparency = transparency

    def resume(self, certificate: CertificateID) -> Outcome:
        """Finish an intent from its recorded TBS. An already complete one is returned as it stands."""
        row = self._parts.db.read(lambda c: certificates.get_certificate(c, certificate))
        return self._continue(row)

    def sweep(self) -> int:
        """Resume every intent whose lease has run out, but for those that logs have to see; how many were completed.

        One that cannot be finished now (its key does not open, or signs wrongly) waits for the next lease, and keeps
        none of the others waiting.
        """
        now = to_epoch(self._parts.now())
        stale = self._parts.db.read(lambda c: certificates.list_reserved(c, lease_before=now))
        return sum(isinstance(self._resume_stale(row, set()), Issued) for row in stale)

    def sweep_precertificates(self) -> int:
        """The same for those that logs have to see, which may take long. A log that is silent is asked for one."""
        now = to_epoch(self._parts.now())
        stale = self._parts.db.read(lambda c: precertificates.list_reserved(c, lease_before=now))
        silent: set[str] = set()
        return sum(isinstance(self._resume_stale(row, silent), Issued) for row in stale)

    def _resume_stale(self, row: certificates.CertificateRow, silent: set[str]) -> Outcome | None:
        until = to_epoch(self._parts.now() + SIGNING_TIME)

        def take(c: Connection) -> bool:
            return certificates.renew_lease(c, row.issuer_id, row.serial, row.lease_until, until)

        if not self._parts.db.write(Step.CERTIFICATE_RESERVE, take):
            return None  # another process has it in hand, or has finished it
        try:
            return self._continue(row, silent)
        except PkiconfError as ex:
            log.warning("certificate %s of issuer %d stays unfinished: %s", row.serial.hex(), row.issuer_id, ex)
            return None

    def find(self, origin_kind: str, origin_id: str) -> Outcome | None:
        """What became of an origin; None if it was never reserved."""
        row = self._parts.db.read(lambda c: certificates.find_by_origin(c, origin_kind, origin_id))
        return self._continue(row) if row else None

    def finish(
        self,
        intent: Intent,
        signer: Signer,
        issuer_spki: bytes,
        chain: tuple[bytes, ...],
        silent: set[str] | None = None,
    ) -> Outcome:
        """`silent` are URLs of logs that are not asked; those that do not answer are added."""
        if intent.is_precertificate:
            disclosed = self._disclose(intent, signer, issuer_spki, set() if silent is None else silent)
            if not isinstance(disclosed, Intent):
                return disclosed
            intent = disclosed
        signed = self.sign(intent, signer, issuer_spki, chain)
        if not isinstance(signed, Signed):
            return signed
        try:
            self._parts.db.write(Step.CERTIFICATE_COMPLETE, self.completion(signed))
        except certificates.NotReserved:
            # Another process resumed the same intent and was first: its signature is the one that counts.
            return self.resume(intent.id)
        return Issued(intent.id, signed.der, chain)

    def sign(
        self, intent: Intent, signer: Signer, issuer_spki: bytes, chain: tuple[bytes, ...]
    ) -> Signed | Rejected | Pending:
        """The key's work, checked before anything of it is released."""
        try:
            signature = signer.sign(self._signing_order(intent, intent.tbs))
        except NotSigned as ex:
            self.abandon(intent.id, str(ex))
            return Rejected(str(ex))
        except SigningUnavailable:
            return Pending(f"{intent.origin_kind}/{intent.origin_id}", retry_after=int(SIGNING_TIME.total_seconds()))
        verify_signature(issuer_spki, intent.algorithm, intent.tbs, signature)
        return Signed(intent, signature, chain, assemble_certificate(intent.tbs, intent.algorithm, signature))

    def _disclose(self, intent: Intent, signer: Signer, issuer_spki: bytes, silent: set[str]) -> Intent | Outcome:
        """The intent whose TBS is the certificate's own; or what becomes of one that too few logs promise for."""

        def sign(tbs: bytes) -> bytes:
            signature = signer.sign(self._signing_order(intent, tbs, ":precertificate"))
            verify_signature(issuer_spki, intent.algorithm, tbs, signature)
            return signature

        try:
            found = self._transparency.disclose(intent.id, sign, issuer_spki, frozenset(silent))
        except NotSigned as ex:
            return self._give_up(intent.id, str(ex))
        except SigningUnavailable:
            return Pending(f"{intent.origin_kind}/{intent.origin_id}", retry_after=int(SIGNING_TIME.total_seconds()))
        if isinstance(found, bytes):
            return replace(intent, tbs=found, is_precertificate=False)
        silent |= found.silent
        if found.gives_up:
            return self._give_up(intent.id, found.reason)
        log.warning("certificate %s waits: %s", address_of(intent.id), found.reason)
        pause = pause_before_next(found.age)
        until = to_epoch(self._parts.now()) + pause
        self._parts.db.write(
            Step.CERTIFICATE_RESERVE, lambda c: precertificates.postpone(c, intent.id, until), durable=False
        )
        return Pending(f"{intent.origin_kind}/{intent.origin_id}", pause, found.reason)

    def _give_up(self, certificate: CertificateID, reason: str) -> Outcome:
        try:
            self.abandon(certificate, reason)
        except certificates.NotReserved:
            return self.resume(certificate)  # another process came further: what it got is what there is
        return Rejected(reason)

    def completion(self, signed: Signed) -> Callable[[Connection], None]:
        """Transaction 2. It raises NotReserved when another process was first."""
        intent, der = signed.intent, signed.der
        names = intent.names if intent.names is not None else names_of(parse_certificate(der))
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            serial = serial_bytes(intent.id.serial_number)
            certificates.complete(c, intent.id.issuer_id, serial, signed.signature, now, names)
            self._origins[intent.origin_kind].completed(c, intent.origin_id, intent.id, der)
            self._parts.record(
                c,
                SYSTEM,
                "certificate.complete",
                address_of(intent.id),
                details(intent.id) | {"origin": intent.origin_id},
            )

        return write

    def abandon(self, certificate: CertificateID, reason: str) -> None:
        """Give up an intent that is certainly no certificate: its key gave nothing, or nothing of it has left. Its
        serial counts as revoked all the same. Raises NotReserved when it is none any more."""
        row = self._parts.db.read(lambda c: certificates.get_certificate(c, certificate))
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            certificates.abandon(c, certificate.issuer_id, serial_bytes(certificate.serial_number), now)
            self._origins[row.origin_kind].given_back(c, row.origin_id)
            told = details(certificate) | {"origin": row.origin_id, "reason": reason}
            self._parts.record(c, SYSTEM, "certificate.abandon", address_of(certificate), told)

        self._parts.db.write(Step.CERTIFICATE_ABANDON, write)

    def _continue(self, row: certificates.CertificateRow, silent: set[str] | None = None) -> Outcome:
        identity = CertificateID(row.issuer_id, int.from_bytes(row.serial, "big"))
        if row.status == CertificateStatus.ABANDONED:
            return Rejected("it was given up: its key gave no signature, or too few logs promised to include it")
        stored, chain = self._parts.db.read(lambda c: (_recorded(c, identity), chain_of(c, row.issuer_id)))
        tbs, signature = stored.tbs, stored.signature
        algorithm = SIGNATURE_ALGORITHMS[stored.algorithm]
        if signature is not None:
            return Issued(identity, assemble_certificate(tbs, algorithm, signature), chain)
        if self._parts.db.read(lambda c: compromised_keys.known(c, parse_public_key_info(tbs))):
            # It may have been signed before, but never left: given up, its serial counts as revoked.
            self.abandon(identity, "its public key became known to be compromised")
            return Rejected("the public key is known to be compromised")
        key = self._parts.db.read(lambda c: keys.get_key(c, authorities.get_issuer(c, row.issuer_id).key_id))
        intent = Intent(
            identity, tbs, algorithm, row.origin_kind, row.origin_id, is_precertificate=stored.is_precertificate
        )
        return self.finish(intent, self.signer(key), key.spki, chain, silent)

    def signer(self, key: keys.KeyRow) -> Signer:
        """Raises Unavailable when the key cannot be opened."""
        return self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)

    def _signing_order(self, intent: Intent, tbs: bytes, suffix: str = "") -> SigningOrder:
        name = f"{intent.id.issuer_id}:{intent.id.serial_number:x}{suffix}"
        deadline = self._parts.now() + SIGNING_TIME
        order_id = UUID(bytes=hashlib.sha256(_INTENT + name.encode()).digest()[:16])  # uuid5 takes four times as long
        return SigningOrder(order_id, Kind.CERTIFICATE, tbs, intent.algorithm, deadline)


class _Recorded(NamedTuple):
    tbs: bytes
    algorithm: str
    signature: bytes | None
    is_precertificate: bool


def _recorded(c: Connection, id: CertificateID) -> _Recorded:
    """The certificate's own TBS; where there is none yet, that of its precertificate. Raises NotFound."""
    stored = certificates.find_stored(c, id.issuer_id, serial_bytes(id.serial_number))
    if stored is None and (shown := precertificates.find(c, id)) is not None:
        return _Recorded(shown.tbs, shown.algorithm, None, True)
    return _Recorded(*(stored or certificates.get_stored(c, id)), False)


def names_of(certificate: Certificate | TBSCertificate) -> tuple[tuple[str, str], ...]:
    """Pairs of kind (cn, dns, ip, email, uri, …) and lower-case value under which a certificate is found."""
    found = {("cn", value.lower()) for value in parse_name(certificate.subject).values(COMMON_NAME)}
    for extension in certificate.extensions:
        if extension.oid == SUBJECT_ALTERNATIVE_NAME:
            for name in parse_subject_alternative_names(extension.value):
                kind, _, value = general_name_text(name).partition(":")
                found.add((kind, value.lower()))
    return tuple(sorted(found))
