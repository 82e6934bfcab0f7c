"""PKCSReq and RenewalReq (RFC 8894 §3.3.1): from a message that was opened to a certificate, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.keys import is_same_key
from pkiconf.der.names import general_name_text, name_text
from pkiconf.errors import Conflict, PkiconfError
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import ORIGIN as REQUEST_ORIGIN
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Outcome, Pending, Rejected, RequestState, Wanted
from pkiconf.model.scep import FailInfo, MessageType, NotProved, Proof, ProofMethod, SCEPFailure, SCEPRequest
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.overrides import apply_overrides
from pkiconf.policy.scep import unvouched_refusal
from pkiconf.policy.serials import serial_bytes
from pkiconf.scep.actor import device_actor
from pkiconf.scep.asked import check_signer, follows, read_request
from pkiconf.scep.envelope import Opened
from pkiconf.scep.followup import Followup
from pkiconf.scep.origin import ORIGIN, origin_id
from pkiconf.scep.places import Place
from pkiconf.scep.proofs import Proofs
from pkiconf.scep.renewals import Presented, Renewals, renewed
from pkiconf.scep.transactions import Question, Transactions, Waiting, check_same
from pkiconf.steps import Step
from pkiconf.store import requests, scep_transactions
from pkiconf.store.database import Connection
from pkiconf.store.scep_secrets import Replaced
from pkiconf.store.scep_transactions import NewTransaction, TransactionRow

MOST_WAITING: Final = 1000
"""How many requests of one template may wait for a person: more than anybody looks through."""

_TRIES: Final = 3


class _Used(Conflict):
    """The proof was good for once, and another request was faster."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A request that may have a certificate: the attempt it makes under its id, and all that its row will say."""

    place: Place
    request: SCEPRequest
    question: Question
    number: int
    proof: Proof
    wanted: Wanted


class Enrolment:
    def __init__(
        self,
        parts: Parts,
        pipeline: Pipeline,
        transactions: Transactions,
        renewals: Renewals,
        proofs: Proofs,
        followups: Mapping[str, Followup],
    ) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._transactions = transactions
        self._renewals = renewals
        self._proofs = proofs
        self._followups = followups

    def enrol(self, place: Place, opened: Opened, client_address: str) -> Issued | Waiting:
        """Raises SCEPFailure; Unavailable."""
        wanted, challenge = read_request(place, opened)
        presented = self._renewals.find_presented(place, opened.signer)
        is_renewal = opened.message.message_type == MessageType.RENEWAL_REQ
        check_signer(opened, wanted, presented, is_renewal=is_renewal)
        request = SCEPRequest(
            template_id=place.template_id,
            authority_id=place.stamp.authority_id,
            transaction_id=opened.message.transaction_id,
            wanted=wanted,
            challenge=challenge,
            signer_certificate=opened.signer.der,
            is_renewal=is_renewal,
            client_address=client_address,
            received_at=self._parts.now(),
        )
        for _ in range(_TRIES):
            try:
                return self._answer(place, request, presented)
            except _Used as ex:
                raise NotProved(ex.detail) from None
            except Replaced:
                self._proofs.look_again(place.terms)
            except Conflict:
                continue  # the same transaction was begun meanwhile, or another key signs now: look again
        raise SCEPFailure(FailInfo.BAD_REQUEST, "the service is being changed", "Try again")

    def deliver(self, row: TransactionRow, request: SCEPRequest | None, issued: Issued) -> Issued:
        """After whoever has to be told before was told; `request` is None for who only asks what became of it. Raises
        SCEPFailure."""
        self._tell(row.after_issue, request, issued)
        return issued

    def _answer(self, place: Place, request: SCEPRequest, presented: Presented | None) -> Issued | Waiting:
        signer_spki = presented.certificate.spki if presented is not None else request.wanted.spki
        question = Question.of(request.transaction_id, request.csr, signer_spki)
        counted = self._proofs.tries.counted(place.terms, request.client_address)
        failures, row = self._transactions.find_and_tries(place, request.transaction_id, counted)
        number = 1
        if row is not None:
            number = row.attempt + 1
            if not self._transactions.is_over(row) and not follows(row, question, presented):
                check_same(row, question)
                outcome = self._transactions.outcome(row)
                return self.deliver(row, request, outcome) if isinstance(outcome, Issued) else outcome
            request = replace(request, attempt=number)
        proof = self._prove(place, request, presented, failures)
        is_renewed = presented is not None and proof.method is ProofMethod.RENEWAL
        try:
            _check_vouched_for(place, request, proof)
            wanted = renewed(presented, request.wanted) if presented and is_renewed else apply_overrides(request.wanted)
            attempt = _Attempt(place, request, question, number, proof, wanted)
            if proof.method is ProofMethod.APPROVAL or (
                place.spec.approval and not is_renewed and not proof.request_id
            ):
                return self._wait_for_approval(attempt)
            return self._issue(attempt)
        except PkiconfError:
            self._proofs.confirm(proof)  # why it is refused is for nobody who has an old passphrase
            raise

    def _prove(self, place: Place, request: SCEPRequest, presented: Presented | None, failures: int) -> Proof:
        """By the certificate where one of ours was presented; where Intune decides, its challenge comes first, and what
        it let in it has to let in again. Who may not renew may still be let in like anybody else, but not with a
        message that says it is a renewal, and not for another key. Where Intune is asked about another key, the
        certificate that signed has to be good all the same."""
        asks_intune = place.spec.intune is not None and request.challenge
        is_intunes = presented is not None and self._renewals.is_intunes(place, presented)
        if presented is not None and not is_intunes and (request.is_renewal or not asks_intune):
            try:
                return self._renewals.check(place, presented, request.wanted)
            except SCEPFailure:
                is_own_key = is_same_key(request.wanted.spki, presented.certificate.spki)
                if request.is_renewal or not request.challenge or not is_own_key:
                    raise
        if presented is not None:
            self._renewals.check_vouches(place, presented, request.wanted)
        return self._proofs.check(request, place.terms, failures)

    def _issue(self, attempt: _Attempt) -> Issued | Waiting:
        place, request, proof = attempt.place, attempt.request, attempt.proof
        actor = device_actor(place, proof.method)
        check_may(actor, Action.SCEP_ENROL, place.address)
        claimed = proof.request_id
        mine = origin_id(place.template_id, request.transaction_id, attempt.number, request.csr)
        order = IssuanceOrder(
            issuer_id=place.issuer_id,
            template_id=place.template_id,
            wanted=attempt.wanted,
            origin_kind=ORIGIN if claimed is None else REQUEST_ORIGIN,
            origin_id=mine if claimed is None else str(claimed),
            address=place.address,
            actor=actor,
            reserved=self._reservation(attempt),
        )
        try:
            outcome = self._pipeline.issue(order)
        except PkiconfError as ex:
            if not isinstance(ex, Conflict):
                self._tell_refused(proof.after_issue, request, str(ex))
            raise
        return self._concluded(attempt, outcome)

    def _concluded(self, attempt: _Attempt, outcome: Outcome) -> Issued | Waiting:
        proof, request = attempt.proof, attempt.request
        match outcome:
            case Issued() as issued:
                if request.wanted.spki not in issued.der:
                    raise _Used("what was approved has been claimed by another request")
                self._tell(proof.after_issue, request, issued)
                return issued
            case Pending():
                return Waiting()
            case Rejected(reason):
                self._tell_refused(proof.after_issue, request, reason)
                raise SCEPFailure(FailInfo.BAD_REQUEST, reason)

    def _tell_refused(self, after_issue: str | None, request: SCEPRequest, why: str) -> None:
        if after_issue is not None:
            self._followups[after_issue].refused(request, why)

    def _tell(self, after_issue: str | None, request: SCEPRequest | None, issued: Issued) -> None:
        if after_issue is None:
            return
        try:
            self._followups[after_issue].issued(request, issued)
        except SCEPFailure:
            raise
        except PkiconfError as ex:
            raise SCEPFailure(
                FailInfo.BAD_REQUEST, "the certificate was issued but cannot be handed out", "Try again", reason=str(ex)
            ) from None

    def _reservation(self, attempt: _Attempt) -> Callable[[Connection, CertificateID], None]:
        """What is written in the transaction that reserves the certificate. Raises _Used, and Conflict when the same
        transaction was begun meanwhile."""

        def write(c: Connection, certificate: CertificateID) -> None:
            serial = serial_bytes(certificate.serial_number)
            self._record(c, attempt, attempt.proof.request_id, certificate.issuer_id, serial)
            if attempt.proof.request_id is not None:
                requests.move(
                    c, attempt.proof.request_id, RequestState.APPROVED, RequestState.APPROVED,
                    issuer_id=certificate.issuer_id, serial=serial, csr=attempt.request.csr,
                )  # fmt: skip

        return write

    def _wait_for_approval(self, attempt: _Attempt) -> Waiting:
        """Record the request, as one that was submitted by hand would be. Raises SCEPFailure when too many wait."""
        place, request = attempt.place, attempt.request
        actor = device_actor(place, attempt.proof.method)
        check_may(actor, Action.REQUEST_SUBMIT, place.address)
        new = requests.NewRequest(
            template_id=place.template_id,
            csr=request.csr,
            subject=name_text(request.subject),
            names=json.dumps([general_name_text(name) for name in request.sans], separators=(",", ":")),
            submitted_at=to_epoch(self._parts.now()),
            submitted_by=f"{actor} ({request.client_address or 'unknown address'})",
        )

        def write(c: Connection) -> None:
            if scep_transactions.count_waiting(c, place.template_id, MOST_WAITING) >= MOST_WAITING:
                raise SCEPFailure(FailInfo.BAD_REQUEST, "too many requests wait for a person", "Try again later")
            number = requests.add(c, new)
            self._record(c, attempt, number, None, None)
            self._parts.record(c, actor, Action.REQUEST_SUBMIT, f"request/{number}", {"template": place.address})

        self._parts.db.write(Step.REQUEST_SUBMIT, write)
        return Waiting()

    def _record(
        self, c: Connection, attempt: _Attempt, request_id: int | None, issuer_id: int | None, serial: bytes | None
    ) -> None:
        """The transaction, with what it consumes."""
        place, request, question, proof = attempt.place, attempt.request, attempt.question, attempt.proof
        scep_transactions.add(
            c,
            NewTransaction(
                template_id=place.template_id,
                transaction_id=request.transaction_id,
                attempt=attempt.number,
                csr_sha256=question.csr_sha256,
                signer_spki_sha256=question.signer_sha256,
                method=proof.method.value,
                created_at=to_epoch(self._parts.now()),
                request_id=request_id,
                issuer_id=issuer_id,
                serial=serial,
                after_issue=proof.after_issue,
                csr=request.csr if proof.after_issue is not None else None,
            ),
        )
        if proof.consume is not None:
            try:
                proof.consume(c)
            except Replaced:
                raise
            except Conflict as ex:
                raise _Used(ex.detail, ex.hint) from None
        details = {"transaction": request.transaction_id, "proof": proof.detail, "client": request.client_address}
        self._parts.record(c, device_actor(place, proof.method), Action.SCEP_ENROL, place.address, details)


def _check_vouched_for(place: Place, request: SCEPRequest, proof: Proof) -> None:
    """Raise NotProved for alternative names of which somebody but the client has to say that they are its own."""
    if proof.method in (ProofMethod.INTUNE, ProofMethod.APPROVAL, ProofMethod.RENEWAL) or place.spec.approval:
        return
    if proof.allowed is not None and proof.allowed.sans is not None:
        return
    allow = place.template.names.allow
    wrong = unvouched_refusal(request.sans, allow.othername if allow is not None else None)
    if wrong:
        raise NotProved(wrong)
