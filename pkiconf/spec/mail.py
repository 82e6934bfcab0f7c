"""`settings.mail:` the mail server that takes what this PKI has to tell people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc

_ADDRESS: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_SENDER: Final = re.compile(
    rf"(?:(?P<name>[^<>\"\\\x00-\x1f\x7f]{{1,128}}) <(?P<inner>{_ADDRESS})>|(?P<bare>{_ADDRESS}))"
)
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*")

PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
PASSWORD: Final = "mail.password"  # noqa: S105 - where it is declared


def split_sender(text: str) -> tuple[str, str]:
    """The name, which may be empty, and the address. Raises Advised."""
    found = _SENDER.fullmatch(text)
    if found is None:
        raise Advised(f"{text[:80]!r} is no sender", "Write pki@corp.example, or Example PKI <pki@corp.example>")
    return (found["name"] or "").strip(), found["inner"] or found["bare"]


def _sender(text: str) -> str:
    split_sender(text)
    return text


def _host(text: str) -> str:
    if _HOST.fullmatch(text):
        return text
    raise Advised(f"{text[:80]!r} is no host", "Write a name or an address, such as smtp.corp.example; see port")


Sender = Annotated[str, AfterValidator(_sender), Said("an address, or NAME <address>")]
MailHost = Annotated[str, AfterValidator(_host), Said("a host name or an address")]


class MailSettings(Declared):
    """Over which server mail goes out, and from whom it is (RFC 6409)."""

    server: MailHost = Field(description="Takes the mail", json_schema_extra=rfc("RFC 6409"))
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="starttls: TLS is begun after the greeting; tls: from the first octet; none: in the clear. The "
        "server's certificate is verified",
        json_schema_extra=rfc("RFC 3207; RFC 8314 §3.3"),
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Its port. Default: 587 with starttls, 465 with tls, 25 with none"
    )
    username: str | None = Field(
        None, min_length=1, max_length=255, description="To log in with", json_schema_extra=rfc("RFC 4954")
    )
    password: str | None = Field(
        None, description="To log in with: a reference (!env, !file, !vault)", json_schema_extra=rfc("RFC 4954")
    )
    from_: Sender = Field(alias="from", description="Whom mail is from, such as Example PKI <pki@corp.example>")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if (self.username is None) != (self.password is None):
            has, lacks = ("username", "password") if self.password is None else ("password", "username")
            yield Misfit((has, lacks), f"{has} goes with a {lacks}", f"Add {lacks}, or remove {has}")
        if self.security == "none" and self.username is not None:
            yield Misfit(
                ("username", "security"),
                "a password is never sent in the clear (RFC 4954 §4)",
                "Write security: starttls, or remove username and password",
            )

    @property
    def connect_to(self) -> tuple[str, int]:
        """Host and port."""
        return self.server, self.port or PORTS[self.security]
