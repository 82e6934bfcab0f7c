"""One message to one recipient over the declared mail server (RFC 6409), within one deadline.

TLS is verified against what the system trusts (SSL_CERT_FILE names another file). A password is sent inside TLS only.
"""

from __future__ import annotations

import contextlib
import io
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final, NoReturn

from pkiconf.egress.arriving import Arriving
from pkiconf.egress.connecting import connect
from pkiconf.egress.deadline import Deadline
from pkiconf.errors import Refused, Unavailable
from pkiconf.model.secret import Secret

SECONDS: Final = 20.0
MOST: Final = 1 << 18
"""Octets that a server may say in one session."""

_PERMANENT: Final = range(500, 600)


@dataclass(frozen=True, slots=True)
class MailServer:
    """`security` is starttls, tls or none; `hello` what we call ourselves, a host name or an address literal."""

    host: str
    port: int
    security: str
    hello: str
    username: str | None = None
    password: Secret | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Post = Callable[[MailServer, EmailMessage, str, str], None]
"""What `post` is; tests may hand in their own."""


def post(server: MailServer, message: EmailMessage, sender: str, recipient: str, *, seconds: float = SECONDS) -> None:
    """Hand a message to the server, which has taken it when this returns.

    Raises Refused when it will never take this message, Unavailable for everything else: it may be tried again, and
    once more have been taken.
    """
    try:
        _send(server, message, sender, recipient, Deadline.within(seconds))
    except smtplib.SMTPRecipientsRefused as ex:
        _refused(server, *ex.recipients[recipient])
    except smtplib.SMTPDataError as ex:
        _refused(server, ex.smtp_code, ex.smtp_error)
    except smtplib.SMTPAuthenticationError as ex:
        raise Unavailable(
            f"mail server {server} does not accept user name and password ({ex.smtp_code})", "See settings.mail"
        ) from None
    except smtplib.SMTPNotSupportedError:
        what = "STARTTLS" if server.security == "starttls" else "a way to log in that is known here"
        raise Unavailable(f"mail server {server} offers no {what}", "See settings.mail") from None
    except smtplib.SMTPResponseException as ex:
        raise Unavailable(f"mail server {server} says {ex.smtp_code} {_words(ex.smtp_error)}") from None
    except smtplib.SMTPException as ex:
        raise Unavailable(f"mail server {server} ended early: {_words(str(ex))}") from None
    except ssl.SSLCertVerificationError as ex:
        raise Unavailable(
            f"mail server {server}: its certificate is not trusted ({ex.verify_message})",
            "SSL_CERT_FILE names a file with what to trust",
        ) from None
    except TimeoutError:
        raise Unavailable(f"mail server {server} did not answer in time") from None
    except OSError as ex:
        raise Unavailable(
            f"mail server {server} cannot be reached: {ex.strerror or type(ex).__name__}", "See settings.mail"
        ) from None


def _send(server: MailServer, message: EmailMessage, sender: str, recipient: str, deadline: Deadline) -> None:
    session = _Session(server, deadline)
    try:
        _greet(session, server)
        session.sendmail(sender, [recipient], message.as_bytes(policy=message.policy.clone(linesep="\r\n")))
        with contextlib.suppress(smtplib.SMTPException, OSError):  # it has taken the message: how it parts is no matter
            session.quit()
    finally:
        session.close()


def _greet(session: smtplib.SMTP, server: MailServer) -> None:
    session.ehlo_or_helo_if_needed()
    if server.security == "starttls":
        # It raises where the server offers none: whoever strips the offer gets nothing to read.
        session.starttls(context=ssl.create_default_context())
        session.ehlo_or_helo_if_needed()
    if server.username is not None and server.password is not None and server.security != "none":
        session.login(server.username, server.password.reveal().decode())


def _refused(server: MailServer, code: int, said: bytes | str) -> NoReturn:
    sentence = f"mail server {server} says {code} {_words(said)}"
    if code in _PERMANENT:
        raise Refused(sentence)
    raise Unavailable(sentence)


def _words(said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return "".join(character if character.isprintable() else " " for character in text[:300])


class _Session(smtplib.SMTP):
    """smtplib over a socket whose answers come within one deadline and one limit."""

    def __init__(self, server: MailServer, deadline: Deadline) -> None:
        self._server, self._deadline = server, deadline
        super().__init__(server.host, server.port, local_hostname=server.hello, timeout=deadline.left())

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """What smtplib opens its connections with."""
        s = connect(host, port, self._deadline.left)
        if self._server.security != "tls":
            return s
        try:
            return ssl.create_default_context().wrap_socket(s, server_hostname=host)
        except BaseException:
            s.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None and self.file is None:
            self.file = io.BufferedReader(Arriving(self.sock, self._deadline, MOST, _too_long))
        return super().getreply()

    def send(self, s: object) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._deadline.left())
        super().send(s)  # type: ignore[arg-type]


def _too_long() -> smtplib.SMTPException:
    return smtplib.SMTPException("it says too much")
