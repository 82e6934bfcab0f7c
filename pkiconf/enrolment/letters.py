"""What mail says. Plain text: nothing in it is fetched, and a link shows where it leads."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final
from urllib.parse import urlsplit

from pkiconf.model.enrolment import Deliver
from pkiconf.model.secret import Secret
from pkiconf.spec.mail import split_sender

_POLICY: Final = SMTP.clone(max_line_length=998)  # a link that is broken over two lines leads nowhere

_CLAIM: Final = """\
a certificate has been approved for you. It will say:

{contents}

To get it, make a key and a certificate request (CSR) for it, and send the request to this link:

    {link}

Opened in a browser, the link shows how that is done."""

_APPLE: Final = """\
a certificate has been approved for your iPhone, iPad or Mac. It will say:

{contents}

Open this link on that device, in Safari:

    {link}

It downloads a profile. Install it within an hour:
on an iPhone or iPad in Settings, under "Profile Downloaded",
on a Mac in System Settings, under General, Device Management."""

_END: Final = """\
The link is good until {expires}, and for one certificate. It is all that is needed to get it: do not pass it on.
If you expected nothing of the kind, tell whoever runs {base}."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`number` is the message's own, so that one which is sent twice can be told to be one; `link` is the URL."""

    number: int
    sender: str
    recipient: str
    base: str
    deliver: str
    link: Secret
    subject: str
    names: tuple[str, ...]
    expires_at: datetime
    created_at: datetime


def compose(letter: Letter) -> EmailMessage:
    name, address = split_sender(letter.sender)
    message = EmailMessage(_POLICY)
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=letter.recipient)
    message["Subject"] = "Your certificate is approved"
    message["Date"] = format_datetime(letter.created_at)
    message["Message-ID"] = f"<pkiconf-{letter.number}-{int(letter.created_at.timestamp())}@{hello_name(letter.base)}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday note answers it
    body = _APPLE if letter.deliver == Deliver.APPLE else _CLAIM
    text = body.format(contents=_contents(letter), link=letter.link.reveal().decode())
    end = _END.format(expires=f"{letter.expires_at:%Y-%m-%d %H:%M} UTC", base=urlsplit(letter.base).netloc)
    message.set_content(f"Hello,\n\n{text}\n\n{end}\n")
    return message


def hello_name(base: str) -> str:
    """What a mail server is greeted with (RFC 5321 §4.1.1.1): the name of this PKI's URL, or an address literal."""
    host = urlsplit(base).hostname or "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _contents(letter: Letter) -> str:
    lines = [*([letter.subject] if letter.subject else []), *letter.names]
    return "\n".join(f"    {line}" for line in lines)
