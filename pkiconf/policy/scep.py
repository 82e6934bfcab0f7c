"""Which names a proof is good for, and from where SCEP may be used."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from pkiconf.der.names import general_name_text, name_text
from pkiconf.model.attributes import COMMON_NAME, EMAIL_ADDRESS
from pkiconf.model.names import URI, GeneralName, Name, OtherName
from pkiconf.model.scep import BoundNames
from pkiconf.policy.overrides import comparable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SID_TAG: Final = "tag:microsoft.com,2022-09-14:sid:"
"""How the URI begins by which Windows maps a certificate to an account."""

UPN: Final = "1.3.6.1.4.1.311.20.2.3"
"""The otherName of a user principal name."""

_V6_PREFIX = 64


def names_refusal(
    bound: BoundNames, subject: Name, sans: Sequence[GeneralName], *, subject_is_written: bool = False
) -> str:
    """Why a request with these names is none that the proof is good for; empty if it is.

    A subject has to be the same set of attributes, in any order: devices turn it round. Where none is bound, the
    subject may still not say what the alternative names do not: a common name or mailbox in it is read as a name, and
    nothing else may stand in it, unless the template writes all of it (`subject_is_written`).
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
        if not subject_is_written and any(one.oid not in (COMMON_NAME, EMAIL_ADDRESS) for one in subject.attributes):
            return f"no subject is granted, and {name_text(subject)} holds more than names"
    return ""


def unvouched_refusal(sans: Sequence[GeneralName], allowed_types: Collection[str] | None) -> str:
    """Why a request whose alternative names nobody vouched for may not have them; empty if it may.

    A directory maps a SID tag, or a user principal name, to an account: whoever has one in a certificate is that
    account. `allowed_types` are the types of otherName that the template lists, None where it lists none.
    """
    for name in sans:
        if isinstance(name, URI) and unquote(name.value).strip().lower().startswith(SID_TAG):
            return f"{name.value} is a SID, which Intune, a bound challenge or a person has to vouch for"
        if isinstance(name, OtherName) and name.type_id == UPN and not {UPN, "*"} & set(allowed_types or ()):
            return "a user principal name is asked for, which names.allow.othername of the template does not list"
    return ""


def is_allowed_from(networks: Collection[Network] | None, address: Address | None) -> bool:
    """Whether a client at `address` may come in; where nothing is listed everybody may, and where something is nobody
    whose address is not known."""
    if networks is None:
        return True
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=256)
def client_of(address: Address | None) -> str:
    """What wrong passphrases are counted for: whoever has one IPv6 address has 2⁶⁴ of them."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, _V6_PREFIX), strict=False))
    return str(address) if address is not None else "unknown"


@lru_cache(maxsize=256)  # asked for at several doors of one request, and reading one takes longer than most of them
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
