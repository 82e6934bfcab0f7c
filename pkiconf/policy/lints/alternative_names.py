"""Lints over the subject alternative name (RFC 5280 §4.2.1.6)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from pkiconf.der import oids
from pkiconf.der.tlv import SEQUENCE, Element, read_element, read_elements
from pkiconf.policy.lints.finding import Finding, LintContext, error, warning
from pkiconf.policy.lints.view import CertificateView

_SOURCE: Final = "RFC 5280 §4.2.1.6"
_LABEL: Final = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME: Final = re.compile(rb"(?:%b\.)*(?![0-9]+\Z)%b" % (_LABEL, _LABEL))
_LOCAL_PART: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}|\"[\x20-\x7e]{1,62}\"")
_URI: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")
_OTHER, _EMAIL, _DNS, _DIRECTORY, _URI_TAG, _IP, _RID = 0xA0, 0x81, 0x82, 0xA4, 0x86, 0x87, 0x88


def subject_alternative_name(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension = view.find(oids.SUBJECT_ALTERNATIVE_NAME)
    if extension is None:
        if not view.has_subject:
            yield error(
                "subject_missing", "there is neither a subject nor a subject alternative name", "RFC 5280 §4.1.2.6"
            )
        return
    if not view.has_subject and not extension.critical:
        yield error("san_critical", "the subject is empty, and its alternative name not critical", _SOURCE)
    if view.has_subject and extension.critical:
        yield warning("san_not_critical", "the subject alternative name is critical beside a subject", _SOURCE)
    yield from general_names(extension.value, "the subject alternative name")


def general_names(value: bytes, what: str) -> Iterator[Finding]:
    """Findings on each name of a GeneralNames."""
    names = read_elements(read_element(value, what, SEQUENCE).content, what)
    if not names:
        yield error("san_empty", f"{what} is an empty sequence", _SOURCE)
    if len({name.der for name in names}) != len(names):
        yield warning("san_duplicate", f"{what} holds a name twice", _SOURCE)
    for name in names:
        lint = _LINTS.get(name.tag)
        if lint is None:
            yield error("san_type", f"{what} holds a name of a kind nobody uses (tag 0x{name.tag:02x})", _SOURCE)
        else:
            yield from lint(name)


def _lint_dns(name: Element) -> Iterator[Finding]:
    text = name.content
    problem = dns_name_problem(text[2:] if text.startswith(b"*.") else text)
    if problem:
        yield error("san_dns_syntax", f"the DNS name {text!r} {problem}", _SOURCE)


def dns_name_problem(name: bytes) -> str:
    """What keeps `name` from being in the preferred name syntax (RFC 1034 §3.5), or nothing."""
    if len(name) > 253:
        return "is longer than 253 characters"
    if _DNS_NAME.fullmatch(name):
        return ""
    return "ends with a dot" if name.endswith(b".") else "is not a host name in the preferred name syntax"


def _lint_ip(name: Element) -> Iterator[Finding]:
    if len(name.content) not in (4, 16):
        yield error("san_ip_length", f"an IP address has {len(name.content)} octets, not 4 or 16", _SOURCE)


def _lint_email(name: Element) -> Iterator[Finding]:
    local, _, domain = name.content.rpartition(b"@")
    if not _LOCAL_PART.fullmatch(local) or dns_name_problem(domain):
        yield error("san_email_syntax", f"{name.content!r} is not a mailbox", _SOURCE)


def _lint_uri(name: Element) -> Iterator[Finding]:
    problem = uri_problem(name.content)
    if problem:
        yield error("san_uri_syntax", f"the URI {name.content!r} {problem}", _SOURCE)


@lru_cache(maxsize=256)
def uri_problem(uri: bytes) -> str:
    """What keeps `uri` from being an absolute URI with a host that is a name or an address, or nothing."""
    if not _URI.fullmatch(uri):
        return "is not absolute, or not ASCII"
    rest = uri.split(b":", 1)[1]
    if not rest.startswith(b"//"):
        return ""
    host = re.split(rb"[/?#]", rest[2:], maxsplit=1)[0].rpartition(b"@")[2]
    if host.startswith(b"["):
        return "" if _is_address(host[1:].split(b"]", 1)[0]) else "has a malformed address"
    host = host.split(b":", 1)[0]
    return "" if not host or _is_address(host) or not dns_name_problem(host) else "has a malformed host"


def _is_address(text: bytes) -> bool:
    try:
        ipaddress.ip_address(text.decode("ascii", "replace"))
    except ValueError:
        return False
    return True


def _lint_rid(name: Element) -> Iterator[Finding]:
    if not name.content or name.content[-1] >= 0x80:
        yield error("san_rid_syntax", "a registered identifier is not an OID", _SOURCE)


def _lint_directory(name: Element) -> Iterator[Finding]:
    if not read_element(name.content, "a directory name", SEQUENCE).content:
        yield error("san_directory_empty", "a directory name is empty", _SOURCE)


def _lint_other(name: Element) -> Iterator[Finding]:
    parts = read_elements(name.content, "an otherName")
    if [part.tag for part in parts] != [0x06, 0xA0]:
        yield error("san_other_syntax", "an otherName is not a type and a value", _SOURCE)


_LINTS: Final[Mapping[int, Callable[[Element], Iterator[Finding]]]] = MappingProxyType(
    {
        _OTHER: _lint_other,
        _EMAIL: _lint_email,
        _DNS: _lint_dns,
        _DIRECTORY: _lint_directory,
        _URI_TAG: _lint_uri,
        _IP: _lint_ip,
        _RID: _lint_rid,
    }
)
