"""What requests without a key were approved for, and by which link they are claimed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict, NotFound
from pkiconf.model.request import RequestState
from pkiconf.policy.lifecycle import RequestEvent, move_request
from pkiconf.store import requests
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import enrolment_grant, request


@dataclass(frozen=True, slots=True)
class GrantRow:
    """`subject` is DER, the alternative names stand in the request's row; `validity` is JSON. `token_salt` is what the
    link's token is derived from, `token_sha256` its digest, `token_number` counts links. Times are epoch seconds."""

    request_id: int
    subject: bytes
    validity: str | None
    email: str | None
    deliver: str
    token_salt: bytes | None
    token_sha256: bytes | None
    token_number: int
    expires_at: int | None
    fetched_at: int | None
    fetches: int


_ADD = Prepared(
    inserting(enrolment_grant, "token_salt", "token_sha256", "token_number", "expires_at", "fetched_at", "fetches")
)
_FIND = Prepared(select(enrolment_grant).where(enrolment_grant.c.request_id == bindparam("request")), GrantRow)
_BY_TOKEN = Prepared(select(enrolment_grant).where(enrolment_grant.c.token_sha256 == bindparam("digest")), GrantRow)
_NAME = Prepared(
    text("UPDATE enrolment_grant SET subject = :subject, validity = :validity WHERE request_id = :request_id")
)
_OFFER = Prepared(
    text(
        "UPDATE enrolment_grant SET token_salt = :salt, token_sha256 = :digest, token_number = :number,"
        " expires_at = :expires_at,"
        " fetched_at = NULL, fetches = 0, email = :email"
        " WHERE request_id = :request_id AND token_number = :number - 1"
    )
)
_FETCH = Prepared(
    text(
        "UPDATE enrolment_grant SET fetches = fetches + 1, fetched_at = COALESCE(fetched_at, :now)"
        " WHERE request_id = :request_id AND token_number = :number AND fetches < :most"
    )
)
_OVERDUE = Prepared(
    select(enrolment_grant)
    .join(request, request.c.id == enrolment_grant.c.request_id)
    .where(
        request.c.state == str(RequestState.AWAITING_CLAIM),
        enrolment_grant.c.expires_at <= bindparam("now"),
    )
    .order_by(enrolment_grant.c.request_id)
    .limit(bindparam("most")),
    GrantRow,
)


def add(
    c: Connection, request_id: int, *, subject: bytes, validity: str | None, email: str | None, deliver: str
) -> None:
    values = {
        "request_id": request_id, "subject": subject, "validity": validity, "email": email, "deliver": deliver,
    }  # fmt: skip
    _ADD.count(c, values)


def find_grant(c: Connection, request_id: int) -> GrantRow | None:
    """None for a request that brought its key."""
    return _FIND.find(c, {"request": request_id}) if 0 < request_id < 1 << 63 else None


def get_grant(c: Connection, request_id: int) -> GrantRow:
    """Raises NotFound for an unknown request, Conflict for one that brought its key."""
    found = find_grant(c, request_id)
    if found is None:
        requests.get_request(c, request_id)
        raise Conflict(
            f"request {request_id} has brought its key: nobody has to claim it",
            f"Use `pkiconf request sign {request_id}`",
        )
    return found


def get_grant_by_token(c: Connection, digest: bytes) -> GrantRow:
    """By the SHA-256 of the link's token. Raises NotFound."""
    found = _BY_TOKEN.find(c, {"digest": digest})
    if found is None:
        raise NotFound("there is no such link", "Look at it again, or ask whoever sent it for another")
    return found


def rename(c: Connection, request_id: int, subject: bytes, validity: str | None) -> None:
    """Approve it for another subject or validity."""
    _NAME.count(c, {"request_id": request_id, "subject": subject, "validity": validity})


def offer(
    c: Connection, request_id: int, *, salt: bytes, digest: bytes, number: int, expires_at: int, email: str | None
) -> None:
    """Give it its `number`-th link; the one before leads nowhere from then on. Raises Conflict when another was made
    meanwhile."""
    values = {
        "request_id": request_id, "salt": salt, "digest": digest, "number": number, "expires_at": expires_at,
        "email": email,
    }  # fmt: skip
    if _OFFER.count(c, values) == 0:
        raise Conflict(f"request {request_id} was sent again meanwhile", "Look at it again")


def fetch(c: Connection, row: GrantRow, now: int, most: int) -> bool:
    """Count that its profile was fetched; False when it was replaced, or was fetched `most` times."""
    values = {"request_id": row.request_id, "number": row.token_number, "now": now, "most": most}
    return _FETCH.count(c, values) == 1


def is_current(c: Connection, row: GrantRow) -> bool:
    """Whether its link is still the one that stands in `row`. Nobody replaces it before this transaction ends."""
    return lock(c, row.request_id) == row.token_number


def lock(c: Connection, request_id: int) -> int | None:
    """The number of its link, which nobody replaces or fetches over before this transaction ends; None for a request
    that brought its key."""
    number = enrolment_grant.c.token_number
    return c.execute(select(number).where(enrolment_grant.c.request_id == request_id).with_for_update()).scalar()


def claim(c: Connection, request_id: int) -> None:
    """It is claimed, by whoever comes first. Raises Conflict for one that was claimed, declined or has expired."""
    row = requests.get_request(c, request_id)
    target = move_request(RequestState(row.state), RequestEvent.CLAIM)
    requests.move(c, request_id, row.state, target)


def list_overdue(c: Connection, now: int, limit: int) -> list[GrantRow]:
    """Those that nobody claimed in time."""
    return _OVERDUE.all(c, {"now": now, "most": limit})
