"""Accounts (RFC 8555 §7.3): registered once for a key, tied to their policy for ever."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from pkiconf.acme.context import check_status, unauthorized
from pkiconf.acme.names import make_name
from pkiconf.acme.registration import Registration, check_open, policy_for, take_place
from pkiconf.acme.settle import end_account
from pkiconf.clock import to_epoch
from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import (
    Account,
    AccountKey,
    AccountStatus,
    ACMEProblem,
    AuthorizationStatus,
    Problem,
    ProblemType,
)
from pkiconf.model.actor import Actor
from pkiconf.policy.acme.contacts import check_contacts
from pkiconf.policy.authorization import Action, check_may
from pkiconf.steps import Step
from pkiconf.store import acme_accounts, acme_policies
from pkiconf.store.acme_accounts import AccountRow
from pkiconf.store.database import Connection

__all__ = ["Accounts", "Registration", "account_actor", "check_valid"]


def account_actor(account: Account) -> Actor:
    """Who acts when an account does; proved by its signature."""
    return Actor("acme", account.name, "jws")


class Accounts:
    """`find_…` give deactivated and revoked accounts too: whoever lets a client act calls `check_valid`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def find(self, name: str) -> Account | None:
        row = self._parts.db.look(lambda c: acme_accounts.find(c, name))
        return None if row is None else _account(row)

    def find_by_key(self, thumbprint: str) -> Account | None:
        row = self._parts.db.look(lambda c: acme_accounts.find_by_thumbprint(c, thumbprint))
        return None if row is None else _account(row)

    def register(self, wish: Registration) -> tuple[Account, bool]:
        """The account of the key, and whether it is new. A known key gets its account back and nothing of the wish is
        taken over (§7.3.1), unless it presents another policy's binding, which is said (`unauthorized`).

        Raises ACMEProblem: `externalAccountRequired`, `userActionRequired` (terms), `invalidContact`,
        `unsupportedContact`, `unauthorized` (no place left in the binding, retired policy, deactivated account).
        """
        known = self.find_by_key(wish.key.thumbprint)
        if known is not None:
            return _known(known, wish), False
        policy = self._parts.db.read(lambda c: policy_for(c, wish))
        self._check_terms(wish.terms_agreed)
        contacts = check_contacts(wish.contacts)
        now = to_epoch(self._parts.now())
        new = acme_accounts.NewAccount(
            name=make_name(self._parts.entropy, now),
            policy_id=policy.id,
            binding_id=wish.binding.id if wish.binding else None,
            thumbprint=wish.key.thumbprint,
            jwk=wish.key.jwk,
            contacts=_json(contacts),
            terms_agreed_at=now if wish.terms_agreed else None,
            created_at=now,
            created_from=wish.client,
        )
        actor = Actor("acme", new.name, "jws")
        address = _address(new.name)
        check_may(actor, Action.ACME_ACCOUNT_CREATE, address)

        def write(c: Connection) -> AccountRow | None:
            check_open(c, new.policy_id)
            if acme_accounts.add(c, new) is None:
                return None
            details: dict[str, object] = {"policy": policy.name, "client": wish.client, "thumbprint": new.thumbprint}
            if wish.binding is not None:
                take_place(c, wish.binding.id)
                details["eab"] = wish.binding.key_id
            self._parts.record(c, actor, Action.ACME_ACCOUNT_CREATE, address, details)
            return acme_accounts.find(c, new.name)

        row = self._parts.db.write(Step.ACME_ACCOUNT_WRITE, write)
        if row is not None:
            return _account(row), True
        known = self.find_by_key(wish.key.thumbprint)  # another request with the same key was first
        if known is None:
            raise Conflict("the account's key was changed while it registered", "Try again")
        return _known(known, wish), False

    def update(self, account: Account, *, contacts: Sequence[str] | None, terms_agreed: bool | None) -> Account:
        """§7.3.2. What is None stays. Raises ACMEProblem `invalidContact`, `unsupportedContact`, `userActionRequired`
        (agreement to terms is not taken back), `unauthorized` (deactivated)."""
        if terms_agreed is not None:
            self._check_terms(terms_agreed)
        checked = None if contacts is None else check_contacts(contacts)
        actor, address = account_actor(account), _address(account.name)
        check_may(actor, Action.ACME_ACCOUNT_UPDATE, address)
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> AccountRow:
            row = acme_accounts.lock(c, account.id)
            check_status(row.status)
            agreed = now if terms_agreed else row.terms_agreed_at
            text = row.contacts if checked is None else _json(checked)
            acme_accounts.update(c, row.id, contacts=text, terms_agreed_at=agreed)
            changed = [name for name, value in (("contacts", contacts), ("terms", terms_agreed)) if value is not None]
            self._parts.record(c, actor, Action.ACME_ACCOUNT_UPDATE, address, {"changed": changed})
            return acme_accounts.lock(c, row.id)

        return _account(self._parts.db.write(Step.ACME_ACCOUNT_WRITE, write))

    def deactivate(self, account: Account, actor: Actor) -> Account:
        """§7.3.6; by its holder, or (`revoked`) by an operator. Its pending orders and authorizations end with it.
        One that has ended stays as it is."""
        address = _address(account.name)
        check_may(actor, Action.ACME_ACCOUNT_DEACTIVATE, address)
        own = actor.kind == "acme"
        if own and actor != account_actor(account):
            raise Refused(f"{actor} may not deactivate {address}")
        status = AccountStatus.DEACTIVATED if own else AccountStatus.REVOKED
        ended = AuthorizationStatus.DEACTIVATED if own else AuthorizationStatus.REVOKED
        why = Problem(ProblemType.UNAUTHORIZED, f"the account was {status}")

        def write(c: Connection) -> AccountRow:
            if acme_accounts.end(c, account.id, status):
                end_account(c, account.id, ended, why)
                self._parts.record(c, actor, Action.ACME_ACCOUNT_DEACTIVATE, address, {"status": status})
            return acme_accounts.lock(c, account.id)

        return _account(self._parts.db.write(Step.ACME_ACCOUNT_WRITE, write))

    def change_key(self, account: Account, new: AccountKey) -> Account:
        """§7.3.5. Raises ACMEProblem 409 with the account's name as `location` when an account has the key already,
        `unauthorized` when the account has ended or its key was changed meanwhile."""
        actor, address = account_actor(account), _address(account.name)
        check_may(actor, Action.ACME_ACCOUNT_UPDATE, address)
        details = {"changed": ["key"], "from": account.thumbprint, "to": new.thumbprint}

        def write(c: Connection) -> AccountRow:
            holder = acme_accounts.find_by_thumbprint(c, new.thumbprint)
            if holder is not None:
                raise _key_in_use(holder.name)
            if not acme_accounts.set_key(c, account.id, account.thumbprint, new.thumbprint, new.jwk):
                check_status(acme_accounts.lock(c, account.id).status)
                raise unauthorized("the account has another key by now; sign with that one")
            self._parts.record(c, actor, Action.ACME_ACCOUNT_UPDATE, address, details)
            return acme_accounts.lock(c, account.id)

        try:
            return _account(self._parts.db.write(Step.ACME_ACCOUNT_WRITE, write))
        except Conflict:
            holder = self.find_by_key(new.thumbprint)  # another account took the key in the same moment
            if holder is None:
                raise
            raise _key_in_use(holder.name) from None

    def list(self, policy: str | None = None) -> list[Account]:
        """Newest first; of one policy, by its name. Raises NotFound for a policy that does not exist."""

        def read(c: Connection) -> list[AccountRow]:
            if policy is None:
                return acme_accounts.list_accounts(c)
            row = acme_policies.find_policy(c, policy)
            if row is None:
                known = ", ".join(other.name for other in acme_policies.list_policies(c)) or "none yet"
                raise NotFound(f"there is no ACME policy {policy!r}", f"Known policies: {known}")
            return acme_accounts.list_accounts(c, row.id)

        return [_account(row) for row in self._parts.db.read(read)]

    def _check_terms(self, agreed: bool) -> None:
        url = self._parts.db.look(load_settings).acme.terms_of_service
        if url is not None and not agreed:
            raise ACMEProblem(
                ProblemType.USER_ACTION_REQUIRED,
                f"agree to the terms of service at {url} (termsOfServiceAgreed: true)",
                links=(("terms-of-service", url),),
            )


def check_valid(account: Account) -> None:
    """Raise ACMEProblem 401 `unauthorized` for a deactivated or revoked account (§7.3.6)."""
    check_status(account.status)


def _known(account: Account, wish: Registration) -> Account:
    check_valid(account)
    if wish.binding is not None and wish.binding.policy_id != account.policy_id:
        raise unauthorized(
            "this key has an account already, which belongs to another policy than the binding; an account stays with "
            "its policy: register with a new key"
        )
    return account


def _key_in_use(name: str) -> ACMEProblem:
    return ACMEProblem(
        ProblemType.MALFORMED, "an account with the new key exists already; choose a new key", status=409, location=name
    )


def _address(name: str) -> str:
    return f"acme-account/{name}"


def _json(contacts: Sequence[str]) -> str:
    return json.dumps(list(contacts), separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=1024)
def _account(row: AccountRow) -> Account:
    """Made once for as long as the row says the same: every request asks for one."""
    return Account(
        id=row.id,
        name=row.name,
        policy_id=row.policy_id,
        binding_id=row.binding_id,
        thumbprint=row.thumbprint,
        jwk=row.jwk,
        status=AccountStatus(row.status),
        contacts=tuple(json.loads(row.contacts)),
        terms_agreed_at=row.terms_agreed_at,
        created_at=row.created_at,
    )
