"""Identifiers as clients write them (RFC 8555 §7.1.4, RFC 8738), read into one spelling."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from pkiconf.der.name_syntax import check_dns_name, quoted
from pkiconf.der.names import to_a_labels
from pkiconf.errors import Refused
from pkiconf.model.acme import ACMEProblem, Identifier, IdentifierType, Problem, ProblemType
from pkiconf.model.names import DNSName, GeneralName, IPAddress

MOST_IDENTIFIERS: Final = 100

_KNOWN: Final = " and ".join(IdentifierType)


def parse_identifiers(records: object) -> tuple[Identifier, ...]:
    """The `identifiers` of a newOrder, without repetitions, in the client's order.

    Raises ACMEProblem: `malformed` for what is no list of identifiers, is empty, or holds more than MOST_IDENTIFIERS;
    `unsupportedIdentifier` for another type; `rejectedIdentifier` for a value that no certificate could hold. Several
    bad ones make one problem, with a subproblem for each.
    """
    if not isinstance(records, list) or not records:
        raise ACMEProblem(ProblemType.MALFORMED, "identifiers must be a list of at least one identifier")
    if len(records) > MOST_IDENTIFIERS:
        detail = f"the order has {len(records)} identifiers; at most {MOST_IDENTIFIERS} go into one order"
        raise ACMEProblem(ProblemType.MALFORMED, detail)
    found: dict[Identifier, None] = {}
    bad: list[Problem] = []
    for record in records:
        try:
            found[parse_identifier(record)] = None
        except ACMEProblem as ex:
            bad.append(ex.problem)
    check_none(bad)
    return tuple(found)


def check_none(problems: Sequence[Problem]) -> None:
    """Raise ACMEProblem if there are any: the only one as it is, several under one roof (§6.7.1)."""
    if not problems:
        return
    if len(problems) == 1:
        raise ACMEProblem(problems[0].type, problems[0].detail, identifier=problems[0].identifier)
    kinds = {problem.type for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else ProblemType.COMPOUND
    detail = f"{len(problems)} identifiers cannot be ordered; the subproblems say why"
    raise ACMEProblem(kind, detail, subproblems=tuple(problems))


def parse_identifier(record: object) -> Identifier:
    """Raises ACMEProblem as `parse_identifiers` does."""
    if not isinstance(record, Mapping):
        raise ACMEProblem(ProblemType.MALFORMED, "an identifier must be an object with type and value")
    kind, value = record.get("type"), record.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        raise ACMEProblem(ProblemType.MALFORMED, "an identifier must have a type and a value, both text")
    match kind:
        case IdentifierType.DNS:
            return _dns(value)
        case IdentifierType.IP:
            return _ip(value)
    detail = f"identifiers of type {quoted(kind)} are not issued; the types are {_KNOWN}"
    raise ACMEProblem(ProblemType.UNSUPPORTED_IDENTIFIER, detail)


def _dns(value: str) -> Identifier:
    # A trailing dot is refused and not taken off: the certificate and the order would name another spelling than the
    # client keeps looking for.
    if _is_address(value):
        raise _rejected(IdentifierType.DNS, value, f"{quoted(value)} is an IP address", "Order it with type ip")
    try:
        name = to_a_labels(value).lower()
        check_dns_name(name)
    except Refused as ex:
        raise _rejected(IdentifierType.DNS, value, ex.detail, ex.hint) from None
    return Identifier(IdentifierType.DNS, name)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return False
    return True


def _ip(value: str) -> Identifier:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise _rejected(
            IdentifierType.IP, value, f"{quoted(value)} is no IP address", "Write 192.0.2.1 or 2001:db8::1 (RFC 8738)"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise _rejected(IdentifierType.IP, value, f"{quoted(value)} has a zone", "Leave out what follows %")
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:  # which of its two spellings is canonical, implementations disagree on (RFC 5952 §5)
        raise _rejected(IdentifierType.IP, value, f"{quoted(value)} is an IPv4 address in disguise", f"Write {mapped}")
    if value != str(address):
        raise _rejected(
            IdentifierType.IP, value, f"{quoted(value)} is not the canonical spelling (RFC 5952 §4)", f"Write {address}"
        )
    return Identifier(IdentifierType.IP, value)


def _rejected(kind: IdentifierType, value: str, detail: str, hint: str) -> ACMEProblem:
    text = f"{detail}. {hint}" if hint else detail
    return ACMEProblem(ProblemType.REJECTED_IDENTIFIER, text, identifier=Identifier(kind, value[:253]))


def general_name(identifier: Identifier) -> GeneralName:
    """As certificates write it."""
    if identifier.type is IdentifierType.IP:
        return IPAddress(ipaddress.ip_address(identifier.value))
    return DNSName(identifier.value)


def find_identifier(name: GeneralName) -> Identifier | None:
    """What had to be ordered for an alternative name; None for one that ACME orders nothing for."""
    if isinstance(name, DNSName):
        return Identifier(IdentifierType.DNS, name.value.lower())
    if isinstance(name, IPAddress):
        return Identifier(IdentifierType.IP, str(name.value))
    return None
