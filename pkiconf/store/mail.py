"""The outbox: whom to tell of which link. What is said, and the link itself, is made when it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, or_, select, text

from pkiconf.model.request import RequestState
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import enrolment_grant, mail, request

QUEUED: Final = "queued"
SENT: Final = "sent"
FAILED: Final = "failed"
VOID: Final = "void"


@dataclass(frozen=True, slots=True)
class MailRow:
    """`token_number` is that of the link it tells; `error` what the mail server said last. Times are epoch seconds."""

    id: int
    request_id: int
    token_number: int
    recipient: str
    state: str
    error: str | None
    created_at: int
    ended_at: int | None


_ADD = Prepared(inserting(mail, "id", "error", "ended_at", ending="RETURNING id"))
_FIND = Prepared(select(mail).where(mail.c.id == bindparam("wanted")), MailRow)
_OF_REQUEST = Prepared(select(mail).where(mail.c.request_id == bindparam("of")).order_by(mail.c.id), MailRow)
_UNSENT = Prepared(
    select(mail)
    .join(enrolment_grant, enrolment_grant.c.request_id == mail.c.request_id)
    .join(request, request.c.id == mail.c.request_id)
    .where(
        or_(mail.c.state == QUEUED, mail.c.state == FAILED),
        mail.c.token_number == enrolment_grant.c.token_number,
        request.c.state == str(RequestState.AWAITING_CLAIM),
    )
    .order_by(mail.c.id)
    .limit(bindparam("most")),
    MailRow,
)
_NOTE = Prepared(text("UPDATE mail SET error = :error WHERE id = :id AND state = 'queued'"))
_END = Prepared(
    text("UPDATE mail SET state = :state, error = :error, ended_at = :now WHERE id = :id AND state = 'queued'")
)
_VOID = Prepared(
    text("UPDATE mail SET state = 'void', ended_at = :now WHERE request_id = :request_id AND state = 'queued'")
)


def add(c: Connection, *, request_id: int, token_number: int, recipient: str, created_at: int) -> int:
    values = {
        "request_id": request_id, "token_number": token_number, "recipient": recipient, "created_at": created_at,
        "state": QUEUED,
    }  # fmt: skip
    return int(_ADD.scalar(c, values))


def find_mail(c: Connection, number: int) -> MailRow | None:
    return _FIND.find(c, {"wanted": number})


def list_mail(c: Connection, request_id: int) -> list[MailRow]:
    """What was sent, or is to be, for one request; the oldest first."""
    return _OF_REQUEST.all(c, {"of": request_id})


def list_unsent(c: Connection, limit: int = 100) -> list[MailRow]:
    """What still waits, and what the mail server refused, of links that can still be used."""
    return _UNSENT.all(c, {"most": limit})


def note(c: Connection, number: int, error: str) -> None:
    """Why it could not be sent yet."""
    _NOTE.count(c, {"id": number, "error": error})


def end(c: Connection, number: int, state: str, error: str | None, now: int) -> bool:
    """False when it has ended already."""
    return _END.count(c, {"id": number, "state": state, "error": error, "now": now}) == 1


def void(c: Connection, request_id: int, now: int) -> int:
    """What still waits for this request is not sent any more."""
    return _VOID.count(c, {"request_id": request_id, "now": now})
