"""Whose request it is: the peer's address, or what trusted proxies in between say."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

import falcon

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Sets `req.context.client`, text that is an address (or empty for a peer that has none), and `req.context.secure`:
    whether the client spoke TLS, to us or to a trusted proxy that says so at the right end of X-Forwarded-Proto.

    X-Forwarded-For is read only when the peer is a trusted proxy, from the right, up to the first address that is
    none: what stands further left may have been written by anybody. Headers about client certificates are not read
    at all.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: Final[tuple[Network, ...]] = tuple(ipaddress.ip_network(text, strict=False) for text in trusted)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        peer = str(req.env.get("REMOTE_ADDR") or "")
        secure = req.env.get("wsgi.url_scheme") == "https"
        if self._trusted:
            secure = secure or self._is_forwarded_securely(req, peer)
            peer = self._find(peer, req.get_header("X-Forwarded-For") or "")
        req.context.secure, req.context.client = secure, peer

    def _find(self, peer: str, forwarded: str) -> str:
        client = parse_address(peer)
        if client is None:
            return peer
        for hop in reversed(forwarded.split(",")):
            before = parse_address(hop) if self._is_trusted(client) else None
            if before is None:
                break
            client = before
        return str(client)

    def _is_forwarded_securely(self, req: falcon.Request, peer: str) -> bool:
        address = parse_address(peer)
        if address is None or not self._is_trusted(address):
            return False
        # What stands further left than the trusted proxy's own word may have been written by the client.
        return (req.get_header("X-Forwarded-Proto") or "").rpartition(",")[2].strip().lower() == "https"

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: with a port or without, IPv6 in brackets or not. None for anything else.

    IPv4 inside IPv6 becomes IPv4, so that it is found in the networks it is written in.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        # A zone (fe80::1%eth0) may hold any text, which has no place in a log.
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
