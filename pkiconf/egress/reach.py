"""Connections to addresses that were checked: resolved once, judged by the rules, and connected to as they are."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.unproved import Unproved, reason
from pkiconf.model.acme import ProblemType
from pkiconf.policy.caa import CAARecord
from pkiconf.policy.targets import Address, TargetRules

_MOST_OF_A_KIND: Final = 2
_IPV6_SECONDS: Final = 3.0  # a broken IPv6 must leave time for IPv4


class Names(Protocol):
    """What `Resolver` does; tests hand in their own."""

    def addresses(self, name: str, deadline: Deadline) -> tuple[Address, ...]: ...
    def texts(self, name: str, deadline: Deadline) -> tuple[bytes, ...]: ...
    def caa(self, name: str, deadline: Deadline) -> tuple[CAARecord, ...]: ...


Connect = Callable[[Address, int, float], socket.socket]
"""A connected socket to an address and a port, within so many seconds. Raises OSError."""


def connect(address: Address, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    s = socket.socket(family, socket.SOCK_STREAM)
    try:
        s.settimeout(seconds)
        s.connect((str(address), port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        s.close()
        raise
    return s


@dataclass(frozen=True, slots=True)
class Reach:
    names: Names
    rules: TargetRules
    connect: Connect = connect

    def open(self, host: str, port: int, deadline: Deadline) -> tuple[socket.socket, Address]:
        """A connection to a host, an address or a name, and where it went. Raises Unproved: `dns`, `connection`."""
        failures = []
        for address in self._targets(host, deadline):
            wait = deadline.part(_IPV6_SECONDS) if address.version == 6 else deadline
            try:
                return self.connect(address, port, wait.left()), address
            except OSError as ex:
                failures.append(f"{where(address, port)} {reason(ex)}")
            if deadline.is_over:
                break
        raise Unproved(
            ProblemType.CONNECTION, f"no connection to {host}: {', '.join(failures)}. Is it running and reachable?"
        )

    def _targets(self, host: str, deadline: Deadline) -> Iterator[Address]:
        """What may be connected to, IPv6 first. Raises Unproved when nothing may."""
        found = _literal(host) or self.names.addresses(host, deadline)
        refused = [(address, why) for address in found if (why := self.rules.refusal(address))]
        if len(refused) == len(found):
            address, why = refused[0]
            named = f"{address}" if f"{address}" == host else f"{host} is at {address}, which"
            raise Unproved(ProblemType.CONNECTION, f"{named} is not connected to: it {why}")
        forbidden = [address for address, _ in refused]
        for version in (6, 4):
            kind = [one for one in found if one.version == version and one not in forbidden]
            yield from kind[:_MOST_OF_A_KIND]


def _literal(host: str) -> tuple[Address, ...]:
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        return ()


def where(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
