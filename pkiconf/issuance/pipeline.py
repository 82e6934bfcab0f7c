"""Request → certificate, resumable from wherever it stopped.

What holds, whatever happens in between:

* a reserved intent is signed only over its recorded TBS, so signing it again after a crash is harmless:
  nothing leaves before it is complete;
* an intent is given up only when it is certain that nothing was signed, and even then its serial counts as revoked;
* `UNIQUE(origin_kind, origin_id)` gives one certificate for one order, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.certificate import encode_tbs_certificate
from pkiconf.der.transparency import POISON
from pkiconf.errors import Conflict, PkiconfError, Refused
from pkiconf.issuance.audited import details
from pkiconf.issuance.intents import SIGNING_TIME, Intent, Intents, Signed, names_of
from pkiconf.issuance.issuer import IssuingContext, IssuingContexts
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateID, TBSCertificate
from pkiconf.model.request import Issued, Outcome, Rejected
from pkiconf.policy.crl_parts import part_of, part_url
from pkiconf.policy.keys import check_not_compromised, check_public_key
from pkiconf.policy.lints import check_lints
from pkiconf.policy.serials import bucket_of, draw_serial, serial_bytes, serial_ending
from pkiconf.policy.template import evaluate
from pkiconf.policy.transparency import logs_for
from pkiconf.signing.signer import Signer
from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, crls, issuing_locks, keys, templates
from pkiconf.store.database import Connection

BATCH: Final = 64
"""How many certificates share a commit when many are asked for at once."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An order that policy allows, encoded and linted: all but recorded."""

    order: IssuanceOrder
    context: IssuingContext
    signer: Signer
    tbs: TBSCertificate
    encoded: bytes

    @property
    def intent(self) -> Intent:
        identity = CertificateID(self.order.issuer_id, self.tbs.serial_number)
        origin = (self.order.origin_kind, self.order.origin_id)
        return Intent(identity, self.encoded, self.tbs.signature, *origin, names_of(self.tbs), self.is_precertificate)

    @property
    def is_precertificate(self) -> bool:
        """Whether logs have to see it first; then there is poison in `tbs`."""
        return self.context.template.spec.ct is not None


class DeclarationMoved(Conflict):
    """The template or authority changed between evaluating and reserving: evaluate again."""


class Pipeline:
    def __init__(self, parts: Parts, intents: Intents) -> None:
        self._parts = parts
        self.intents = intents
        self._contexts = IssuingContexts()

    def issue(self, order: IssuanceOrder) -> Outcome:
        """One certificate for one origin.

        Issued also when this origin was served before. Rejected says which rule forbids it; nothing was recorded.
        Pending when the key gives no answer now: the intent stands and is resumed.
        Raises NotFound, Conflict (the origin may not be served), Unavailable (database, master key).
        """
        draft = self._draft
        for _ in range(3):
            try:
                return self._issue(draft(order))
            except DeclarationMoved:
                draft = self._draft_anew
            except Refused as ex:
                return Rejected(str(ex))
        raise Conflict(f"{order.address} keeps changing while a certificate is being issued", "Try again")

    def check(self, order: IssuanceOrder) -> None:
        """Raise what would keep `order` from being issued now. Nothing is recorded."""
        self._draft(order)

    def issue_many(self, orders: Sequence[IssuanceOrder]) -> list[Outcome | PkiconfError]:
        """Like `issue` for each, in the order given, with two durable commits for a batch instead of two for each.
        Those that logs have to see are issued one by one.

        One that fails does not stop the others: its error stands in its place.
        """
        return [
            outcome
            for first in range(0, len(orders), BATCH)
            for outcome in self._issue_batch(orders[first : first + BATCH])
        ]

    def _issue(self, draft: Draft) -> Outcome:
        try:
            self._parts.db.write(Step.CERTIFICATE_RESERVE, self._reservation(draft))
        except certificates.OriginTaken:
            return self._served_before(draft.order)
        return self.intents.finish(draft.intent, draft.signer, draft.context.facts.spki, draft.context.chain)

    def _issue_batch(self, orders: Sequence[IssuanceOrder]) -> list[Outcome | PkiconfError]:
        results: dict[int, Outcome | PkiconfError] = {}
        drafts: dict[int, Draft] = {}
        for number, order in enumerate(orders):
            try:
                draft = self._draft(order)
                if draft.is_precertificate:
                    results[number] = self.issue(order)
                else:
                    drafts[number] = draft
            except Refused as ex:
                results[number] = Rejected(str(ex))
            except PkiconfError as ex:
                results[number] = ex
        reserved = self._parts.db.write_all(
            Step.CERTIFICATE_RESERVE, [self._reservation(draft) for draft in drafts.values()]
        )
        signed: dict[int, Signed] = {}
        for (number, draft), error in zip(drafts.items(), reserved, strict=True):
            if error is not None:
                results[number] = self._alone(draft.order)  # moved, or served before: the longer way
                continue
            outcome = self._signed_or_error(draft)
            if isinstance(outcome, Signed):
                signed[number] = outcome
            else:
                results[number] = outcome
        completed = self._parts.db.write_all(
            Step.CERTIFICATE_COMPLETE, [self.intents.completion(one) for one in signed.values()]
        )
        for (number, one), error in zip(signed.items(), completed, strict=True):
            results[number] = (
                Issued(one.intent.id, one.der, one.chain) if error is None else self._alone(orders[number])
            )
        return [results[number] for number in range(len(orders))]

    def _signed_or_error(self, draft: Draft) -> Signed | Outcome | PkiconfError:
        """An error leaves the intent reserved, to be resumed; the others of its batch are signed all the same."""
        try:
            return self.intents.sign(draft.intent, draft.signer, draft.context.facts.spki, draft.context.chain)
        except PkiconfError as ex:
            return ex

    def _alone(self, order: IssuanceOrder) -> Outcome | PkiconfError:
        try:
            return self.issue(order)
        except PkiconfError as ex:
            return ex

    def _draft(self, order: IssuanceOrder) -> Draft:
        """Authorize, evaluate, encode, lint. Raises Refused, NotFound, Conflict, Unavailable; records nothing.

        What was read for the last certificate serves for this one, and the reservation finds out if it has moved. A
        refusal is only given on what stands now.
        """
        kept = self._contexts.find(order.issuer_id, order.template_id, own_certificate=self._is_own(order))
        if kept is None:
            return self._draft_anew(order)
        try:
            return self._draft_with(order, kept)
        except PkiconfError:
            return self._draft_anew(order)

    def _draft_anew(self, order: IssuanceOrder) -> Draft:
        own = self._is_own(order)
        context = self._parts.db.read(
            lambda c: self._contexts.load(c, order.issuer_id, order.template_id, own_certificate=own)
        )
        return self._draft_with(order, context)

    def _is_own(self, order: IssuanceOrder) -> bool:
        """Whether an issuer signs this for its own key, as a root does."""
        return order.origin_kind == "ca" and order.wanted.spki == self._spki_of(order.issuer_id)

    def _draft_with(self, order: IssuanceOrder, context: IssuingContext) -> Draft:
        if context.stamp.template_lifecycle != "active":
            raise Refused(f"{order.address}: the template is retired", "Declare it again, or choose another")
        if not order.beyond_service:
            _check_in_service(context)
        signer = self.intents.signer(context.key)
        check_public_key(order.wanted.spki, order.wanted.key)
        tbs = _poisoned(context, self._evaluate(order, context))
        encoded = encode_tbs_certificate(tbs)
        check_lints(encoded, context.lints)
        return Draft(order, context, signer, tbs, encoded)

    def _served_before(self, order: IssuanceOrder) -> Outcome:
        found = self.intents.find(order.origin_kind, order.origin_id)
        if found is None:  # its own transaction was rolled back meanwhile
            raise DeclarationMoved(f"{order.address} is being served by another process")
        return found

    def _spki_of(self, issuer_id: int) -> bytes:
        return self._parts.db.read(lambda c: keys.get_key(c, authorities.get_issuer(c, issuer_id).key_id)).spki

    def _evaluate(self, order: IssuanceOrder, context: IssuingContext) -> TBSCertificate:
        drawn = draw_serial(self._parts.entropy)  # the URL of a part of the CRL follows from it
        draft = evaluate(context.template, order.wanted, context.facts, drawn, self._parts.now())
        return draft.numbered(serial_ending(drawn, draft.not_after))

    def _reservation(self, draft: Draft) -> Callable[[Connection], None]:
        """Transaction 1. It raises DeclarationMoved, OriginTaken, Refused for a compromised key, or what the origin
        raises."""
        order, tbs, context = draft.order, draft.tbs, draft.context
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
            tbs=draft.encoded,
            is_precertificate=draft.is_precertificate,
            crl_shard=part_of(tbs.serial_number, context.facts.crl_partitions),
        )

        def write(c: Connection) -> None:
            issuing_locks.share(c, order.wanted.spki)
            stamp, compromised = templates.issuing_stamp_and_key(
                c, order.template_id, order.issuer_id, order.wanted.spki
            )
            if stamp != context.stamp:
                raise DeclarationMoved(f"{order.address} changed meanwhile")
            # Here and not before: a key that is reported while its certificate is being made is refused too.
            check_not_compromised(order.wanted.spki, compromised)
            if row.crl_shard:
                crls.locate(c, order.issuer_id, row.crl_shard, part_url(context.facts.crl_url, row.crl_shard))
            certificates.reserve(c, row)
            order.reserved(c, identity)
            told = details(identity) | {"origin": order.origin_id}
            self._parts.record(c, order.actor, "certificate.reserve", order.address, told)

        return write


def _poisoned(context: IssuingContext, tbs: TBSCertificate) -> TBSCertificate:
    """What logs are to see, where the template has any. Raises Refused where too few take such a certificate."""
    terms = context.template.spec.ct
    if terms is None:
        return tbs
    logs_for(terms, tbs.not_after)
    return replace(tbs, extensions=(*tbs.extensions, POISON))


def _check_in_service(context: IssuingContext) -> None:
    """Who asked found the issuer in service; it may have been retired or rolled over since. Raises Conflict."""
    stamp, name = context.stamp, context.facts.authority
    if stamp.authority_lifecycle == "retired":
        raise Conflict(f"authority {name!r} is retired", "Declare it again to issue from it")
    if stamp.issuer_state != "active":
        raise Conflict(f"generation {context.facts.generation} of authority {name!r} signs no more", "Try again")
