"""Names as policies and bindings list them: exact, `*.d` (d and everything below), `*`, an address, a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from pkiconf.der.names import to_a_labels
from pkiconf.model.acme import Identifier, IdentifierType

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Compiled. `below` holds domains that cover themselves and everything below; `any_name` covers every DNS name,
    and no address."""

    exact: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()
    any_name: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def compile(cls, texts: Iterable[str]) -> NamePatterns:
        """Patterns that `spec` has accepted. Raises Refused for a U-label that is none."""
        exact: set[str] = set()
        below: set[str] = set()
        networks: list[Network] = []
        any_name = False
        for text in texts:
            if text == "*":
                any_name = True
            elif (network := _find_network(text)) is not None:
                networks.append(network)
            elif text.startswith("*."):
                below.add(_domain(text[2:]))
            else:
                exact.add(_domain(text))
        return cls(frozenset(exact), frozenset(below), any_name, tuple(networks))

    def covers(self, identifier: Identifier) -> bool:
        """A wildcard is covered where every name it stands for is."""
        if identifier.type is IdentifierType.IP:
            address = ipaddress.ip_address(identifier.value)
            return any(address in network for network in self.networks)
        if self.any_name:
            return True
        name = identifier.value.removeprefix("*.")
        if not identifier.is_wildcard and name in self.exact:
            return True
        # Each domain above it, the name itself first: as many look-ups as the name has labels.
        while name:
            if name in self.below:
                return True
            name = name.partition(".")[2]
        return False


def is_preapproved(patterns: NamePatterns, identifier: Identifier) -> bool:
    """Whether the identifier needs no challenge (F101, F102)."""
    return patterns.covers(identifier)


def _domain(text: str) -> str:
    return to_a_labels(text.lower().removesuffix(".")).lower()


def _find_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
