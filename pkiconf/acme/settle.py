"""What an ended validation means for its authorization and for every order that waits for it: one transaction."""

from __future__ import annotations

from pkiconf.model.acme import Problem
from pkiconf.store.database import Connection


def settle(c: Connection, authorization_id: int, problem: Problem | None, now: int) -> None:
    """The challenge held (None), or has failed for good: move the authorization, and its pending orders to `ready`
    when it was their last one, to `invalid` when it failed.

    Locks the orders, by id, before it looks at their other authorizations: two that end at once both see the other.
    An authorization that is not pending any more is left as it is.
    """
    raise NotImplementedError


def note_attempt(c: Connection, authorization_id: int, problem: Problem) -> None:
    """One attempt failed and another will follow: count it, and let the client see why."""
    raise NotImplementedError
