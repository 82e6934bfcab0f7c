"""Name constraints of a whole chain (RFC 5280 §4.2.1.10, §6.1.4 g).

Every certificate above has its say: a name must lie inside one permitted subtree of its type in *each*
certificate that permits any of that type, and outside every excluded one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from pkiconf.der.names import parse_name_text
from pkiconf.errors import Refused
from pkiconf.model.names import (
    NAME_TYPES,
    URI,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    Name,
    NameConstraints,
    NameType,
    RFC822Name,
)
from pkiconf.policy.claims import IN_COMMON_NAME, Claim, claims_of
from pkiconf.policy.domains import is_within, reaches

Test = Callable[[GeneralName], bool]
Subtrees = Mapping[NameType, Sequence[tuple[str, Test]]]

_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:\[\]]+)(?::\d*)?(?:[/?#]|$)")
_SUBJECT: Final = "as the subject"


def check_name_constraints(
    subject: Name,
    sans: Sequence[GeneralName],
    constraints: Sequence[NameConstraints],
    *,
    end_entity: bool = True,
) -> None:
    """Raise Refused unless every name that `subject` and `sans` claim fits `constraints`, which holds those of
    every certificate of the issuing chain."""
    check_claims(claims_of(subject, sans, end_entity=end_entity), subject, constraints)


def check_claims(claims: Sequence[Claim], subject: Name, constraints: Sequence[NameConstraints]) -> None:
    """The same over `claims` that are already at hand."""
    if not constraints:
        return
    judged = [claim for claim in claims if not _is_single_label(claim)]
    if subject.rdns:
        judged.append(Claim(DirectoryName(subject), _SUBJECT))
    for constraint in constraints:
        permitted, excluded = _compiled(constraint)
        for claim in judged:
            _check_claim(claim, permitted, excluded)


def _is_single_label(claim: Claim) -> bool:
    """A common name without a dot is a word to whoever applies constraints."""
    return claim.place == IN_COMMON_NAME and isinstance(claim.name, DNSName) and "." not in claim.name.value


def _check_claim(claim: Claim, permitted: Subtrees, excluded: Subtrees) -> None:
    kind = NAME_TYPES[type(claim.name)]
    for text, matches in excluded.get(kind, ()):
        if matches(claim.name):
            raise Refused(f"{claim} is excluded by the issuer's name constraints ({kind}:{text})")
    allowed = permitted.get(kind, ())
    if allowed and not any(matches(claim.name) for _, matches in allowed):
        listed = ", ".join(f"{kind}:{text}" for text, _ in allowed)
        raise Refused(f"{claim} lies outside the issuer's name constraints", f"Permitted: {listed}")


@lru_cache(maxsize=512)
def _compiled(constraints: NameConstraints) -> tuple[Subtrees, Subtrees]:
    return _subtrees(constraints.permitted, _PERMITS), _subtrees(constraints.excluded, _EXCLUDES)


def _subtrees(rows: Sequence[tuple[NameType, str]], makers: Mapping[NameType, Callable[[str], Test]]) -> Subtrees:
    subtrees: dict[NameType, list[tuple[str, Test]]] = {}
    for kind, text in rows:
        subtrees.setdefault(kind, []).append((text, makers.get(kind, _unjudged)(text)))
    return subtrees


def _unjudged(text: str) -> Test:
    """RFC 5280 §4.2.1.10: whoever cannot process a constraint refuses the names it is about."""

    def matches(name: GeneralName) -> bool:
        raise Refused(f"the issuer constrains names of type {NAME_TYPES[type(name)]} in a way that cannot be judged")

    return matches


def _domain(text: str, contains: Callable[[str, str], bool]) -> Test:
    """`corp.example` holds itself and what is below, `.corp.example` only what is below, an empty text everything."""
    domain = text.lower().removesuffix(".")

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, DNSName)
        return not domain or (name.value.endswith(domain) if domain[0] == "." else contains(name.value, domain))

    return matches


def _network(text: str) -> Test:
    network = ipaddress.ip_network(text, strict=False)

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, IPAddress)
        return name.value in network

    return matches


def _network_or_mapped(text: str) -> Test:
    """Also holds an IPv4 address that hides in an IPv6 one (`::ffff:192.0.2.1`)."""
    within = _network(text)

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, IPAddress)
        mapped = getattr(name.value, "ipv4_mapped", None)
        return within(name) or (mapped is not None and within(IPAddress(mapped)))

    return matches


def _mailbox(text: str, fold: Callable[[str], str]) -> Test:
    """A mailbox, a host (its mailboxes), or `.domain` (mailboxes of hosts below it)."""
    local, at, host = text.rpartition("@")
    host = host.lower()

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, RFC822Name)
        mailbox, _, domain = name.value.rpartition("@")
        if at:
            return domain == host and fold(mailbox) == fold(local)
        return _is_host_in(domain, host)

    return matches


def _is_host_in(host: str, constraint: str) -> bool:
    return host.endswith(constraint) if constraint.startswith(".") else host == constraint


def _uri_host(text: str) -> Test:
    constraint = text.lower()

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, URI)
        return _is_host_in(_host_of(name.value), constraint)

    return matches


def _host_of(uri: str) -> str:
    found = _HOST.match(uri)
    host = found[1].lower().removesuffix(".") if found else ""
    if not host or host.rpartition(".")[2].isdigit():
        # RFC 5280 §4.2.1.10: a URI without a host name cannot satisfy a constraint on URIs.
        raise Refused(f"uri:{uri} has no host name, which the issuer's name constraints ask for")
    return host


def _directory(text: str) -> Test:
    base = normalized(parse_name_text(text))

    def matches(name: GeneralName) -> bool:
        assert isinstance(name, DirectoryName)
        return has_prefix(normalized(name.value), base)

    return matches


Normalized = tuple[frozenset[tuple[str, str]], ...]


def normalized(name: Name) -> Normalized:
    """For comparing: case and runs of blanks do not count (RFC 5280 §7.1)."""
    return tuple(frozenset((a.oid, " ".join(a.value.casefold().split())) for a in rdn) for rdn in name.rdns)


def has_prefix(name: Normalized, base: Normalized) -> bool:
    """`name` lies in the subtree that `base` is the root of."""
    return name[: len(base)] == base


_PERMITS: Final[Mapping[NameType, Callable[[str], Test]]] = {
    NameType.DNS: lambda text: _domain(text, is_within),
    NameType.IP: _network,
    NameType.EMAIL: lambda text: _mailbox(text, str),
    NameType.URI: _uri_host,
    NameType.DIRECTORY: _directory,
}
# What is excluded is matched generously: a wildcard that reaches it, another spelling of the same mailbox or address.
_EXCLUDES: Final[Mapping[NameType, Callable[[str], Test]]] = {
    **_PERMITS,
    NameType.DNS: lambda text: _domain(text, reaches),
    NameType.IP: _network_or_mapped,
    NameType.EMAIL: lambda text: _mailbox(text, str.casefold),
}
