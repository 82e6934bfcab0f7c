"""Links that were to be mailed, and were not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pkiconf.clock import from_epoch
from pkiconf.diagnosis.finding import Finding, ok, warning
from pkiconf.store import mail
from pkiconf.store.database import Connection

MAIL: Final = "mail"
_SOON: Final = timedelta(minutes=10)


def check_mail(c: Connection, now: datetime) -> Iterator[Finding]:
    found = [finding for row in mail.list_unsent(c) if (finding := _judged(row, now)) is not None]
    yield from found or [ok(MAIL, "nothing waits")]


def _judged(row: mail.MailRow, now: datetime) -> Finding | None:
    what = f"the link of request {row.request_id} for {row.recipient}"
    if row.state == mail.FAILED:
        return warning(MAIL, f"{what} was refused: {row.error}", f"pkiconf request resend {row.request_id} --email …")
    if now - from_epoch(row.created_at) < _SOON:
        return None
    if row.error is None:
        return warning(MAIL, f"{what} waits to be mailed", "Is the worker running?")
    return warning(MAIL, f"{what} could not be mailed yet: {row.error}", "See settings.mail; it is tried again")
