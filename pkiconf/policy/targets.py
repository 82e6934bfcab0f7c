"""May we connect to this address, because somebody who orders a certificate names it?

A private PKI validates names in private networks (RFC 1918, RFC 4193), so these are allowed. What only this machine,
its neighbours on the link or its cloud answer at is refused unless the declaration names it: there a stranger could
reach what trusts us. An address that embeds another one (mapped, NAT64, 6to4) is judged by that one as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: Final = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("169.254.169.254/32", "a cloud metadata address"),
        ("169.254.170.2/32", "a cloud metadata address"),
        ("100.100.100.200/32", "a cloud metadata address"),
        ("168.63.129.16/32", "a cloud metadata address"),
        ("fd00:ec2::254/128", "a cloud metadata address"),
        ("fd00:ec2::23/128", "a cloud metadata address"),
        ("fd20:ce::254/128", "a cloud metadata address"),
        ("fd00:42::42/128", "a cloud metadata address"),
        ("0.0.0.0/8", "an unspecified address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a reserved address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("2001::/32", "a Teredo address"),
        ("2001::/23", "a reserved address"),
    )
)
# Everything else outside these two is not assigned (RFC 4291 §2.4).
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_UNIQUE_LOCAL: Final = ipaddress.IPv6Network("fc00::/7")
# Embeddings of an IPv4 address: network, and how many bits stand behind it.
_EMBEDDINGS: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped, RFC 4291 §2.5.5.2
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated, RFC 2765
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 §2.5.5.1
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the upper half of an interface identifier


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What `settings.validation` says besides the rules that hold by themselves."""

    allowed: tuple[Network, ...] = ()
    forbidden: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allowed: Iterable[str], forbidden: Iterable[str]) -> TargetRules:
        """Of networks as the declaration writes them. Raises ValueError."""
        return cls(
            tuple(ipaddress.ip_network(text) for text in allowed),
            tuple(ipaddress.ip_network(text) for text in forbidden),
        )

    def refusal(self, address: Address) -> str:
        """Why it may not be connected to, in words that go behind the address; empty when it may."""
        looks = (address, *embedded_in(address))
        for network in self.forbidden:
            if any(look in network for look in looks):
                return f"is in {network}, which settings.validation.forbidden_networks names"
        if any(look in network for network in self.allowed for look in looks):
            return ""
        what = _what_is_refused(address)
        return f"is {what}, which settings.validation.allowed_networks does not name" if what else ""


@lru_cache(maxsize=1024)
def _what_is_refused(address: Address) -> str:
    inner = embedded_in(address)
    for look in (address, *inner):
        for network, what in _REFUSED:
            if look in network:
                return what if look is address else f"{what} ({look}) in another form"
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "an address with a zone"
        if not inner and address not in _GLOBAL and address not in _UNIQUE_LOCAL:
            return "a reserved address"
    return ""


def embedded_in(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    return tuple(_embedded(int(address), address))


def _embedded(bits: int, address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    for network, behind in _EMBEDDINGS:
        if address in network:
            yield ipaddress.IPv4Address(bits >> behind & 0xFFFFFFFF)
    if address in _COMPATIBLE and bits > 1:
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if bits >> 32 & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
