"""Mail goes out by jobs: queued in the transaction that makes it necessary, tried again until its link has ended.

A process that dies between handing a message over and recording it hands it over again: with the same link, under the
same Message-ID.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Final

from pkiconf.authority.settings import MAIL_PASSWORD
from pkiconf.clock import from_epoch, to_epoch
from pkiconf.egress.mail import MailServer, Post
from pkiconf.enrolment.letters import Letter, compose, hello_name
from pkiconf.enrolment.links import Links, url_of
from pkiconf.errors import Refused, Unavailable
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import Request, template_address
from pkiconf.model.actor import SYSTEM
from pkiconf.model.request import RequestState
from pkiconf.policy.authorization import Action, check_may
from pkiconf.signing.keyring import secret_identity
from pkiconf.spec.mail import MailSettings, split_sender
from pkiconf.spec.settings import Settings
from pkiconf.steps import Step
from pkiconf.store import grants, jobs, keys, mail, requests
from pkiconf.store.database import Connection
from pkiconf.store.grants import GrantRow
from pkiconf.store.mail import MailRow

JOB: Final = "mail"
PAUSE: Final = timedelta(seconds=60)
"""After the server could not be reached, nothing else is tried for so long: each attempt may take its whole time-out,
and the worker has other things to do."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """A message that is to be sent now; `password` is sealed."""

    row: MailRow
    grant: GrantRow
    request: Request
    settings: Settings
    password: keys.SealedSecretRow | None


def queue_mail(c: Connection, request_id: int, token_number: int, recipient: str, now: int) -> int:
    """In the caller's transaction; the message's number."""
    number = mail.add(c, request_id=request_id, token_number=token_number, recipient=recipient, created_at=now)
    jobs.queue(c, JOB, str(number), "{}", now)
    return number


class Outbox:
    """For the worker. What cannot be sent now is tried again with growing pauses; what the server will never take has
    failed, and shows so with its request."""

    def __init__(self, parts: Parts, links: Links, post: Post) -> None:
        self._parts = parts
        self._links = links
        self._post = post
        self._down: tuple[datetime, str] | None = None

    def deliver(self, number: int) -> str:
        """Send one message; empty when it has ended, else what it waits for."""
        check_may(SYSTEM, Action.MAIL_SEND, f"mail/{number}")
        due = self._parts.db.read(lambda c: _load(c, number))
        if due is None:
            return ""
        if self._is_void(due):
            return self._end(due, mail.VOID, None)
        if due.settings.mail is None:
            return self._later(due, "no mail server is declared (settings.mail)")
        if self._down is not None and self._down[0] <= self._parts.now() < self._down[0] + PAUSE:
            return self._down[1]
        try:
            sender = split_sender(due.settings.mail.from_)[1]
            self._post(self._server(due.settings, due.settings.mail, due.password), self._message(due), sender,
                       due.row.recipient)  # fmt: skip
        except Refused as ex:
            log.warning("mail %d for request %d is refused: %s", number, due.row.request_id, ex)
            return self._end(due, mail.FAILED, str(ex))
        except Unavailable as ex:
            self._down = self._parts.now(), str(ex)
            return self._later(due, str(ex))
        self._down = None
        return self._end(due, mail.SENT, None)

    def _is_void(self, due: _Due) -> bool:
        """Its link has ended: it was used, replaced, taken back or has expired."""
        ends = due.grant.expires_at
        return (
            due.request.row.state != RequestState.AWAITING_CLAIM
            or due.grant.token_number != due.row.token_number
            or ends is None
            or ends <= to_epoch(self._parts.now())
        )

    def _message(self, due: _Due) -> EmailMessage:
        self._links.open()
        assert due.settings.mail is not None, "deliver has looked"
        assert due.grant.token_salt is not None, "a message comes with a link"
        assert due.grant.expires_at is not None, "a link comes with its end"
        base = due.settings.enrolment_url
        token = self._links.token(due.grant.token_salt, due.row.request_id)
        return compose(
            Letter(
                number=due.row.id,
                sender=due.settings.mail.from_,
                recipient=due.row.recipient,
                base=base,
                deliver=due.grant.deliver,
                link=url_of(base, due.grant.deliver, token),
                subject=due.request.row.subject,
                names=due.request.names,
                expires_at=from_epoch(due.grant.expires_at),
                created_at=from_epoch(due.row.created_at),
            )
        )

    def _server(self, settings: Settings, wish: MailSettings, sealed: keys.SealedSecretRow | None) -> MailServer:
        host, port = wish.connect_to
        password = None
        if wish.username is not None:
            if sealed is None:
                raise Unavailable("the password of the mail server is not stored", "Apply the declaration again")
            password = self._parts.keyring.unseal(secret_identity(MAIL_PASSWORD), sealed.sealed, sealed.wrapping_key_id)
        return MailServer(host, port, wish.security, hello_name(settings.enrolment_url), wish.username, password)

    def _later(self, due: _Due, why: str) -> str:
        if due.row.error != why:
            self._parts.db.write(Step.MAIL_END, lambda c: mail.note(c, due.row.id, why))
        return why

    def _end(self, due: _Due, state: str, error: str | None) -> str:
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            if mail.end(c, due.row.id, state, error, now):
                details = {"state": state, "recipient": due.row.recipient} | ({"error": error} if error else {})
                self._parts.record(c, SYSTEM, "mail.end", f"request/{due.row.request_id}", details)

        self._parts.db.write(Step.MAIL_END, write)
        return ""


def _load(c: Connection, number: int) -> _Due | None:
    """None for a message that has ended, or whose request is gone."""
    row = mail.find_mail(c, number)
    if row is None or row.state != mail.QUEUED:
        return None
    request = requests.get_request(c, row.request_id)
    return _Due(
        row,
        grants.get_grant(c, row.request_id),
        Request(request, template_address(c, request.template_id)),
        load_settings(c),
        keys.find_secret(c, MAIL_PASSWORD),
    )
