"""Accounts (RFC 8555 §7.3): registered once for a key, tied to their policy for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkiconf.acme.bindings import OpenBinding
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import Account, AccountKey
from pkiconf.model.actor import Actor


@dataclass(frozen=True, slots=True)
class Registration:
    """What newAccount wishes. `binding` was opened and its MAC checked; `policy` is the slug of the directory that was
    used, None at the common one. `client` is the address it came from."""

    key: AccountKey
    contacts: tuple[str, ...]
    terms_agreed: bool
    client: str
    binding: OpenBinding | None = None
    policy: str | None = None


def account_actor(account: Account) -> Actor:
    """Who acts when an account does; proved by its signature."""
    return Actor("acme", account.name, "jws")


class Accounts:
    """`find_…` give deactivated and revoked accounts too: whoever lets a client act calls `check_valid`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def find(self, name: str) -> Account | None:
        raise NotImplementedError

    def find_by_key(self, thumbprint: str) -> Account | None:
        raise NotImplementedError

    def register(self, wish: Registration) -> tuple[Account, bool]:
        """The account of the key, and whether it is new. A known key gets its account back and nothing of the wish is
        taken over (§7.3.1), unless it presents another policy's binding, which is said (`unauthorized`).

        Raises ACMEProblem: `externalAccountRequired`, `userActionRequired` (terms), `invalidContact`,
        `unsupportedContact`, `unauthorized` (no place left in the binding, deactivated account).
        """
        raise NotImplementedError

    def update(self, account: Account, *, contacts: Sequence[str] | None, terms_agreed: bool | None) -> Account:
        """§7.3.2."""
        raise NotImplementedError

    def deactivate(self, account: Account, actor: Actor) -> Account:
        """§7.3.6; by its holder, or (`revoked`) by an operator. Its pending orders and authorizations end with it."""
        raise NotImplementedError

    def change_key(self, account: Account, new: AccountKey) -> Account:
        """§7.3.5. Raises ACMEProblem 409 with the account's name as `location` when another account has the key."""
        raise NotImplementedError

    def list(self, policy: str | None = None) -> list[Account]:
        """Newest first; of one policy, by its name."""
        raise NotImplementedError


def check_valid(account: Account) -> None:
    """Raise ACMEProblem 401 `unauthorized` for a deactivated or revoked account (§7.3.6)."""
    raise NotImplementedError
