"""HTTPS to services that an operator has named, over one pool of connections for the process.

A connection is kept for the next request to the same service: a new one costs a handshake each time.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.errors import Malformed, Unavailable

if TYPE_CHECKING:
    import httpx

SECONDS: Final = 15.0
LARGEST: Final = 1 << 20
_AGENT: Final = "pkiconf"
_CONNECTIONS: Final = 64
_KEPT_SECONDS: Final = 30.0
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class HTTPSAnswer:
    """Whatever its status; names of `headers` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
        not https, Unavailable for everything that the network or the server does.
        """
        ...

    def close(self) -> None: ...


@dataclass
class SharedHTTPS:
    """The real one: certificates are checked against `trust`, by default the system's. It connects when it is first
    asked, so whoever forks does it before."""

    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context
    _client: httpx.Client | None = None
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
        import httpx

        where = _where(url)
        deadline = Deadline.within(seconds)
        try:
            asked = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
            with self._shared().stream(method, url, content=body, headers=asked, timeout=seconds) as answer:
                found = HTTPSAnswer(
                    answer.status_code,
                    {name.lower(): value for name, value in answer.headers.items()},
                    _read(answer, where, limit, deadline),
                )
        except (httpx.TimeoutException, TimeoutError):
            raise Unavailable(f"{where} gave no whole answer within {seconds:g} seconds") from None
        except httpx.InvalidURL:
            raise Malformed(f"{url!r} is not a URL", "Write https://host/path") from None
        except httpx.ConnectError as ex:
            raise Unavailable(f"{where} cannot be reached: {_reason(ex)}", "Is it running, is the URL right?") from None
        except (httpx.HTTPError, httpx.StreamError) as ex:
            raise Unavailable(f"{where} gave no HTTP answer: {_reason(ex)}") from None
        if found.status in _REDIRECTS:
            location = found.headers.get("location", "nowhere")
            raise Unavailable(f"{where} redirects to {location[:200]!r}", "Redirects are not followed; name that URL")
        return found

    def close(self) -> None:
        """What is kept open is closed; asked again, it connects again."""
        with self._making:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _shared(self) -> httpx.Client:
        import httpx  # only whoever asks somebody pays for it

        with self._making:
            if self._client is None:
                self._client = httpx.Client(
                    verify=self.trust(),
                    trust_env=False,  # no proxy that a shell happened to name
                    follow_redirects=False,
                    limits=httpx.Limits(
                        max_connections=None, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEPT_SECONDS
                    ),
                )
            return self._client


def _where(url: str) -> str:
    try:
        parts = urlsplit(url)
        readable = parts.port is None or parts.port > 0
    except ValueError:
        readable = False
    if not readable or parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise Malformed(f"{url!r} is not an https URL", "Write https://host/path, without a user name")
    return f"https://{parts.netloc}"


def _read(answer: httpx.Response, where: str, limit: int, deadline: Deadline) -> bytes:
    """The body as it is on the wire: it was asked for without a coding, which could unfold to any size."""
    body = bytearray()
    for piece in answer.iter_raw():
        body += piece
        if len(body) > limit:
            raise Unavailable(f"{where} answered more than {limit} octets", "Is it the right URL?")
        deadline.left()
    return bytes(body)


def _reason(error: Exception) -> str:
    """In few words, of the innermost cause."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return str(cause) or type(cause).__name__
