"""http-01 (RFC 8555 §8.3, RFC 8738 §4): a GET that follows redirects, and checks each of them like the first."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urljoin, urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.http_bounds import MOST_OF_HEAD, bind, complaint, read_body
from pkiconf.egress.reach import Reach, where
from pkiconf.egress.unproved import Unproved, reason, shown
from pkiconf.model.acme import Identifier, ProblemType
from pkiconf.policy.targets import Address

_PATH: Final = "/.well-known/acme-challenge/"
_OK: Final = 200
_REDIRECTS: Final = (301, 302, 307, 308)
_MOST_REDIRECTS: Final = 10
_MORE_THAN_NEEDED: Final = 128
_PORTS: Final = {"http": 80, "https": 443}
_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]{1,2000}")
_HOST: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a GET goes. `host` is a name in lower case, or an address in its canonical text without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True)
class Answer:
    """`location` is the header's value, empty without one; `body` has at most one octet more than was asked for."""

    status: int
    location: bytes
    body: bytes


def check_http(identifier: Identifier, token: str, expected: str, port: int, reach: Reach, deadline: Deadline) -> None:
    """Raise Unproved unless what stands behind the token is the key authorization `expected`, possibly with white
    space behind it. `port` is where to ask first."""
    place = Place("http", identifier.value, port, _PATH + token)
    seen = set()
    for _ in range(1 + _MOST_REDIRECTS):
        if place in seen:
            raise Unproved(ProblemType.INCORRECT_RESPONSE, f"redirects go round in a circle, at {shown_place(place)}")
        seen.add(place)
        answer, address = _fetch(place, len(expected) + _MORE_THAN_NEEDED, reach, deadline)
        if answer.status not in _REDIRECTS:
            # What stands behind a redirect may be an internal page that the client could not read itself.
            said = shown(answer.body) if len(seen) == 1 else f"with {len(answer.body)} octets"
            _check(answer, f"{shown_place(place)} ({where(address, place.port)})", expected, said)
            return
        place = _redirected(place, answer, port)
    raise Unproved(ProblemType.INCORRECT_RESPONSE, f"more than {_MOST_REDIRECTS} redirects, to {shown_place(place)}")


def _fetch(place: Place, most: int, reach: Reach, deadline: Deadline) -> tuple[Answer, Address]:
    s, address = reach.open(place.host, place.port, deadline)
    at = f"{shown_place(place)} ({where(address, place.port)})"
    try:
        if place.scheme == "https":
            s.settimeout(deadline.left())
            # Whose certificate it is does not matter: the one that proves it is what is asked for.
            name = place.host if not _is_address(place.host) else None
            s = _unverified().wrap_socket(s, server_hostname=name)
        return _get(s, place, most, deadline), address
    except ssl.SSLError as ex:
        raise Unproved(ProblemType.TLS, f"{at}: {reason(ex)}") from None
    except TimeoutError:
        raise Unproved(ProblemType.CONNECTION, f"{at} gave no whole answer in time") from None
    except http.client.HTTPException as ex:
        raise Unproved(ProblemType.CONNECTION, f"what {at} answered is not HTTP: {complaint(ex)}") from None
    except OSError as ex:
        raise Unproved(ProblemType.CONNECTION, f"{at}: {reason(ex)}") from None
    finally:
        s.close()


def _get(s: socket.socket, place: Place, most: int, deadline: Deadline) -> Answer:
    """Of a redirect no body is read. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection(place.host, place.port)
    bind(connection, s, deadline, MOST_OF_HEAD + most)
    headers = {"Host": place.authority, "User-Agent": "pkiconf", "Accept": "*/*", "Connection": "close"}
    connection.request("GET", place.target, headers=headers)
    with connection.getresponse() as answer:
        location = answer.headers.get("Location", "").strip(" \t").encode("latin-1")
        body = b"" if answer.status in _REDIRECTS else read_body(answer, most)
        return Answer(answer.status, location, body)


def _check(answer: Answer, at: str, expected: str, said: str) -> None:
    """`said` is what a client may hear of the body."""
    if answer.status != _OK:
        raise Unproved(
            ProblemType.INCORRECT_RESPONSE,
            f"{at} answered {answer.status} {said}. Serve the key authorization there, with status 200",
        )
    if len(answer.body) > len(expected) + _MORE_THAN_NEEDED:
        raise Unproved(
            ProblemType.INCORRECT_RESPONSE,
            f"{at} answered with a far longer text: {said}. Serve the key authorization alone",
        )
    if answer.body.rstrip() != expected.encode("ascii"):
        raise Unproved(
            ProblemType.INCORRECT_RESPONSE,
            f"{at} answered {said} where {shown(expected.encode('ascii'))} is expected: "
            "the token, a dot and the thumbprint of the account's key",
        )


def _redirected(place: Place, answer: Answer, port: int) -> Place:
    said = f"{shown_place(place)} redirects to {shown(answer.location, 200)}"
    if not _PRINTABLE.fullmatch(answer.location):
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{said}, which is not a URL")
    try:
        parts = urlsplit(urljoin(f"{place}", answer.location.decode("ascii")))
        asked, named = parts.port, parts.hostname or ""
    except ValueError:
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{said}, which is not a URL") from None
    host = _host(named)
    if parts.scheme not in _PORTS or parts.username is not None or parts.password is not None or not host:
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{said}; only http and https URLs of a host are followed")
    goal = _PORTS[parts.scheme] if asked is None else asked
    if goal not in (*_PORTS.values(), port):
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{said}; only ports 80 and 443 are followed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, goal, target)


def _host(text: str) -> str:
    """Empty for what is neither a name nor an address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower().removesuffix(".")
        return name if _HOST.fullmatch(name) else ""


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def shown_place(place: Place) -> str:
    """A URL that somebody else may have chosen, short enough for a message."""
    text = f"{place}"
    return text if len(text) <= 200 else text[:200] + "…"


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
