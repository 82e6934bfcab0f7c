"""Whose request it is: only what a configured proxy says is believed."""

from __future__ import annotations

import pytest

from pkiconf.endpoints.client_address import ClientAddress, parse_address
from pkiconf.settings import ProcessSettings

PROXY = "10.0.0.1"
TRUSTED = ("10.0.0.0/8", "192.0.2.53", "2001:db8:ff::/48")


class Request:
    def __init__(self, peer: str, forwarded: str | None) -> None:
        self.env = {"REMOTE_ADDR": peer, "HTTP_X_REAL_IP": "6.6.6.6", "HTTP_FORWARDED": "for=6.6.6.6"}
        self._forwarded = forwarded
        self.context = type("Context", (), {})()

    def get_header(self, name: str) -> str | None:
        return {"X-Forwarded-For": self._forwarded}.get(name)


def client(peer: str, forwarded: str | None, trusted: tuple[str, ...] = TRUSTED) -> str:
    request = Request(peer, forwarded)
    ClientAddress(trusted).process_request(request, None)  # type: ignore[arg-type]
    found: str = request.context.client
    return found


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (PROXY, "203.0.113.9", "203.0.113.9"),
        (PROXY, " 203.0.113.9 ", "203.0.113.9"),
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        # Two trusted proxies in a row; what stands left of the client is the client's own invention.
        (PROXY, "203.0.113.9, 10.1.1.1", "203.0.113.9"),
        (PROXY, "127.0.0.1, 203.0.113.9, 10.1.1.1, 192.0.2.53", "203.0.113.9"),
        (PROXY, "10.9.9.9, 203.0.113.9", "203.0.113.9"),
        # Nobody but trusted proxies: the first of them.
        (PROXY, "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        # Whoever is no trusted proxy is not listened to, wherever it sits.
        ("203.0.113.9", "127.0.0.1", "203.0.113.9"),
        ("192.0.2.54", "127.0.0.1", "192.0.2.54"),
        ("127.0.0.1", "203.0.113.9", "127.0.0.1"),
        # IPv6, in brackets or not, with ports, with zones, with IPv4 inside.
        (PROXY, "2001:db8::7", "2001:db8::7"),
        (PROXY, "[2001:db8::7]:4711", "2001:db8::7"),
        (PROXY, "[2001:DB8::7]", "2001:db8::7"),
        (PROXY, "203.0.113.9:4711", "203.0.113.9"),
        (PROXY, "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "127.0.0.1", "203.0.113.9"),
        ("2001:db8:ff::1", "203.0.113.9, 2001:db8:ff:0:1::", "203.0.113.9"),
        ("fe80::1%eth0", "203.0.113.9", "fe80::1"),
        # Garbage ends the search: what is further left is not believed either.
        (PROXY, "203.0.113.9, garbage", PROXY),
        (PROXY, "203.0.113.9, garbage, 10.1.1.1", "10.1.1.1"),
        (PROXY, "garbage", PROXY),
        (PROXY, "unknown", PROXY),
        (PROXY, "_hidden", PROXY),
        (PROXY, ",,,", PROXY),
        (PROXY, "203.0.113.9,", PROXY),
        (PROXY, "203.0.113.999", PROXY),
        (PROXY, "203.0.113.09", PROXY),
        (PROXY, "0x7f000001", PROXY),
        (PROXY, "2130706433", PROXY),
        (PROXY, "1.2.3.4 \"forged\" GET /", PROXY),
        (PROXY, "fe80::1%\nforged line", "fe80::1"),
        (PROXY, "203.0.113.9/24", PROXY),
        (PROXY, "a" * 8000, PROXY),
        # Peers that are no address: a Unix socket, for one.
        ("", "203.0.113.9", ""),
        ("unix:", "203.0.113.9", "unix:"),
    ],
)  # fmt: skip
def test_clients(peer: str, forwarded: str | None, expected: str) -> None:
    assert client(peer, forwarded) == expected


def test_nobody_is_trusted_unless_configured() -> None:
    for peer in ("127.0.0.1", "::1", PROXY):
        assert client(peer, "203.0.113.9", ()) == peer


def test_a_long_chain_of_proxies_ends() -> None:
    assert client(PROXY, ",".join(["10.1.1.1"] * 100_000)) == "10.1.1.1"


@pytest.mark.parametrize("text", ["", " ", ":", "::", "[", "[]", "]", "[::1", "1.2.3.4:", "1.2.3.4:x", "::1]"])
def test_odd_texts_never_raise(text: str) -> None:
    parse_address(text)


@pytest.mark.parametrize("network", ["nonsense", "10.0.0.0/33", "300.1.1.1", "example.org", "10.0.0.0-10.0.0.9"])
def test_networks_that_are_none_are_told_at_once(network: str) -> None:
    with pytest.raises(ValueError, match="network"):
        ProcessSettings(trusted_proxies=("10.0.0.0/8", network))
    assert ProcessSettings(trusted_proxies="10.0.0.1/8, ::1").trusted_proxies == ("10.0.0.1/8", "::1")
