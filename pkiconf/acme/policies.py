"""The declared life of ACME policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pkiconf.authority.declared import Guard, unguarded
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.store.acme_policies import PolicyRow


class Policies:
    """Every method takes the actor, and a guard that runs first in its transaction; `generation` is the row version
    the caller saw, and Conflict is raised when it has moved."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(self, name: str, spec: Mapping[str, Any], owner: str, actor: Actor, guard: Guard = unguarded) -> None:
        """A new policy; `spec` is whole and JSON-able. Raises Conflict when the name is taken or was destroyed,
        NotFound for a template that does not exist."""
        raise NotImplementedError

    def update(
        self,
        name: str,
        spec: Mapping[str, Any],
        owner: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        former_name: str | None = None,
    ) -> None:
        """Write a changed declaration, under another name if `former_name` is given; a retired policy comes back.
        The slug, and so its directory URL, stays."""
        raise NotImplementedError

    def retire(
        self,
        name: str,
        generation: int,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        deactivate_accounts: bool = False,
    ) -> None:
        """No account registers or orders with it from now on. Raises Refused, with a list, while valid accounts hang
        on it, unless these are to be deactivated too (D16)."""
        raise NotImplementedError

    def list(self) -> list[PolicyRow]:
        raise NotImplementedError

    def get(self, name: str) -> PolicyRow:
        """Raises NotFound with the known names."""
        raise NotImplementedError
