"""Transactions of SCEP clients (RFC 8894 §2.8): what was asked under which id, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import scep_transaction


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """The newest attempt under its id. `status` and `reserved_at` are the certificate's, `request_state` and
    `request_reason` the request's; None where there is none."""

    id: int
    attempt: int
    csr_sha256: bytes
    signer_spki_sha256: bytes
    method: str
    request_id: int | None
    issuer_id: int | None
    serial: bytes | None
    after_issue: str | None
    csr: bytes | None
    created_at: int
    status: str | None
    reserved_at: int | None
    request_state: str | None
    request_reason: str | None


@dataclass(frozen=True, slots=True)
class NewTransaction:
    template_id: int
    transaction_id: str
    attempt: int
    csr_sha256: bytes
    signer_spki_sha256: bytes
    method: str
    created_at: int
    request_id: int | None = None
    issuer_id: int | None = None
    serial: bytes | None = None
    after_issue: str | None = None
    csr: bytes | None = None


_ADD: Final = Prepared(inserting(scep_transaction, "id"))
_COLUMNS: Final = (
    "t.id, t.attempt, t.csr_sha256, t.signer_spki_sha256, t.method, t.request_id,"
    " coalesce(t.issuer_id, r.issuer_id), coalesce(t.serial, r.serial), t.after_issue, t.csr,"
    " t.created_at, c.status, c.reserved_at, r.state, r.reason"
)
_AND_WHAT_CAME_OF_IT: Final = (
    " LEFT JOIN request r ON r.id = t.request_id"
    " LEFT JOIN certificate c ON c.issuer_id = coalesce(t.issuer_id, r.issuer_id)"
    " AND c.serial = coalesce(t.serial, r.serial)"
)
_FIND: Final = Prepared(
    text(
        f"SELECT {_COLUMNS} FROM scep_transaction t{_AND_WHAT_CAME_OF_IT}"  # noqa: S608
        " WHERE t.template_id = :template_id AND t.transaction_id = :transaction_id"
        " ORDER BY t.attempt DESC LIMIT 1"
    ),
    TransactionRow,
)
_FIND_AND_TRIES: Final[Prepared[tuple[int, TransactionRow | None]]] = Prepared(
    text(
        f"SELECT tries.failures, {_COLUMNS} FROM"  # noqa: S608
        " (SELECT coalesce((SELECT failures FROM scep_tries WHERE template_id = :template_id AND client = :client"
        " AND since_at > :since), 0) AS failures) AS tries"
        " LEFT JOIN scep_transaction t ON t.id = (SELECT id FROM scep_transaction"
        " WHERE template_id = :template_id AND transaction_id = :transaction_id ORDER BY attempt DESC LIMIT 1)"
        f"{_AND_WHAT_CAME_OF_IT}"
    ),
    lambda failures, *row: (int(failures), TransactionRow(*row) if row[0] is not None else None),
)

# Only as far as is asked: whoever may fill the table shall not make counting dear.
_WAITING: Final = Prepared(
    text(
        "SELECT count(*) FROM (SELECT 1 FROM request r JOIN scep_transaction t ON t.request_id = r.id"
        " WHERE r.state = 'pending' AND r.template_id = :template_id LIMIT :most) AS waiting"
    )
)


def add(c: Connection, new: NewTransaction) -> None:
    """Raises Conflict, through the database, when another request has this attempt."""
    _ADD.count(c, {name: getattr(new, name) for name in NewTransaction.__slots__})


def find(c: Connection, template_id: int, transaction_id: str) -> TransactionRow | None:
    return _FIND.find(c, {"template_id": template_id, "transaction_id": transaction_id})


def find_and_tries(
    c: Connection, template_id: int, transaction_id: str, client: str, since: int
) -> tuple[int, TransactionRow | None]:
    """`find`, and before it `scep_secrets.count_failures`, in one statement."""
    found = _FIND_AND_TRIES.find(
        c, {"template_id": template_id, "transaction_id": transaction_id, "client": client, "since": since}
    )
    assert found is not None
    return found


def count_waiting(c: Connection, template_id: int, most: int) -> int:
    """Requests that wait for a person; at most `most`."""
    return int(_WAITING.scalar(c, {"template_id": template_id, "most": most}))
