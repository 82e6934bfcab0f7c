"""What validating a challenge needs to know, in one look; and how long what was proved may be relied on."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared


class ValidationRow(NamedTuple):
    """An authorization with its account and policy. `thumbprint` is that of the account's key now; `policy` the
    declaration's JSON, which changes with `policy_generation`; `accepted` a challenge type."""

    id: int
    name: str
    kind: str
    value: str
    wildcard: int
    status: str
    token: str
    accepted: str | None
    expires_at: int
    account: str
    account_status: str
    thumbprint: str
    policy_id: int
    policy_generation: int
    policy: str


_FIND = Prepared(
    text(
        "SELECT a.id, a.name, a.kind, a.value, a.wildcard, a.status, a.token, a.accepted, a.expires_at,"
        " o.name, o.status, o.thumbprint, p.id, p.generation, p.spec FROM acme_authorization a"
        " JOIN acme_account o ON o.id = a.account_id JOIN acme_policy p ON p.id = o.policy_id WHERE a.id = :id"
    ),
    ValidationRow,
)
_STATUS = Prepared(text("SELECT status FROM acme_authorization WHERE id = :id"))
_SHORTEN = Prepared(
    text(
        "UPDATE acme_authorization SET expires_at = :until WHERE id = :id AND status = 'valid' AND expires_at > :until"
    )
)


def find(c: Connection, authorization_id: int) -> ValidationRow | None:
    return _FIND.find(c, {"id": authorization_id})


def status_of(c: Connection, authorization_id: int) -> str:
    """Empty where there is no such authorization."""
    return str(_STATUS.scalar(c, {"id": authorization_id}) or "")


def shorten(c: Connection, authorization_id: int, until: int) -> None:
    """Let a valid one expire at `until` if it would expire later."""
    _SHORTEN.count(c, {"id": authorization_id, "until": until})
