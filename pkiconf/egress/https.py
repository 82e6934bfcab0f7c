"""HTTPS to services that an operator has named, over one pool of connections for the process.

A connection is kept for the next request to the same service: a new one costs a handshake each time. An exchange ends
by one moment, from looking up the name to the last octet: `httpcore` by itself takes time-outs for each of its
operations, which begin anew with every octet that drips, and `httpx` above it hands no streams of ours through.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.errors import Malformed, Unavailable

if TYPE_CHECKING:
    import httpcore

SECONDS: Final = 15.0
LARGEST: Final = 1 << 20
_AGENT: Final = "pkiconf"
_CONNECTIONS: Final = 64
_KEPT_SECONDS: Final = 30.0
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MISPLACED: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class HTTPSAnswer:
    """Whatever its status; names of `headers` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreached(Unavailable):
    """There was no connection, or it broke before there was an answer: asking again may help."""


class Redirected(Unavailable):
    """The service names another URL, which was not asked; `location` is its header, empty without one."""

    def __init__(self, where: str, status: int, location: str) -> None:
        super().__init__(
            f"{where} redirects to {(location or 'nowhere')[:200]!r}", "Redirects are not followed; name that URL"
        )
        self.status = status
        self.location = location


class HTTPSClient(Protocol):
    """What `SharedHTTPS` does; tests hand in their own."""

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = LARGEST,
        seconds: float = SECONDS,
    ) -> HTTPSAnswer:
        """The answer, whatever its status, of at most `limit` octets.

        Redirects are not followed: whoever named the URL did not name the next one. Raises Malformed for a URL that is
        not https, Unavailable for everything that the network or the server does: Unreached, Redirected, and itself
        for an answer that is late, too long or no HTTP.
        """
        ...

    def close(self) -> None: ...


@dataclass
class SharedHTTPS:
    """The real one: certificates are checked against `trust`, by default the system's. It connects when it is first
    asked, so whoever forks does it before. It takes no proxy that a shell happened to name."""

    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context
    _pool: httpcore.ConnectionPool | None = None
    _making: threading.Lock = field(default_factory=threading.Lock)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = LARGEST,
        seconds: float = SECONDS,
    ) -> HTTPSAnswer:
        import httpcore

        where = _where(url)
        # The body as it is on the wire: a coding could unfold to any size.
        asked = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}.items()
        try:
            with (
                _until(Deadline.within(seconds)),
                self._shared().stream(
                    method, url, headers=list(asked), content=body, extensions={"timeout": {"pool": seconds}}
                ) as answer,
            ):
                found = HTTPSAnswer(answer.status, _plain(answer.headers), _read(answer, where, limit))
        except (httpcore.TimeoutException, TimeoutError):
            raise Unavailable(f"{where} gave no whole answer within {seconds:g} seconds") from None
        except httpcore.NetworkError as ex:
            raise Unreached(f"{where} cannot be reached: {ex}", "Is it running, is the URL right?") from None
        except httpcore.RemoteProtocolError as ex:
            if _ENDED in f"{ex}":
                raise Unreached(f"{where} closed the connection without an answer") from None
            raise Unavailable(f"{where} gave no HTTP answer: {ex}") from None
        except httpcore.LocalProtocolError as ex:
            raise Malformed(f"what was to be sent to {where} is no HTTP: {ex}") from None
        if found.status in _REDIRECTS:
            raise Redirected(where, found.status, found.headers.get("location", ""))
        return found

    def close(self) -> None:
        """What is kept open is closed; asked again, it connects again."""
        with self._making:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _shared(self) -> httpcore.ConnectionPool:
        with self._making:
            if self._pool is None:
                self._pool = _make_pool(self.trust())
            return self._pool


_ENDED: Final = "without sending a response"  # httpcore has one exception for this and for what is no HTTP


def _make_pool(trust: ssl.SSLContext) -> httpcore.ConnectionPool:
    import httpcore  # only whoever asks somebody pays for it

    from pkiconf.egress.https_streams import Backend

    return httpcore.ConnectionPool(
        ssl_context=trust,
        max_connections=None,
        max_keepalive_connections=_CONNECTIONS,
        keepalive_expiry=_KEPT_SECONDS,
        network_backend=Backend(_left),
    )


_current = threading.local()


@contextmanager
def _until(deadline: Deadline) -> Iterator[None]:
    """What this thread reads and writes ends by then."""
    _current.deadline = deadline
    try:
        yield
    finally:
        _current.deadline = None


def _left() -> float | None:
    deadline: Deadline | None = getattr(_current, "deadline", None)
    return deadline.left() if deadline is not None else None


def _where(url: str) -> str:
    try:
        parts = urlsplit(url)
        readable = parts.port is None or parts.port > 0
    except ValueError:
        readable = False
    if not readable or parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise Malformed(f"{url!r} is not an https URL", "Write https://host/path, without a user name")
    if _MISPLACED.search(url) or parts.fragment:
        raise Malformed(f"{url!r} holds characters that are not sent", "Escape them, and leave out a fragment")
    return f"https://{parts.netloc}"


def _plain(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Of one that came twice the last value counts."""
    return {name.decode("ascii").lower(): value.decode("latin-1") for name, value in headers}


def _read(answer: httpcore.Response, where: str, limit: int) -> bytes:
    body = bytearray()
    for piece in answer.iter_stream():
        body += piece
        if len(body) > limit:
            raise Unavailable(f"{where} answered more than {limit} octets", "Is it the right URL?")
    return bytes(body)
