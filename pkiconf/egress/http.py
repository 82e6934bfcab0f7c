"""One HTTP exchange with a server that somebody named: bounded in time and size, no redirects, no proxies."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.http_bounds import MOST_OF_HEAD, bind, complaint, read_body
from pkiconf.errors import Malformed, Unavailable

SECONDS: Final = 15.0
LARGEST: Final = 1 << 20
_AGENT: Final = "pkiconf"
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """`media_type` is lower case, without parameters, and empty where the server gives none."""

    status: int
    media_type: str
    body: bytes


class HTTPClient(Protocol):
    """What `exchange` is; tests hand in their own."""

    def __call__(
        self, url: str, *, body: bytes | None = None, media_type: str = "", limit: int = LARGEST
    ) -> HTTPAnswer: ...


def exchange(
    url: str,
    *,
    body: bytes | None = None,
    media_type: str = "",
    limit: int = LARGEST,
    seconds: float = SECONDS,
) -> HTTPAnswer:
    """GET, or POST if there is a body; the answer, whatever its status.

    All of it ends within `seconds` of being connected, and the answer has at most `limit` octets. Redirects are not
    followed: whoever named the URL did not name the next one. Raises Malformed for a URL that is not http(s) or
    holds a password, Unavailable for everything that the network or the server does.
    """
    parts = _parse(url)
    where = f"{parts.scheme}://{parts.netloc}"
    connection = _connection(parts, seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": _AGENT, "Accept": "*/*", "Connection": "close"}
    if media_type:
        headers["Content-Type"] = media_type
    try:
        connection.connect()
        with connection.sock as s:
            bind(connection, s, Deadline.within(seconds), MOST_OF_HEAD + 2 * limit)
            connection.request("POST" if body is not None else "GET", target, body, headers)
            with connection.getresponse() as answer:
                return _read(answer, where, limit)
    except TimeoutError:
        raise Unavailable(f"{where} gave no whole answer within {seconds:g} seconds") from None
    except http.client.HTTPException as ex:
        raise Unavailable(
            f"what {where} answered is not HTTP: {complaint(ex)}", "Does another program listen there?"
        ) from None
    except OSError as ex:
        raise Unavailable(f"{where} cannot be reached: {_reason(ex)}", "Is it running, and is the URL right?") from None
    finally:
        connection.close()


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_readable = parts.port is None or parts.port > 0
    except ValueError:
        raise Malformed(f"{url!r} is not a URL", "Write http://host:port/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_readable:
        raise Malformed(f"{url!r} is not an http URL", "Write http://host:port/path")
    if parts.username is not None:
        raise Malformed("the URL holds a user name or password, which is not sent", "Leave them out")
    if not url.isascii() or any(ord(character) <= 0x20 for character in url):
        raise Malformed(f"{url!r} holds characters that no URL has", "Escape them, as %20 for a blank")
    return parts


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)


def _read(response: http.client.HTTPResponse, where: str, limit: int) -> HTTPAnswer:
    body = read_body(response, limit)
    if len(body) > limit:
        raise Unavailable(f"{where} answered more than {limit} octets", "Is it the right URL?")
    if response.status in _REDIRECTS:
        location = response.headers.get("Location", "nowhere")
        raise Unavailable(
            f"{where} redirects to {location[:200]!r}", "Redirects are not followed; ask there if it is right"
        )
    return HTTPAnswer(
        response.status, response.headers.get_content_type() if "Content-Type" in response.headers else "", body
    )


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    return error.strerror or type(error).__name__
