"""The edges that issuing, running authorities and revoking stand on, handed in as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pkiconf.clock import Clock, SystemTimepiece, Timepiece
from pkiconf.entropy import Entropy
from pkiconf.model.actor import Actor
from pkiconf.signing.keyring import Keyring
from pkiconf.store.audit import AuditLog
from pkiconf.store.database import Connection, Database


@dataclass(frozen=True)
class Parts:
    """`wake` tells the worker, after a commit, that a job is due; `state` is the state folder."""

    db: Database
    keyring: Keyring
    audit: AuditLog
    clock: Clock
    entropy: Entropy
    wake: Callable[[], None]
    state: Path
    timepiece: Timepiece = field(default_factory=SystemTimepiece)

    def now(self) -> datetime:
        return self.clock.now()

    def record(
        self, c: Connection, actor: Actor, action: str, address: str, details: Mapping[str, object] | None = None
    ) -> None:
        """Put an audit event into the transaction of the act it tells of."""
        self.audit.record(c, self.clock.now(), actor, action, address, details or {})
