"""Which names a proof is good for, and from where SCEP may be used."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from pkiconf.der.names import general_name_text, name_text
from pkiconf.model.attributes import COMMON_NAME, EMAIL_ADDRESS
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.scep import BoundNames
from pkiconf.policy.overrides import comparable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_V6_PREFIX = 64


def names_refusal(bound: BoundNames, subject: Name, sans: Sequence[GeneralName]) -> str:
    """Why a request with these names is none that the proof is good for; empty if it is.

    A subject has to be the same set of attributes, in any order: devices turn it round. Where none is bound, the
    subject may still not say what the alternative names do not: a common name or mailbox in it is read as a name.
    """
    if bound.sans is not None:
        asked, granted = set(map(comparable, sans)), set(map(comparable, bound.sans))
        if asked != granted:
            return f"the alternative names are not {_listed(bound.sans)}"
    if bound.subject is not None:
        if _attributes(subject) != _attributes(bound.subject):
            return f"the subject is not {name_text(bound.subject) or 'empty'}"
    elif bound.sans is not None:
        beyond = [value for value in _named_in(subject) if value.lower() not in _values(bound.sans)]
        if beyond:
            return f"the subject names {', '.join(beyond)}, which is none of {_listed(bound.sans)}"
    return ""


def is_allowed_from(networks: Collection[Network] | None, address: Address | None) -> bool:
    """Whether a client at `address` may come in; where nothing is listed everybody may, and where something is nobody
    whose address is not known."""
    if networks is None:
        return True
    return address is not None and any(address in network for network in networks)


def client_of(address: Address | None) -> str:
    """What wrong passphrases are counted for: whoever has one IPv6 address has 2⁶⁴ of them."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, _V6_PREFIX), strict=False))
    return str(address) if address is not None else "unknown"


def find_address(text: str) -> Address | None:
    """IPv4 inside IPv6 is the IPv4 address. None for what is no address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _attributes(name: Name) -> Counter[tuple[str, str]]:
    return Counter((attribute.oid, attribute.value) for attribute in name.attributes)


def _named_in(subject: Name) -> tuple[str, ...]:
    return (*subject.values(COMMON_NAME), *subject.values(EMAIL_ADDRESS))


def _values(sans: Iterable[GeneralName]) -> frozenset[str]:
    return frozenset(general_name_text(name).partition(":")[2].lower() for name in sans)


def _listed(sans: Sequence[GeneralName]) -> str:
    return ", ".join(general_name_text(name) for name in sans) or "none"
