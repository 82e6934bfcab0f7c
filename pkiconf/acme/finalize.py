"""Finalizing (RFC 8555 §7.4): from a ready order and a CSR to a certificate, once, whatever happens in between."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

from pkiconf.acme.accounts import account_actor
from pkiconf.acme.context import AccountTerms, Issuing, check_issuable, is_good, unauthorized
from pkiconf.acme.limits import count_certificate
from pkiconf.acme.order_view import get_own, identifiers_of, view
from pkiconf.acme.origin import ORIGIN
from pkiconf.acme.settle import identifier_of
from pkiconf.clock import to_epoch
from pkiconf.der.csr import parse_csr
from pkiconf.errors import Conflict, Malformed, NotFound, Refused, UnsupportedAlgorithm, Unverified
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.acme import Account, ACMEProblem, Identifier, Order, OrderStatus, ProblemType
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import CertificateRequest, Issued, Pending, Rejected
from pkiconf.policy.acme.csr import bad_csr, check_csr, wanted
from pkiconf.policy.acme.identifiers import check_none
from pkiconf.policy.acme.terms import Terms, check_active, check_within, choose_profile
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.serials import serial_bytes
from pkiconf.store import acme_authorizations, acme_orders
from pkiconf.store.acme_orders import OrderRow
from pkiconf.store.database import Connection

_ONLY_WITH_KEY = (
    "the order was finalized with a CSR for another key, and an order gives one certificate; make a new order"
)


class _Overtaken(Conflict):
    """What was foreseen is not what stands: read it."""


class _Moved(Conflict):
    """The order is not ready any more, or its account not valid: look at it again."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One order about to be issued: `row` and `issuing` as they were read, checked again where they are consumed."""

    account: Account
    row: OrderRow
    identifiers: tuple[Identifier, ...]
    request: CertificateRequest
    terms: Terms
    issuing: Issuing

    @property
    def key_digest(self) -> bytes:
        return hashlib.sha256(self.request.spki).digest()


class Finalization:
    def __init__(self, parts: Parts, pipeline: Pipeline, terms: AccountTerms) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._terms = terms

    def finalize(self, account: Account, name: str, csr: bytes) -> Order:
        """See `Orders.finalize`."""
        check_may(account_actor(account), Action.ACME_ORDER_FINALIZE, f"acme-order/{name}")
        row = get_own(self._parts.db.look(lambda c: acme_orders.find(c, name)), account)
        request = _parse(csr)
        served = self._served(row, request)
        if served is not None:
            return served
        try:
            return self._issue(account, row, request)
        except _Moved:
            return self._again(account, name, request)
        except (Conflict, NotFound):
            # The issuer that was chosen signs no more by now: another one does, or it is said that none does.
            return self._issue_as_it_stands(account, row, request)

    def _issue(self, account: Account, row: OrderRow, request: CertificateRequest) -> Order:
        foreseen = self._foresee(account, row, request)
        if foreseen is not None:
            order = self._try(foreseen)
            if not isinstance(order, Rejected):
                return order
        return self._issue_as_it_stands(account, row, request)

    def _issue_as_it_stands(self, account: Account, row: OrderRow, request: CertificateRequest) -> Order:
        order = self._try(self._parts.db.read(lambda c: self._prepare(c, account, row, request)))
        if isinstance(order, Rejected):
            raise bad_csr(f"{order.reason}; the order stays ready for another CSR")
        return order

    def _try(self, attempt: _Attempt) -> Order | Rejected:
        """Rejected before anything was recorded: the CSR is to blame, and another one may do better."""
        account, row, request = attempt.account, attempt.row, attempt.request
        reserved: list[CertificateID] = []
        order = IssuanceOrder(
            issuer_id=attempt.issuing.issuer_id,
            template_id=row.template_id,
            wanted=wanted(attempt.identifiers, request, row.not_before, row.not_after),
            origin_kind=ORIGIN,
            origin_id=row.name,
            address=f"acme-order/{row.name}",
            actor=account_actor(account),
            reserved=lambda c, certificate: self._reserve(c, attempt, certificate, reserved),
        )
        outcome = self._pipeline.issue(order)
        now = to_epoch(self._parts.now())
        match outcome:
            case Rejected():
                return self._ended(account, row.name) or outcome if reserved else outcome
            case Issued(id=certificate) if reserved and certificate == reserved[-1]:
                return replace(view(row, now), status=OrderStatus.VALID, has_certificate=True, error=None)
            case Pending(retry_after=seconds) if reserved:
                return replace(view(row, now), status=OrderStatus.PROCESSING, retry_after=seconds, error=None)
        return self._again(account, row.name, request)  # another request was first: what it got is what there is

    def _ended(self, account: Account, name: str) -> Order | None:
        """It was recorded, and then the key gave certainly nothing: that ended the order, which says so itself."""
        row = get_own(self._parts.db.look(lambda c: acme_orders.find(c, name)), account)
        return None if row.status == OrderStatus.READY else view(row, to_epoch(self._parts.now()))

    def _again(self, account: Account, name: str, request: CertificateRequest) -> Order:
        row = get_own(self._parts.db.look(lambda c: acme_orders.find(c, name)), account)
        served = self._served(row, request)
        if served is not None:
            return served
        # Still ready: then it was the account that has ended, which the next read says; or another process gave back.
        self._parts.db.read(lambda c: self._terms.of(c, account))
        raise Conflict(f"ACME order {name} changes while it is finalized", "Try again")

    def _served(self, row: OrderRow, request: CertificateRequest) -> Order | None:
        """What an order that was finalized before is now; None for one that is ready. Raises ACMEProblem
        `orderNotReady`."""
        order = view(row, to_epoch(self._parts.now()))
        match order.status:
            case OrderStatus.READY:
                return None
            case OrderStatus.PENDING:
                raise _not_ready("the order is pending: not all of its authorizations are valid yet")
            case OrderStatus.INVALID:
                why = f": {order.error.detail}" if order.error else ""
                raise _not_ready(f"the order is invalid{why}; make a new order")
        if row.spki_sha256 != hashlib.sha256(request.spki).digest():
            raise _not_ready(_ONLY_WITH_KEY)
        return order

    def _foresee(self, account: Account, row: OrderRow, request: CertificateRequest) -> _Attempt | None:
        """As it was for the last order, without looking. Nothing is refused by it."""
        kept = self._terms.foreseen(account, row.profile)
        if kept is None:
            return None
        with suppress(ACMEProblem):
            return _checked(account, row, request, *kept)
        return None

    def _prepare(self, c: Connection, account: Account, row: OrderRow, request: CertificateRequest) -> _Attempt:
        """As it stands. Raises ACMEProblem."""
        terms = self._terms.of(c, account)
        check_active(terms)
        return _checked(account, row, request, terms, self._terms.issuing(c, terms, choose_profile(terms, row.profile)))

    def _reserve(
        self, c: Connection, attempt: _Attempt, certificate: CertificateID, reserved: list[CertificateID]
    ) -> None:
        """Transaction 1: ready → processing. The order is moved first, which locks it; what is read after that stands
        until the commit. Raises _Moved, _Overtaken, and ACMEProblem where a proof or the policy has ended since."""
        row, now = attempt.row, to_epoch(self._parts.now())
        serial = serial_bytes(certificate.serial_number)
        if not acme_orders.reserve(c, row.id, certificate.issuer_id, serial, attempt.key_digest, now):
            raise _Moved(f"ACME order {row.name} is not ready any more")
        terms = self._terms.of(c, attempt.account)
        check_active(terms)
        issuing = self._terms.issuing(c, terms, choose_profile(terms, row.profile))
        if terms != attempt.terms or not issuing.is_as(attempt.issuing):
            raise _Overtaken(f"what ACME order {row.name} was prepared with has changed", "Try again")
        _check_proofs(c, terms, row, attempt.identifiers, now)
        count_certificate(c, terms, attempt.account, row.id, attempt.identifiers, now)
        reserved.append(certificate)


def _checked(account: Account, row: OrderRow, request: CertificateRequest, terms: Terms, issuing: Issuing) -> _Attempt:
    """What is worth saying before anything is made: that the policy still gives what was ordered, from the same
    template, by whichever key signs now. Proofs are looked at where the order is moved. Raises ACMEProblem."""
    identifiers = identifiers_of(row)
    check_csr(identifiers, request, account.jwk)
    check_active(terms)
    if issuing.template_id != row.template_id:
        raise ACMEProblem(
            ProblemType.INVALID_PROFILE,
            f"profile {row.profile!r} has another template than when the order was made; make a new order",
        )
    check_none(check_within(terms, identifiers))
    check_none(check_issuable(issuing, identifiers))
    return _Attempt(account, row, identifiers, request, terms, issuing)


def _check_proofs(c: Connection, terms: Terms, row: OrderRow, identifiers: tuple[Identifier, ...], now: int) -> None:
    """Raise ACMEProblem `unauthorized` unless every single identifier has an authorization of this order that is valid
    now, or is pre-approved now: one that was proved for another name, or only once, does not do."""
    proved = set()
    for authorization in acme_authorizations.list_of_order(c, row.id):
        if authorization.account_id == row.account_id and is_good(terms, authorization, now):
            proved.add(identifier_of(authorization))
    missing = [identifier.value for identifier in identifiers if identifier not in proved]
    if missing:
        raise unauthorized(f"the authorization for {', '.join(missing)} is not valid any more; make a new order")


def _parse(csr: bytes) -> CertificateRequest:
    try:
        return parse_csr(csr)
    except (Malformed, Unverified, UnsupportedAlgorithm, Refused) as ex:
        raise bad_csr(str(ex)) from None


def _not_ready(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.ORDER_NOT_READY, detail, status=403)
