"""A template's `names`: which names it may put into a certificate."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pkiconf.der.names import parse_name_text, to_a_labels
from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import (
    NAME_TYPES,
    URI,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    Name,
    NameType,
    OtherName,
    RFC822Name,
)
from pkiconf.policy.claims import IN_COMMON_NAME, Claim
from pkiconf.policy.constraints import has_prefix, normalized
from pkiconf.policy.domains import is_within, reaches, stands_for
from pkiconf.spec.template import NameRules, NamesSpec

Pattern = Callable[[GeneralName], bool]
Patterns = tuple[Pattern, ...]

_ANY: Final = "*"
_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:)(?://(?:[^/?#@]*@)?(?P<host>[^/?#:]*))?(?P<rest>.*)", re.DOTALL
)
_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2e){1,2}(?:[/?#]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NamePolicy:
    """Compiled `names`. `allow` is None where everything is allowed that is not denied."""

    allow: Mapping[NameType, Patterns] | None
    deny: Mapping[NameType, Patterns]
    allow_common_name: Patterns | None
    deny_common_name: Patterns
    wildcards: bool


def compile_names(spec: NamesSpec) -> NamePolicy:
    """Raises Refused for a pattern that cannot be read, naming it."""
    deny = spec.deny or NameRules()
    return NamePolicy(
        allow=None if spec.allow is None else _compile(spec.allow, "names.allow", _ALLOW),
        deny=_compile(deny, "names.deny", _DENY),
        allow_common_name=_common_names(spec.allow, is_within) if spec.allow and spec.allow.cn is not None else None,
        deny_common_name=_common_names(deny, reaches),
        wildcards=spec.wildcards,
    )


def check_names(policy: NamePolicy, subject: Name, claims: Sequence[Claim]) -> None:
    """Raise Refused for a name that the template does not allow, wherever it stands.

    A common name that looks like a host, an address or a mailbox needs that name to be allowed, unless
    `names.allow.cn` says which common names are.
    """
    for value in subject.values(COMMON_NAME):
        _check_common_name(policy, value)
    for claim in claims:
        _check_claim(policy, claim)


def _check_common_name(policy: NamePolicy, value: str) -> None:
    name = DNSName(value.strip().lower().removesuffix("."))
    if policy.allow_common_name is not None and not _matches(policy.allow_common_name, name):
        raise Refused(f"common name {value!r} is not allowed by the template", "See its names.allow.cn")
    if _matches(policy.deny_common_name, name):
        raise Refused(f"common name {value!r} is denied by the template", "See its names.deny.cn")


def _check_claim(policy: NamePolicy, claim: Claim) -> None:
    name = claim.name
    kind = NAME_TYPES[type(name)]
    if not policy.wildcards and isinstance(name, DNSName) and name.value.startswith("*."):
        raise Refused(f"{claim} is a wildcard, which the template does not allow")
    if _matches(policy.deny.get(kind, ()), name):
        raise Refused(f"{claim} is denied by the template", f"See its names.deny.{kind}")
    if policy.allow is None or (claim.place == IN_COMMON_NAME and policy.allow_common_name is not None):
        return
    patterns = policy.allow.get(kind)
    if patterns is None:
        raise Refused(f"{claim} is of a type that the template does not allow", _remedy(kind, claim))
    if not _matches(patterns, name):
        raise Refused(f"{claim} is not allowed by the template", _remedy(kind, claim))


def _matches(patterns: Patterns, name: GeneralName) -> bool:
    # A loop: any() over a generator costs three times as much, and this runs for every name of every certificate.
    for matches in patterns:  # noqa: SIM110
        if matches(name):
            return True
    return False


def _remedy(kind: NameType, claim: Claim) -> str:
    other = ", or the common name under names.allow.cn" if claim.place == IN_COMMON_NAME else ""
    return f"The template would have to list it under names.allow.{kind}{other}"


Maker = Callable[[str], Pattern]


def _compile(rules: NameRules, where: str, makers: Mapping[NameType, Maker]) -> Mapping[NameType, Patterns]:
    compiled = {}
    for kind, make in makers.items():
        texts: Iterable[str] | None = getattr(rules, kind.value)
        if texts is not None:
            compiled[kind] = tuple(_pattern(make, text, f"{where}.{kind}") for text in texts)
    return compiled


def _pattern(make: Maker, text: str, where: str) -> Pattern:
    if text == _ANY:
        return lambda name: True
    try:
        return make(text)
    except (Malformed, Refused) as error:
        raise Refused(f"{where}: {text!r}: {error.detail}", error.hint) from None


def _common_names(rules: NameRules, contains: Callable[[str, str], bool]) -> Patterns:
    return tuple(_pattern(lambda t: _text_pattern(t, contains), text, "names.*.cn") for text in rules.cn or ())


def _text_pattern(text: str, contains: Callable[[str, str], bool]) -> Pattern:
    """`*.d` is d and everything below, anything else is exact; case does not count."""
    if text.startswith("*."):
        domain = text[2:].lower()
        return lambda name: isinstance(name, DNSName) and contains(name.value, domain)
    exact = text.lower()
    same: Callable[[str, str], bool] = stands_for if contains is reaches else str.__eq__
    return lambda name: isinstance(name, DNSName) and same(name.value, exact)


def _domain_pattern(text: str, contains: Callable[[str, str], bool]) -> Pattern:
    domain = to_a_labels(text.lower().removesuffix("."))
    return _text_pattern(domain, contains)


def _network(text: str) -> Pattern:
    network = ipaddress.ip_network(text)
    return lambda name: isinstance(name, IPAddress) and name.value in network


def _network_or_mapped(text: str) -> Pattern:
    """Also an IPv4 address that hides in an IPv6 one (`::ffff:192.0.2.1`)."""
    within = _network(text)

    def matches(name: GeneralName) -> bool:
        mapped = getattr(name.value, "ipv4_mapped", None)
        return within(name) or (mapped is not None and within(IPAddress(mapped)))

    return matches


def _mailbox(text: str, fold: Callable[[str], str]) -> Pattern:
    """`a@b` one mailbox, `@host` every mailbox of that host, `@.domain` those of hosts below the domain."""
    local, _, host = text.rpartition("@")
    host = to_a_labels(host.lower().removeprefix("."))
    below = text.startswith("@.")

    def matches(name: GeneralName) -> bool:
        if not isinstance(name, RFC822Name):
            return False
        mailbox, _, domain = name.value.rpartition("@")
        if below:
            return domain.endswith("." + host)
        return domain == host and (not local or fold(mailbox) == fold(local))

    return matches


def _uri_prefix(text: str) -> Pattern:
    prefix = _plain_uri(text)
    closed = prefix.endswith(("/", "?", "#", "=", "&")) or (prefix.endswith(":") and "//" not in prefix)
    ends = "/?#" if "//" in prefix else "/?#:"

    def matches(name: GeneralName) -> bool:
        """A prefix ends where a part of the URI ends: https://a.example does not begin https://a.example.evil."""
        if not isinstance(name, URI) or _DOT_SEGMENT.search(name.value):
            return False
        uri = _plain_uri(name.value)
        return uri.startswith(prefix) and (closed or uri[len(prefix) : len(prefix) + 1] in ends)

    return matches


def _uri_start(text: str) -> Pattern:
    prefix = _plain_uri(text)
    return lambda name: isinstance(name, URI) and _plain_uri(name.value).startswith(prefix)


def _plain_uri(uri: str) -> str:
    """Scheme and host in lower case, without user information (RFC 3986 §6.2.2.1, §3.2.1)."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise Refused(f"{uri!r} is not a URI with a scheme")
    host = f"//{found['host'].lower().removesuffix('.')}" if found["host"] is not None else ""
    return found["scheme"].lower() + host + found["rest"]


def _identifier(text: str) -> Pattern:
    return lambda name: text == (name.type_id if isinstance(name, OtherName) else getattr(name, "value", None))


def _directory(text: str) -> Pattern:
    base = normalized(parse_name_text(text))
    return lambda name: isinstance(name, DirectoryName) and has_prefix(normalized(name.value), base)


_ALLOW: Final[Mapping[NameType, Maker]] = {
    NameType.DNS: lambda text: _domain_pattern(text, is_within),
    NameType.IP: _network,
    NameType.EMAIL: lambda text: _mailbox(text, str),
    NameType.URI: _uri_prefix,
    NameType.RID: _identifier,
    NameType.DIRECTORY: _directory,
    NameType.OTHER: _identifier,
}
# What is denied is matched generously: a wildcard that reaches it, another spelling of the same thing.
_DENY: Final[Mapping[NameType, Maker]] = {
    **_ALLOW,
    NameType.DNS: lambda text: _domain_pattern(text, reaches),
    NameType.IP: _network_or_mapped,
    NameType.EMAIL: lambda text: _mailbox(text, str.casefold),
    NameType.URI: _uri_start,
}
