"""Every name that a certificate would claim, wherever it stands.

Relying parties read names out of more places than the subject alternative names: old TLS stacks take the
common name for a host, mail programs take the subject's e-mail address. Whoever may not have a name as a
SAN may not have it there either, so rules and constraints judge claims, not fields.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from pkiconf.der.names import to_a_labels
from pkiconf.der.tlv import read_element
from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import COMMON_NAME, EMAIL_ADDRESS
from pkiconf.model.names import DNSName, GeneralName, IPAddress, Name, OtherName, RFC822Name
from pkiconf.policy.overrides import describe

IN_SANS: Final = ""
IN_COMMON_NAME: Final = "in the common name"
IN_SUBJECT: Final = "in the subject"

_SMTP_UTF8_MAILBOX: Final = "1.3.6.1.5.5.7.8.9"  # RFC 9598 §6: constrained as the e-mail address it is
_UTF8_STRING: Final = 0x0C
_ADDRESS: Final = re.compile(r"\[?[0-9A-Fa-f:.]+\]?")
_HOST: Final = re.compile(r"(?:\*\.)?[^\s/@:,;=\"'()*]+")


class Claim(NamedTuple):
    """`name` has domains in lower case; `place` says where it stands, and is empty for alternative names."""

    name: GeneralName
    place: str

    def __str__(self) -> str:
        return f"{describe(self.name)} {self.place}".rstrip()


def claims_of(
    subject: Name, sans: Sequence[GeneralName], *, end_entity: bool = True, single_labels: bool = False
) -> list[Claim]:
    """What `subject` and `sans` claim. An end entity's common name counts as the address, mailbox or host name
    that it looks like; one without a dot only with `single_labels` (where the certificate may stand for a server).
    The common name of an authority is nobody's host name."""
    claims = [_san_claim(name) for name in sans]
    for name in sans:
        if isinstance(name, OtherName) and name.type_id == _SMTP_UTF8_MAILBOX:
            claims.append(Claim(_mailbox(_utf8_text(name.value)), IN_SANS))
    for attribute in subject.attributes:
        if attribute.oid == COMMON_NAME and end_entity:
            looked = _lookalike(attribute.value, single_labels)
            if looked is not None:
                claims.append(Claim(looked, IN_COMMON_NAME))
        elif attribute.oid == EMAIL_ADDRESS:
            claims.append(Claim(_mailbox(attribute.value), IN_SUBJECT))
    return claims


def _san_claim(name: GeneralName) -> Claim:
    if isinstance(name, DNSName):
        return Claim(name if name.value.islower() else DNSName(name.value.lower()), IN_SANS)
    return Claim(_mailbox(name.value) if isinstance(name, RFC822Name) else name, IN_SANS)


def _lookalike(common_name: str, single_labels: bool) -> GeneralName | None:
    text = common_name.strip()
    if not text.isascii():
        # Full-width letters and ideographic full stops are letters and dots to whoever prepares host names (RFC 5895).
        text = unicodedata.normalize("NFKC", text).replace("。", ".").strip()
    address = _address(text)
    if address is not None:
        return address
    if "@" in text:
        return _mailbox(text)
    if _HOST.fullmatch(text) and (single_labels or "." in text.strip(".")):
        return DNSName(_host(text))
    return None


def _address(text: str) -> IPAddress | None:
    if not _ADDRESS.fullmatch(text):
        return None
    try:
        return IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return None


def _host(text: str) -> str:
    host = text.removesuffix(".").lower()
    try:
        return to_a_labels(host)
    except Refused:
        return host  # nobody resolves such a name, and no rule that lists what is allowed lists it


def _mailbox(text: str) -> RFC822Name:
    """The host in lower case; the local part keeps its case (RFC 5321 §2.4)."""
    local, at, host = text.rpartition("@")
    return RFC822Name(local + at + host.lower())


def _utf8_text(der: bytes) -> str:
    try:
        return read_element(der, "an SmtpUTF8Mailbox", _UTF8_STRING).content.decode()
    except (Malformed, UnicodeDecodeError):
        raise Refused("an alternative name of type SmtpUTF8Mailbox holds no UTF8String") from None
