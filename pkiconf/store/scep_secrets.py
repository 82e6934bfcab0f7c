"""What templates' SCEP is declared with, as digests or by the name of something sealed; and how often clients were
wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict
from pkiconf.store import keys
from pkiconf.store.database import Connection
from pkiconf.store.issuing_locks import forbid
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import scep_secret


class SecretKind(StrEnum):
    PASSPHRASE = "passphrase"  # noqa: S105
    BASIC_AUTH = "basic_auth"
    INTUNE = "intune"


class Replaced(Conflict):
    """It is not accepted any more."""


@dataclass(frozen=True, slots=True)
class SecretRow:
    """`until_at` is when one that was replaced stops (or stopped) to be accepted; None for the current one."""

    id: int
    template_id: int
    kind: str
    digest: bytes | None
    sealed_as: str | None
    created_at: int
    until_at: int | None


_ADD = Prepared(inserting(scep_secret, "id", "until_at", ending="ON CONFLICT DO NOTHING"))
# The one that was replaced keeps the earliest end it was given.
_END = Prepared(
    text(
        "UPDATE scep_secret SET until_at = :until WHERE template_id = :of AND kind = :kind"
        " AND (until_at IS NULL OR until_at > :until)"
    )
)
_ACCEPTED = Prepared(
    select(scep_secret)
    .where(
        scep_secret.c.template_id == bindparam("of"),
        scep_secret.c.kind == bindparam("called"),
        scep_secret.c.until_at.is_(None) | (scep_secret.c.until_at > bindparam("now")),
    )
    .order_by(scep_secret.c.id.desc()),
    SecretRow,
)
_STILL_ACCEPTED = Prepared(text("SELECT 1 FROM scep_secret WHERE id = :id AND (until_at IS NULL OR until_at > :now)"))
_TRIES = Prepared(
    text("SELECT failures FROM scep_tries WHERE template_id = :of AND client = :client AND since_at > :since")
)
_FAILED = Prepared(
    text(
        "INSERT INTO scep_tries (template_id, client, since_at, failures) VALUES (:of, :client, :now, 1)"
        " ON CONFLICT (template_id, client) DO UPDATE SET"
        " failures = CASE WHEN scep_tries.since_at > :since THEN scep_tries.failures + 1 ELSE 1 END,"
        " since_at = CASE WHEN scep_tries.since_at > :since THEN scep_tries.since_at ELSE :now END"
    )
)
_FORGET_TRIES = Prepared(text("DELETE FROM scep_tries WHERE template_id = :of AND since_at <= :since"))


def put_secret(
    c: Connection, template_id: int, kind: SecretKind, *, digest: bytes | None, sealed_as: str | None, now: int,
    former_until: int | None = None,
) -> None:  # fmt: skip
    """Make it the current one; the one before is accepted until `former_until` (default: no longer).

    Raises Conflict when somebody else is doing the same.
    """
    end_secrets(c, template_id, kind, now if former_until is None else former_until)
    added = _ADD.count(
        c, {"template_id": template_id, "kind": kind.value, "digest": digest, "sealed_as": sealed_as, "created_at": now}
    )
    if not added:
        raise Conflict("another secret of the same template is being written", "Try again")


def end_secrets(c: Connection, template_id: int, kind: SecretKind, until: int) -> None:
    """None of them is accepted from then on; what was sealed is forgotten."""
    forbid(c)
    for row in list_accepted(c, template_id, kind, until):
        if row.sealed_as is not None:
            keys.delete_secret(c, row.sealed_as)
    _END.count(c, {"of": template_id, "kind": kind.value, "until": until})


def list_accepted(c: Connection, template_id: int, kind: SecretKind, now: int) -> list[SecretRow]:
    """The current one first, then those that are still accepted beside it."""
    return _ACCEPTED.all(c, {"of": template_id, "called": kind.value, "now": now})


def check_accepted(c: Connection, secret_id: int, now: int) -> None:
    """Raises Replaced."""
    if _STILL_ACCEPTED.scalar(c, {"id": secret_id, "now": now}) is None:
        raise Replaced("the passphrase was replaced meanwhile", "Use the new one")


def count_failures(c: Connection, template_id: int, client: str, since: int) -> int:
    """How often a client was wrong in the period that began after `since`."""
    return int(_TRIES.scalar(c, {"of": template_id, "client": client, "since": since}) or 0)


def record_failure(c: Connection, template_id: int, client: str, now: int, since: int) -> None:
    """Count one more; periods that began at `since` or before are over."""
    _FORGET_TRIES.count(c, {"of": template_id, "since": since})
    _FAILED.count(c, {"of": template_id, "client": client, "now": now, "since": since})
