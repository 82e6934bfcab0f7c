"""A stranger's mail server (aiosmtpd) on loopback, in a thread of the test; what it says to whom can be scripted."""

from __future__ import annotations

import asyncio
import atexit
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography.hazmat.primitives.serialization import Encoding

from tests.egress.certificates import context_with, self_signed

USER, PASSWORD = "pki", "a password that nobody guesses"


@dataclass
class MailServer:
    """`refuse` are replies by recipient; `received` the envelopes that were taken; `logins` those that held."""

    port: int = 0
    received: list[Envelope] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    refuse_data: list[str] = field(default_factory=list)
    greeted_as: list[str] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.greeted_as.append(hostname)
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuse_data:
            return self.refuse_data.pop(0)
        self.received.append(envelope)
        transport = cast(asyncio.Transport, server.transport)
        self.tls.append(session.ssl is not None or transport.get_extra_info("ssl_object") is not None)
        return "250 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        login = cast(LoginPassword, data)
        holds = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        if holds:
            self.logins.append(mechanism)
        return AuthResult(success=holds, handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(cast(bytes, envelope.content), policy=default) for envelope in self.received]


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = False
) -> Iterator[MailServer]:
    """With a `context` it offers STARTTLS, or speaks TLS at once (`implicit`); `login` is then required."""
    found = MailServer()
    loop = asyncio.new_event_loop()

    def make() -> SMTP:
        return SMTP(
            found,
            hostname="mail.corp.example",
            loop=loop,
            tls_context=None if implicit else context,
            require_starttls=context is not None and not implicit,
            authenticator=found.authenticate if login else None,
            auth_required=login and not implicit,
            auth_require_tls=not implicit,
        )

    async def start() -> asyncio.Server:
        return await loop.create_server(make, "127.0.0.1", 0, ssl=context if implicit else None)

    listener = loop.run_until_complete(start())
    found.port = listener.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def stop() -> None:
        listener.close()
        for task in asyncio.all_tasks(loop) - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def trusted_context(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's context whose certificate this process trusts."""
    made = self_signed([name])
    file = folder / "trusted.pem"
    file.write_bytes(made[0].public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return context_with(made)


@cache
def standing_mail() -> MailServer:
    """One that runs as long as this process."""
    running = ExitStack()
    atexit.register(running.close)
    return running.enter_context(mail_server())
