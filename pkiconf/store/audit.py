"""The audit log: what was done, by whom, proved how, recorded in the transaction of the act itself.

A record's body is canonical JSON, {"action", "actor", "address", "at", "details", "proved_by"}, authenticated with
HMAC-SHA256. Its place in the log is fixed later, by the sealer, which puts committed records into a Merkle tree:
a chain inside the act's transaction would make every act wait for every other.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import Connection

from pkiconf.clock import to_epoch
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.store.prepared import adding
from pkiconf.store.tables import audit_event, audit_leaf

MAC_NAME: Final = "audit-mac"  # names of rows of sealed_secret
CHECKPOINT_NAME: Final = "audit-checkpoint"
_MAC_KEY_SIZE: Final = 32
_EVENT: Final = b"pkiconf audit event 1\n"

canonical: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, allow_nan=False
).encode

_INSERT: Final = adding(audit_event)


@dataclass(frozen=True, slots=True)
class AuditEventRow:
    """`index` is the record's place in the tree; None until the sealer has put it there. `at` is epoch seconds."""

    id: int
    at: int
    body: str
    mac: bytes
    index: int | None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body's members; a body that is no JSON object (edited by hand) has none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class AuditLog:
    """Writes records and knows a genuine one. `mac_key` is the sealed secret `audit-mac`, 32 octets or more."""

    def __init__(self, mac_key: Secret) -> None:
        if len(mac_key.reveal()) < _MAC_KEY_SIZE:
            raise ValueError(f"the audit MAC key has fewer than {_MAC_KEY_SIZE} octets")
        # Keyed once: OpenSSL looks for its HMAC anew for every key, which costs more than a record's octets.
        self._keyed = hmac.new(mac_key.reveal(), digestmod="sha256")

    def record(
        self, c: Connection, at: datetime, actor: Actor, action: str, address: str, details: Mapping[str, Any]
    ) -> int:
        """Write a record in the transaction of `c`, and return its id.

        `action` is `thing.verb`, `address` what it was done to; `details` holds JSON values and never a secret.
        """
        epoch = to_epoch(at)
        body = canonical(
            {
                "action": action,
                "actor": f"{actor.kind}:{actor.id}",
                "address": address,
                "at": epoch,
                "details": details,
                "proved_by": actor.proved_by,
            }
        )
        return _INSERT.added(c, {"at": epoch, "body": body, "mac": self.mac(_EVENT, body.encode())})

    def is_genuine(self, event: AuditEventRow) -> bool:
        """Whether the body is one that this log wrote, at the time its row says."""
        expected = self.mac(_EVENT, event.body.encode("utf-8", "surrogatepass"))
        return hmac.compare_digest(expected, event.mac) and event.fields.get("at") == event.at

    def mac(self, purpose: bytes, content: bytes) -> bytes:
        """HMAC-SHA256 over `purpose`, which ends in a newline, and `content`."""
        keyed = self._keyed.copy()
        keyed.update(purpose + content)
        return keyed.digest()


def leaf_content(event: AuditEventRow) -> bytes:
    """What a leaf of the tree is the hash of: id (8 octets, big-endian) ‖ MAC ‖ body."""
    return event.id.to_bytes(8, "big") + event.mac + event.body.encode("utf-8", "surrogatepass")


def list_events(
    c: Connection, *, after: int = 0, limit: int = 100, action: str | None = None, address: str | None = None,
    since: datetime | None = None, until: datetime | None = None, newest: bool = False,
) -> list[AuditEventRow]:  # fmt: skip
    """Records with ids above `after`, oldest first, at most `limit`: the first of them, or with `newest` the last.

    `action` and `address` are exact, or begin with what stands before a final `*`; `until` is excluded.
    """
    query = (
        select(audit_event.c.id, audit_event.c.at, audit_event.c.body, audit_event.c.mac, audit_leaf.c.index)
        .select_from(audit_event.outerjoin(audit_leaf, audit_leaf.c.event_id == audit_event.c.id))
        .where(audit_event.c.id > after)
        .order_by(audit_event.c.id.desc() if newest else audit_event.c.id)
    )
    if since is not None:
        query = query.where(audit_event.c.at >= to_epoch(since))
    if until is not None:
        query = query.where(audit_event.c.at < to_epoch(until))
    found: list[AuditEventRow] = []
    if action is None and address is None:
        query = query.limit(limit)
    with c.execute(query) as rows:
        for row in rows:
            event = AuditEventRow(*row)
            fields = event.fields
            if _fits(fields.get("action"), action) and _fits(fields.get("address"), address):
                found.append(event)
                if len(found) == limit:
                    break
    return found[::-1] if newest else found


def _fits(value: object, wish: str | None) -> bool:
    if wish is None:
        return True
    return isinstance(value, str) and (value.startswith(wish[:-1]) if wish.endswith("*") else value == wish)
