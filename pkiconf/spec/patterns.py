"""Patterns of names, as templates (`names`) and name constraints write them: syntax only, what they match is policy."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator

from pkiconf.spec.misfits import Advised, Said
from pkiconf.spec.values import OID_PATTERN

ANY: Final = "*"
_LABELS: Final = re.compile(r"[^\s.*/:@,;\"'\\]{1,63}(?:\.[^\s.*/:@,;\"'\\]{1,63})*\.?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*")
_MAILBOX: Final = re.compile(r"[^\s@]+@[^\s@]+")


def check_dns_pattern(text: str) -> str:
    if text == ANY or _LABELS.fullmatch(text.removeprefix("*.")):
        return text
    raise Advised(f"{text!r} is no pattern of DNS names", f"Write a name, *.domain or *{_host_in(text)}")


def _common_name(text: str) -> str:
    if not text.strip() or ("*" in text.removeprefix("*.") and text != ANY):
        raise Advised(f"{text!r} is no pattern of common names", "Write a common name, *.domain or *")
    return text


def check_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise _no_network(text) from None
    return text


def parse_resolver(text: str) -> tuple[str, int]:
    """Address and port of a DNS server: `10.0.0.53`, `10.0.0.53:5353`, `2001:db8::53`, `[2001:db8::53]:53`.

    Raises ValueError.
    """
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{port!r} is not a port")
    return str(ipaddress.ip_address(host)), int(port)


def _network_or_any(text: str) -> str:
    return text if text == ANY else check_network(text)


def _no_network(text: str) -> Advised:
    try:
        return Advised(
            f"{text!r} is no network: bits of the host are set", f"Write {ipaddress.ip_network(text, False)}"
        )
    except ValueError:
        return Advised(f"{text!r} is neither an IP address nor a network", "Write it as 10.0.0.0/8 or 2001:db8::/32")


def _email(text: str) -> str:
    host = text[1:].removeprefix(".") if text.startswith("@") else None
    if text == ANY or (_LABELS.fullmatch(host) if host is not None else _MAILBOX.fullmatch(text)):
        return text
    hint = (
        f"Write @{text} for every mailbox there" if _LABELS.fullmatch(text) else "Write a mailbox, @host, @.domain or *"
    )
    raise Advised(f"{text!r} is no pattern of mailboxes", hint)


def _uri(text: str) -> str:
    if text == ANY or _SCHEME.fullmatch(text):
        return text
    raise Advised(f"{text!r} is no beginning of a URI", f"Write it with its scheme, such as https://{text.strip()}")


def _identifier(text: str) -> str:
    if text == ANY or OID_PATTERN.fullmatch(text):
        return text
    raise Advised(f"{text!r} is not a dotted object identifier", "Write it as 1.3.6.1.4.1.311.20.2.3, or * for any")


def _directory(text: str) -> str:
    """The whole syntax of RFC 4514 is judged when the plan is made; a name without a type is noticed here."""
    if all("=" in part for part in re.split(r"(?<!\\)[,+]", text)):
        return text
    raise Advised(f"{text!r} is not a distinguished name", "Write it as O=Example Corp,C=NL (RFC 4514)")


def _directory_or_any(text: str) -> str:
    return text if text == ANY else _directory(text)


def _subtree_domain(text: str) -> str:
    if not text or _LABELS.fullmatch(text):
        return text
    bare = text.removeprefix("*").removeprefix(".")
    hint = f"Write {bare}, which holds itself and everything below" if _LABELS.fullmatch(bare) else "Write a domain"
    raise Advised(f"{text!r} is no subtree of DNS names (RFC 5280 §4.2.1.10)", hint + _host_in(text))


def _subtree_email(text: str) -> str:
    if _MAILBOX.fullmatch(text) or _LABELS.fullmatch(text.removeprefix(".")):
        return text
    hint = (
        f"Write {text[1:]}" if _LABELS.fullmatch(text[1:].removeprefix(".")) else "Write a mailbox, a host or .domain"
    )
    raise Advised(f"{text!r} is no subtree of mailboxes (RFC 5280 §4.2.1.10)", hint)


def _subtree_uri(text: str) -> str:
    if _LABELS.fullmatch(text.removeprefix(".")) and not re.fullmatch(r"[0-9.]+", text):
        return text
    hint = "Write a host or .domain"
    raise Advised(
        f"{text!r} is no subtree of URIs, which are constrained by host (RFC 5280 §4.2.1.10)", hint + _host_in(text)
    )


def _host_in(text: str) -> str:
    """The host, where a whole URL was written."""
    found = re.match(r"[a-z]+://([^/:?#\s]+)", text)
    return f", here {found[1]}" if found else ""


DNSPattern = Annotated[str, AfterValidator(check_dns_pattern), Said("a DNS name, *.domain or *")]
CommonNamePattern = Annotated[str, AfterValidator(_common_name), Said("a common name, *.domain or *")]
NetworkPattern = Annotated[
    str, AfterValidator(_network_or_any), Said("an IP address, a network such as 10.0.0.0/8, or *")
]
EmailPattern = Annotated[str, AfterValidator(_email), Said("a mailbox, @host, @.domain or *")]
URIPattern = Annotated[str, AfterValidator(_uri), Said("how a URI begins, or *")]
IdentifierPattern = Annotated[str, AfterValidator(_identifier), Said("a dotted object identifier in quotes, or *")]
DirectoryPattern = Annotated[
    str, AfterValidator(_directory_or_any), Said("RFC 4514 text such as O=Example Corp,C=NL, or *")
]

DNSSubtree = Annotated[str, AfterValidator(_subtree_domain), Said("a domain")]
Network = Annotated[str, AfterValidator(check_network), Said("a network such as 10.0.0.0/8")]
EmailSubtree = Annotated[str, AfterValidator(_subtree_email), Said("a mailbox, a host or .domain")]
URISubtree = Annotated[str, AfterValidator(_subtree_uri), Said("a host or .domain")]
DirectorySubtree = Annotated[str, AfterValidator(_directory), Said("RFC 4514 text such as O=Example Corp,C=NL")]
