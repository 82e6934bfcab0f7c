"""What the text inside a general name may look like (RFC 5280 §4.2.1.6, RFC 1034 §3.5, RFC 5321, RFC 3986)."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final

from pkiconf.errors import Refused

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_INVISIBLE: Final = ("Cc", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")
_DOT_ATOM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)"
)
_AUTHORITY: Final = re.compile(r"//(?:[^/?#@]*@)?(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]@]*)(?::\d{0,5})?(?:[/?#].*)?")


def quoted(text: str) -> str:
    """For an error message: in quotes, its odd characters escaped, its end cut off where it is long."""
    return repr(text if len(text) <= 100 else text[:99] + "…")


def to_a_labels(domain: str) -> str:
    """A domain name with its U-labels turned into A-labels (RFC 5891); ASCII is returned as it is. Raises Refused."""
    if domain.isascii():
        return domain
    import idna  # here: its tables are large, and few names need them

    prefix = "*." if domain.startswith("*.") else ""
    try:
        return prefix + idna.encode(domain.removeprefix(prefix), uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise Refused(f"{quoted(domain)} is no internationalised domain name: {error}", "Give its xn-- form") from None


def check_dns_name(name: str, *, wildcard: bool = True) -> None:
    """Raise Refused unless `name` is a host name in A-labels; `*` may stand for the whole leftmost label."""
    if not name.isascii():
        raise Refused(f"DNS name {quoted(name)} is not ASCII", "Give its xn-- form")
    if not name or len(name) > 253:
        raise Refused(f"DNS name {quoted(name)} has {len(name)} characters", "It must have 1 to 253")
    labels = name.split(".")
    if wildcard and labels[0] == "*" and len(labels) > 1:
        del labels[0]
    for label in labels:
        _check_label(name, label)
    if labels[-1].isdigit():
        raise Refused(f"DNS name {quoted(name)} ends in a number", "Give an address as ip:")


def _check_label(name: str, label: str) -> None:
    if not label:
        raise Refused(f"DNS name {quoted(name)} has an empty label", "Leave out leading, trailing and doubled dots")
    if "*" in label:
        raise Refused(
            f"DNS name {quoted(name)} has a wildcard that is not its whole leftmost label", "Write *.example.org"
        )
    if not _LABEL.fullmatch(label):
        raise Refused(
            f"DNS name {quoted(name)} has the label {quoted(label)}",
            "A label has 1 to 63 letters, digits and inner hyphens (RFC 1034 §3.5)",
        )
    if label[:4].lower() == "xn--" and not _is_punycode(label[4:].lower()):
        raise Refused(f"DNS name {quoted(name)} has the label {quoted(label)}, which is no A-label")


def _is_punycode(text: str) -> bool:
    """Whether an ACE label decodes to one that encodes to it, of assigned and visible characters. RFC 5891 asks for
    more, but the labels of its predecessor (emoji, for one) are registered and used."""
    try:
        unicode = text.encode("ascii").decode("punycode")
        same = unicode.encode("punycode").decode("ascii") == text
    except (UnicodeError, ValueError, OverflowError):
        return False
    return same and not unicode.isascii() and not any(unicodedata.category(c) in _INVISIBLE for c in unicode)


def check_mailbox(mailbox: str) -> None:
    """Raise Refused unless `mailbox` is a dot-atom, `@` and a host name (RFC 5321 §4.1.2, no quotes or literals)."""
    local, at, domain = mailbox.rpartition("@")
    if not at or not local or not domain:
        raise Refused(f"e-mail address {quoted(mailbox)} is not local-part@domain")
    if not local.isascii():
        raise Refused(
            f"e-mail address {quoted(mailbox)} has a local part that is not ASCII",
            "An rfc822Name cannot hold it; such an address needs an otherName of type 1.3.6.1.5.5.7.8.9 (RFC 9598)",
        )
    if len(local) > 64 or not _DOT_ATOM.fullmatch(local):
        raise Refused(f"e-mail address {quoted(mailbox)} has a local part that is no dot-atom of at most 64 characters")
    check_dns_name(domain, wildcard=False)


def check_uri(uri: str) -> None:
    """Raise Refused unless `uri` begins with a scheme (RFC 3986); a host in it is a DNS name or an address."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise Refused(
            f"URI {quoted(uri)} is not absolute, or holds characters that RFC 3986 does not allow",
            "Begin with a scheme such as https: or urn:, and percent-encode what is not ASCII",
        )
    if found["rest"].startswith("//"):
        _check_authority(uri, found["rest"])


def _check_authority(uri: str, rest: str) -> None:
    found = _AUTHORITY.fullmatch(rest)
    if found is None:
        raise Refused(f"URI {quoted(uri)} has a malformed authority part")
    host = found["host"]
    if not host:
        return  # file:///…, spiffe-like schemes without a host: RFC 5280 asks for a host name only where there is one
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        check_dns_name(host, wildcard=False)
