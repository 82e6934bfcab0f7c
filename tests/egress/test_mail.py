"""Handing a message to a mail server: over TLS that is verified, with a password inside TLS only, within bounds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from pkiconf.egress.mail import MailServer, post
from pkiconf.errors import PkiconfError, Refused, Unavailable
from pkiconf.model.secret import Secret
from tests.egress.certificates import context_with, self_signed
from tests.egress.conftest import SilentResolver
from tests.egress.servers import server
from tests.mail_server import PASSWORD, USER, mail_server, trusted_context

SENDER, RECIPIENT = "pki@corp.example", "jane@corp.example"


def letter() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, RECIPIENT, "for you"
    message.set_content("https://pki.corp.example/claim/abc\n.\nend\n")
    return message


def at(port: int, security: str = "none", password: str | None = None) -> MailServer:
    user = USER if password is not None else None
    return MailServer(
        "127.0.0.1", port, security, "pki.corp.example", user, Secret(password.encode()) if password else None
    )


def send(to: MailServer, recipient: str = RECIPIENT, seconds: float = 30) -> None:
    post(to, letter(), SENDER, recipient, seconds=seconds)


def refusal(kind: type[PkiconfError], act: Callable[[], None]) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@pytest.mark.row("F19")
def test_a_message_arrives_whole() -> None:
    with mail_server() as found:
        send(at(found.port))
    (message,) = found.messages
    assert (message["Subject"], found.received[0].mail_from, found.received[0].rcpt_tos) == (
        "for you", SENDER, [RECIPIENT],
    )  # fmt: skip
    assert message.get_content().splitlines() == ["https://pki.corp.example/claim/abc", ".", "end"]
    assert found.greeted_as == ["pki.corp.example"]


def test_a_resolver_that_is_silent_is_waited_for_until_the_deadline(silence: SilentResolver) -> None:
    there = replace(at(25), host="silent-mail.example")
    assert "did not answer in time" in refusal(Unavailable, lambda: send(there, seconds=1))
    assert (silence.asked, silence.ended) == (["silent-mail.example"], [])


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_tls_and_a_login(security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = trusted_context(tmp_path, monkeypatch)
    with mail_server(context, implicit=security == "tls", login=True) as found:
        send(at(found.port, security, PASSWORD))
        assert (found.tls, len(found.logins)) == ([True], 1)
        said = refusal(Unavailable, lambda: send(at(found.port, security, "wrong")))
        assert "does not accept user name and password (535)" in said
        assert "wrong" not in said
    assert len(found.received) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_untrusted_server_gets_nothing(security: str) -> None:
    with mail_server(context_with(self_signed(["127.0.0.1"])), implicit=security == "tls") as found:
        assert "certificate is not trusted" in refusal(Unavailable, lambda: send(at(found.port, security)))
    assert not found.received


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(trusted_context(tmp_path, monkeypatch, "192.0.2.1"), implicit=True) as found:
        assert "certificate is not trusted" in refusal(Unavailable, lambda: send(at(found.port, "tls", PASSWORD)))
    assert not found.logins


def test_a_stripped_starttls_ends_it() -> None:
    with mail_server() as found:
        said = refusal(Unavailable, lambda: send(at(found.port, "starttls", PASSWORD)))
    assert "offers no STARTTLS" in said
    assert not found.received
    assert not found.logins


def test_a_password_is_never_sent_in_the_clear(tmp_path: Path) -> None:
    with mail_server() as found:
        send(at(found.port, "none", PASSWORD))
    assert (found.logins, len(found.received)) == ([], 1)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("550 no such user", Refused),
        ("553 mailbox name not allowed", Refused),
        ("450 mailbox busy", Unavailable),
        ("451 greylisted, come back later", Unavailable),
    ],
)
def test_a_recipient_that_is_not_taken(reply: str, kind: type[PkiconfError]) -> None:
    with mail_server() as found:
        found.refuse[RECIPIENT] = reply
        assert reply in refusal(kind, lambda: send(at(found.port)))
    assert not found.received


@pytest.mark.parametrize(("reply", "kind"), [("554 spam", Refused), ("452 disk full", Unavailable)])
def test_a_message_that_is_not_taken(reply: str, kind: type[PkiconfError]) -> None:
    with mail_server() as found:
        found.refuse_data.append(reply)
        assert reply in refusal(kind, lambda: send(at(found.port)))
        send(at(found.port))
    assert len(found.received) == 1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "cannot be reached" in refusal(Unavailable, lambda: send(at(port)))


def test_silence_ends_at_the_deadline() -> None:
    def stay(connection: socket.socket) -> None:
        connection.recv(1)  # nothing is said, so nothing comes until the client has gone

    with server(stay) as port:
        began = time.monotonic()
        refusal(Unavailable, lambda: send(at(port), seconds=0.3))
    assert time.monotonic() - began < 30


def test_dripping_ends_at_the_deadline() -> None:
    """Each octet comes within a socket's own time-out."""

    def drip(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"220-still here\r\n")
                time.sleep(0.02)
        except OSError:
            return

    with server(drip) as port:
        refusal(Unavailable, lambda: send(at(port), seconds=0.5))


def test_a_flood_is_not_read_to_its_end() -> None:
    def flood(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"220-" + b"x" * 500 + b"\r\n")
        except OSError:
            return

    with server(flood) as port:
        assert "says too much" in refusal(Unavailable, lambda: send(at(port)))


@pytest.mark.parametrize("greeting", [b"554 go away\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\r\n", b""])
def test_what_is_no_mail_server(greeting: bytes) -> None:
    with server(lambda connection: connection.sendall(greeting)) as port:
        refusal(Unavailable, lambda: send(at(port)))


def test_control_characters_of_a_reply_stay_out_of_messages() -> None:
    with mail_server() as found:
        found.refuse[RECIPIENT] = "550 \x1b[31mred"
        assert "\x1b" not in refusal(Refused, lambda: send(at(found.port)))
