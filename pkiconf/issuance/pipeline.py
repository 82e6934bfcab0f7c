"""Request → certificate, resumable from wherever it stopped.

What holds, whatever happens in between:

* a reserved intent is signed only over its recorded TBS, so signing it again after a crash is harmless:
  nothing leaves before it is complete;
* an intent is given up only when it is certain that nothing was signed, and even then its serial counts as revoked;
* `UNIQUE(origin_kind, origin_id)` gives one certificate for one order, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate, parse_certificate
from pkiconf.der.extensions import parse_subject_alternative_names
from pkiconf.der.names import general_name_text, parse_name
from pkiconf.der.oids import SUBJECT_ALTERNATIVE_NAME
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Conflict, NotSigned, Refused, SigningUnavailable
from pkiconf.issuance.issuer import IssuingContext, IssuingContexts, chain_of
from pkiconf.issuance.order import IssuanceOrder, Origin
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.certificate import CertificateID, CertificateStatus, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, SignatureAlgorithm
from pkiconf.model.request import Issued, Outcome, Pending, Rejected
from pkiconf.policy.keys import check_public_key
from pkiconf.policy.lints import LintContext, check_lints
from pkiconf.policy.serials import bucket_of, make_serial, serial_bytes
from pkiconf.policy.template import evaluate
from pkiconf.signing.signer import Kind, Signer, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, keys, templates
from pkiconf.store.database import Connection

SIGNING_TIME: Final = timedelta(seconds=60)
"""How long one attempt may hold an intent before another process resumes it."""

_INTENT_NAMESPACE: Final = UUID("0e6a2f0c-5d1b-4d53-9a55-3b1f6c9d7e21")


@dataclass(frozen=True, slots=True)
class Intent:
    """A reserved certificate: everything needed to sign it, now or after a restart."""

    id: CertificateID
    tbs: bytes
    algorithm: SignatureAlgorithm
    origin_kind: str
    origin_id: str


class DeclarationMoved(Conflict):
    """The template or authority changed between evaluating and reserving: evaluate again."""


class Pipeline:
    def __init__(self, parts: Parts, origins: Mapping[str, Origin]) -> None:
        self._parts = parts
        self._origins = origins
        self._contexts = IssuingContexts()

    def issue(self, order: IssuanceOrder) -> Outcome:
        """One certificate for one origin.

        Issued also when this origin was served before. Rejected says which rule forbids it; nothing was recorded.
        Pending when the key gives no answer now: the intent stands and is resumed.
        Raises NotFound, Conflict (the origin may not be served), Unavailable (database, master key).
        """
        for _ in range(3):
            try:
                return self._issue(order)
            except DeclarationMoved:
                continue
            except Refused as ex:
                return Rejected(str(ex))
        raise Conflict(f"{order.address} keeps changing while a certificate is being issued", "Try again")

    def resume(self, certificate: CertificateID) -> Outcome:
        """Finish an intent from its recorded TBS. An already complete one is returned as it stands."""
        row = self._parts.db.read(lambda c: certificates.get_certificate(c, certificate))
        return self._continue(row)

    def sweep(self) -> int:
        """Resume every intent whose lease has run out; how many were completed."""
        now = to_epoch(self._parts.now())
        stale = self._parts.db.read(lambda c: certificates.list_reserved(c, lease_before=now))
        return sum(isinstance(self._continue(row), Issued) for row in stale)

    def find(self, origin_kind: str, origin_id: str) -> Outcome | None:
        """What became of an origin; None if it was never reserved."""
        row = self._parts.db.read(lambda c: certificates.find_by_origin(c, origin_kind, origin_id))
        return self._continue(row) if row else None

    def _issue(self, order: IssuanceOrder) -> Outcome:
        own = order.origin_kind == "ca" and order.wanted.spki == self._spki_of(order.issuer_id)
        context = self._parts.db.read(
            lambda c: self._contexts.load(c, order.issuer_id, order.template_id, own_certificate=own)
        )
        if context.stamp.template_lifecycle != "active":
            raise Refused(f"{order.address}: the template is retired", "Declare it again, or choose another")
        signer = self._signer(context.key)
        check_public_key(order.wanted.spki, order.wanted.key)
        tbs = self._evaluate(order, context)
        encoded = encode_tbs_certificate(tbs)
        check_lints(encoded, LintContext(issuer=context.facts, self_issued=own))
        try:
            intent = self._reserve(order, context, tbs, encoded)
        except certificates.OriginTaken:
            found = self.find(order.origin_kind, order.origin_id)
            if found is None:  # its own transaction was rolled back meanwhile
                raise DeclarationMoved(f"{order.address} is being served by another process") from None
            return found
        return self._finish(intent, signer, context.facts.spki, context.chain)

    def _spki_of(self, issuer_id: int) -> bytes:
        return self._parts.db.read(lambda c: keys.get_key(c, authorities.get_issuer(c, issuer_id).key_id)).spki

    def _evaluate(self, order: IssuanceOrder, context: IssuingContext) -> TBSCertificate:
        draft = evaluate(context.template, order.wanted, context.facts, 0, self._parts.now())
        return replace(draft, serial_number=make_serial(self._parts.entropy, draft.not_after))

    def _reserve(self, order: IssuanceOrder, context: IssuingContext, tbs: TBSCertificate, encoded: bytes) -> Intent:
        """Transaction 1. Raises DeclarationMoved, OriginTaken, or what the origin raises."""
        identity = CertificateID(order.issuer_id, tbs.serial_number)
        now = self._parts.now()
        row = certificates.NewCertificate(
            issuer_id=order.issuer_id,
            serial=serial_bytes(tbs.serial_number),
            bucket=bucket_of(tbs.serial_number),
            template_version_id=context.template_version_id,
            not_before=to_epoch(tbs.not_before),
            not_after=to_epoch(tbs.not_after),
            origin_kind=order.origin_kind,
            origin_id=order.origin_id,
            reserved_at=to_epoch(now),
            lease_until=to_epoch(now + SIGNING_TIME),
            algorithm=tbs.signature.name,
            tbs=encoded,
        )

        def write(c: Connection) -> None:
            if templates.issuing_stamp(c, order.template_id, order.issuer_id) != context.stamp:
                raise DeclarationMoved(f"{order.address} changed meanwhile")
            certificates.reserve(c, row)
            order.reserved(c, identity)
            self._record(c, order.actor, "certificate.reserve", order.address, identity, order.origin_id)

        self._parts.db.write(Step.CERTIFICATE_RESERVE, write)
        return Intent(identity, encoded, tbs.signature, order.origin_kind, order.origin_id)

    def _finish(self, intent: Intent, signer: Signer, issuer_spki: bytes, chain: tuple[bytes, ...]) -> Outcome:
        """Sign, verify, and transaction 2."""
        try:
            signature = signer.sign(self._signing_order(intent))
        except NotSigned as ex:
            self.abandon(intent.id, str(ex))
            return Rejected(str(ex))
        except SigningUnavailable:
            return Pending(f"{intent.origin_kind}/{intent.origin_id}", retry_after=int(SIGNING_TIME.total_seconds()))
        verify_signature(issuer_spki, intent.algorithm, intent.tbs, signature)
        der = assemble_certificate(intent.tbs, intent.algorithm, signature)
        names = searchable_names(der)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            serial = serial_bytes(intent.id.serial_number)
            certificates.complete(c, intent.id.issuer_id, serial, signature, now, names)
            self._origins[intent.origin_kind].completed(c, intent.origin_id, intent.id, der)
            self._record(c, SYSTEM, "certificate.complete", _address(intent.id), intent.id, intent.origin_id)

        try:
            self._parts.db.write(Step.CERTIFICATE_COMPLETE, write)
        except certificates.NotReserved:
            # Another process resumed the same intent and was first: its signature is the one that counts.
            return self.resume(intent.id)
        return Issued(intent.id, der, chain)

    def abandon(self, certificate: CertificateID, reason: str) -> None:
        """Give up an intent that was certainly not signed. Its serial counts as revoked all the same."""
        row = self._parts.db.read(lambda c: certificates.get_certificate(c, certificate))
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            certificates.abandon(c, certificate.issuer_id, serial_bytes(certificate.serial_number), now)
            self._origins[row.origin_kind].given_back(c, row.origin_id)
            details = _details(certificate, row.origin_id) | {"reason": reason}
            self._parts.record(c, SYSTEM, "certificate.abandon", _address(certificate), details)

        self._parts.db.write(Step.CERTIFICATE_ABANDON, write)

    def _continue(self, row: certificates.CertificateRow) -> Outcome:
        identity = CertificateID(row.issuer_id, int.from_bytes(row.serial, "big"))
        if row.status == CertificateStatus.ABANDONED:
            return Rejected("its key gave no signature, so it was given up")
        stored = self._parts.db.read(lambda c: (certificates.get_stored(c, identity), chain_of(c, row.issuer_id)))
        (tbs, algorithm_name, signature), chain = stored
        algorithm = SIGNATURE_ALGORITHMS[algorithm_name]
        if signature is not None:
            return Issued(identity, assemble_certificate(tbs, algorithm, signature), chain)
        key = self._parts.db.read(lambda c: keys.get_key(c, authorities.get_issuer(c, row.issuer_id).key_id))
        intent = Intent(identity, tbs, algorithm, row.origin_kind, row.origin_id)
        return self._finish(intent, self._signer(key), key.spki, chain)

    def _signer(self, key: keys.KeyRow) -> Signer:
        return self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)

    def _signing_order(self, intent: Intent) -> SigningOrder:
        name = f"{intent.id.issuer_id}:{intent.id.serial_number:x}"
        deadline = self._parts.now() + SIGNING_TIME
        return SigningOrder(uuid5(_INTENT_NAMESPACE, name), Kind.CERTIFICATE, intent.tbs, intent.algorithm, deadline)

    def _record(
        self, c: Connection, actor: Actor, action: str, address: str, certificate: CertificateID, origin_id: str
    ) -> None:
        self._parts.record(c, actor, action, address, _details(certificate, origin_id))


def _details(certificate: CertificateID, origin_id: str) -> dict[str, object]:
    return {
        "issuer": certificate.issuer_id,
        "serial": serial_bytes(certificate.serial_number).hex(),
        "origin": origin_id,
    }


def _address(certificate: CertificateID) -> str:
    return f"certificate/{certificate.issuer_id}/{serial_bytes(certificate.serial_number).hex()}"


def searchable_names(der: bytes) -> tuple[tuple[str, str], ...]:
    """Pairs of kind (cn, dns, ip, email, uri, …) and lower-case value under which a certificate is found."""
    certificate = parse_certificate(der)
    found = {("cn", value.lower()) for value in parse_name(certificate.subject).values(COMMON_NAME)}
    extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME)
    for name in parse_subject_alternative_names(extension.value) if extension else ():
        kind, _, value = general_name_text(name).partition(":")
        found.add((kind, value.lower()))
    return tuple(sorted(found))
