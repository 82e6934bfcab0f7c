"""Everything of ACME in one frozen value, for endpoints, worker and command line."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.acme.accounts import Accounts
from pkiconf.acme.authorizations import Authorizations
from pkiconf.acme.bindings import Bindings
from pkiconf.acme.context import AccountTerms
from pkiconf.acme.nonces import Nonces
from pkiconf.acme.orders import Orders
from pkiconf.acme.policies import Policies
from pkiconf.acme.renewals import Renewals
from pkiconf.acme.revocations import ACMERevocations
from pkiconf.acme.validation import Validations
from pkiconf.acme.waiting import Waiting
from pkiconf.egress.network import Network
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.revocation.revoke import Revocations
from pkiconf.store.nonces import open_ledger
from pkiconf.store.redemptions import read_boot_id
from pkiconf.wake import Call


@dataclass(frozen=True)
class ACME:
    policies: Policies
    bindings: Bindings
    accounts: Accounts
    orders: Orders
    authorizations: Authorizations
    validations: Validations
    revocations: ACMERevocations
    renewals: Renewals
    nonces: Nonces


def make_acme(
    parts: Parts, pipeline: Pipeline, revocations: Revocations, network: Network, waiting_places: int
) -> ACME:
    terms = AccountTerms()
    authorizations = Authorizations(parts, terms, Waiting(waiting_places, lambda: Call(parts.state)))
    return ACME(
        policies=Policies(parts),
        bindings=Bindings(parts),
        accounts=Accounts(parts),
        orders=Orders(parts, pipeline, authorizations, terms),
        authorizations=authorizations,
        validations=Validations(parts, network),
        revocations=ACMERevocations(parts, revocations, terms),
        renewals=Renewals(parts),
        nonces=Nonces(parts, open_ledger(parts.db, read_boot_id())),
    )
