"""Orders (RFC 8555 §7.4): asked for, listed, finalized, fetched."""

from __future__ import annotations

import json

from pkiconf.acme.accounts import account_actor
from pkiconf.acme.authorizations import Authorizations
from pkiconf.acme.authorizations import view as view_authorization
from pkiconf.acme.chains import Chains, certificate_chain
from pkiconf.acme.context import AccountTerms, Issuing, check_issuable
from pkiconf.acme.finalize import Finalization
from pkiconf.acme.limits import check_order_limits
from pkiconf.acme.names import make_name
from pkiconf.acme.order_view import get_own, view
from pkiconf.acme.replacement import check_replaces
from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.acme import (
    Account,
    ACMEProblem,
    Authorization,
    CertificateChain,
    Order,
    OrderStatus,
    OrderWish,
    ProblemType,
)
from pkiconf.policy.acme.identifiers import MOST_IDENTIFIERS, check_none
from pkiconf.policy.acme.terms import check_active, check_within, choose_profile
from pkiconf.policy.acme.validity import check_times
from pkiconf.policy.authorization import Action, check_may
from pkiconf.steps import Step
from pkiconf.store import acme_authorizations, acme_orders
from pkiconf.store.acme_authorizations import AuthorizationRow
from pkiconf.store.acme_orders import NewOrder
from pkiconf.store.database import Connection


class Orders:
    """What takes an account is that account's: another one's order is 403 `unauthorized`, an unknown one 404
    `malformed`. `find` and `list` are for operators."""

    def __init__(self, parts: Parts, pipeline: Pipeline, authorizations: Authorizations, terms: AccountTerms) -> None:
        self._parts = parts
        self._authorizations = authorizations
        self._terms = terms
        self._chains = Chains()
        self._finalization = Finalization(parts, pipeline, terms)

    def create(self, account: Account, wish: OrderWish) -> Order:
        """A new order; born `ready` when everything is pre-approved or proved already. One commit.

        Raises ACMEProblem: `rejectedIdentifier`, `malformed`, `invalidProfile`, `rateLimited`, `alreadyReplaced`
        (409), `unauthorized` (retired policy, template or authority; an account that has ended).
        """
        if not 0 < len(wish.identifiers) <= MOST_IDENTIFIERS:
            raise ACMEProblem(ProblemType.MALFORMED, f"an order has 1 to {MOST_IDENTIFIERS} identifiers")
        actor, now = account_actor(account), to_epoch(self._parts.now())
        name = make_name(self._parts.entropy, now)
        address = f"acme-order/{name}"
        check_may(actor, Action.ACME_ORDER_CREATE, address)
        identifiers = [str(identifier) for identifier in wish.identifiers]
        identifiers_text = json.dumps(identifiers, separators=(",", ":"))

        def write(c: Connection) -> Order:
            terms = self._terms.of(c, account)
            check_active(terms)
            profile = choose_profile(terms, wish.profile)
            check_none(check_within(terms, wish.identifiers))
            issuing = self._terms.issuing(c, terms, profile)
            self._check_issuable(issuing, wish, now)
            check_order_limits(c, terms, account, wish.identifiers, now)
            if wish.replaces is not None:
                check_replaces(c, account, wish.replaces, wish.identifiers, now)
            obtained: dict[int, AuthorizationRow] = {}
            for identifier in wish.identifiers:
                row, _ = self._authorizations.obtain(c, account, terms, identifier, now)
                obtained[row.id] = row
            ready = all(row.status == "valid" for row in obtained.values())
            new = NewOrder(
                name=name,
                account_id=account.id,
                template_id=issuing.template_id,
                status=OrderStatus.READY.value if ready else OrderStatus.PENDING.value,
                identifiers=identifiers_text,
                profile=profile,
                not_before=wish.not_before,
                not_after=wish.not_after,
                replaces=wish.replaces,
                created_at=now,
                # No longer than its shortest proof: what could not be finalized any more need not be waited for.
                expires_at=min(now + terms.order_lifetime, *(row.expires_at for row in obtained.values())),
            )
            acme_orders.add(c, new, list(obtained))
            details = {"account": account.name, "identifiers": identifiers, "profile": profile, "status": new.status}
            self._parts.record(c, actor, Action.ACME_ORDER_CREATE, address, details)
            return Order(
                name=name,
                account_id=account.id,
                status=OrderStatus(new.status),
                identifiers=wish.identifiers,
                authorizations=tuple(row.name for row in obtained.values()),
                profile=profile,
                expires_at=new.expires_at,
                not_before=wish.not_before,
                not_after=wish.not_after,
                replaces=wish.replaces,
            )

        return self._parts.db.write(Step.ACME_ORDER_CREATE, write)

    def _check_issuable(self, issuing: Issuing, wish: OrderWish, now: int) -> None:
        """What could not be issued anyway is said before anything is proved for it."""
        check_none(check_issuable(issuing, wish.identifiers))
        check_times(issuing.context.template.spec, issuing.context.facts, wish.not_before, wish.not_after, now)

    def get(self, account: Account, name: str) -> Order:
        row = self._parts.db.look(lambda c: acme_orders.find(c, name))
        return view(get_own(row, account), to_epoch(self._parts.now()))

    def find(self, name: str) -> tuple[Order, tuple[Authorization, ...]] | None:
        """Any account's order with its authorizations, for an operator who asks why it failed."""
        now = to_epoch(self._parts.now())

        def read(c: Connection) -> tuple[Order, tuple[Authorization, ...]] | None:
            row = acme_orders.find(c, name)
            if row is None:
                return None
            return view(row, now), tuple(
                view_authorization(one, now) for one in acme_authorizations.list_of_order(c, row.id)
            )

        return self._parts.db.read(read)

    def list(self, account: Account | None = None, limit: int = 100) -> list[Order]:
        """Newest first; of one account, or of all."""
        now = to_epoch(self._parts.now())
        rows = self._parts.db.look(lambda c: acme_orders.list_orders(c, account.id if account else None, limit))
        return [view(row, now) for row in rows]

    def page(self, account: Account, after: int, size: int) -> tuple[tuple[str, ...], int | None]:
        """Names of the account's orders that are not invalid (§7.1.2.1), oldest first, and the cursor of the next
        page."""
        now = to_epoch(self._parts.now())
        found = self._parts.db.look(lambda c: acme_orders.page(c, account.id, after, size + 1, now))
        names = tuple(name for _, name in found[:size])
        return names, found[size - 1][0] if len(found) > size else None

    def finalize(self, account: Account, name: str, csr: bytes) -> Order:
        """Issue over the CSR (DER). `valid` at once when the key answers at once; asked again with the same key, the
        same order. Raises ACMEProblem `orderNotReady` (403), `badCSR`, `rejectedIdentifier`, `unauthorized` (retired
        policy, template or authority) and `rateLimited`; after any of them the order is as it was."""
        return self._finalization.finalize(account, name, csr)

    def certificate(self, account: Account, name: str, alternate: int = 0) -> CertificateChain:
        """§7.4.2. Raises ACMEProblem 404 where there is none (yet)."""
        now = to_epoch(self._parts.now())

        def read(c: Connection) -> CertificateChain:
            row = get_own(acme_orders.find(c, name), account)
            return certificate_chain(c, self._chains, row, alternate, now)

        return self._parts.db.read(read)
