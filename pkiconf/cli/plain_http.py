"""Requests written as nearly every client writes them, and answers to them (RFC 9112).

One regular expression reads such a request. What is written in any other way that the RFC leaves room for, or that it
forbids, is not judged here but by gunicorn's own parser: chunks, expectations, repeated fields, other methods, large
heads and bodies. So nothing that is ambiguous is ever taken for one thing here and for another there.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import unquote_to_bytes

LONGEST_LINE: Final = 1 << 15
"""Octets of a request line. A SCEP message of 16 KiB that came by GET (RFC 8894 §4.1) fits in it; no parser of ours or
gunicorn's sees a longer one."""

LARGEST_FIELDS: Final = 8190
"""Octets of all header fields; gunicorn allows one field as much."""

LARGEST_BODY: Final = 1 << 16
"""Octets that are kept in memory while the rest of a request is awaited."""

MOST_FIELDS: Final = 64

_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST) (/[!\"$->@-~]*+)(?:\?([!\"$-~]*+))?+ HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+\r\n)*+)\r\n"
)
_ANSWER_HEAD: Final = re.compile(r"[0-9]{3} [ -~]*+\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [\t -~\x80-\xff]*+\r\n)*+")
_NO_BODY: Final = ("1", "204", "304")


@dataclass(slots=True)
class PlainRequest:
    """`body` is where its body begins in the octets it was read from, `end` where it ends."""

    environ: dict[str, Any]
    body: int
    end: int
    keep_alive: bool


class Other(Exception):
    """A request that gunicorn's parser has to judge."""


class LongLine(Other):
    """A request line that nobody judges any more (RFC 9110 §15.5.15)."""


def read_head(octets: bytes, base: Mapping[str, Any]) -> PlainRequest | None:
    """The request that `octets` begin with, its body perhaps not yet among them; None while its head is incomplete.

    `base` is what the environment (PEP 3333) of every request of this connection begins with. Raises Other.
    """
    # gunicorn skips one empty line before a request, and we leave such a request to it.
    begin = 2 if octets.startswith(b"\r\n") else 0
    first = octets.find(b"\r\n", begin, begin + LONGEST_LINE + 2)
    if first < 0 and len(octets) >= begin + LONGEST_LINE + 2:
        raise LongLine
    size = octets.find(b"\r\n\r\n", 0, first + LARGEST_FIELDS + 4) if first >= 0 else -1
    if size < 0:
        # A line that ends with LF alone is no head that will ever end here.
        is_large = first >= 0 and len(octets) >= first + LARGEST_FIELDS + 4
        if is_large or octets.count(b"\n") != octets.count(b"\r\n"):
            raise Other
        return None
    matched = _HEAD.match(octets)
    if matched is None or matched.end() != size + 4:
        raise Other
    method, path, query, fields = matched.groups()
    environ = {**base, "REQUEST_METHOD": method.decode()}
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode() if query else ""
    environ["RAW_URI"] = octets[matched.start(2) : max(matched.end(2), matched.end(3))].decode()
    if fields.count(b"\n") > MOST_FIELDS:
        raise Other
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        key = _key(name)
        if key is None or key in environ:
            raise Other
        environ[key] = value.strip(b" \t").decode("latin-1")
    start = size + 4
    keep_alive = "HTTP_CONNECTION" not in environ or _is_kept_alive(environ["HTTP_CONNECTION"])
    return PlainRequest(environ, start, start + _length(environ.get("CONTENT_LENGTH", "0")), keep_alive)


@functools.lru_cache(maxsize=256)
def _key(name: bytes) -> str | None:
    """What a field is called in the environment; None for one that changes how a request is read."""
    upper = name.decode().upper().replace("-", "_")
    if upper in ("TRANSFER_ENCODING", "EXPECT"):
        return None
    return upper if upper in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{upper}"


def _is_kept_alive(value: str) -> bool:
    option = value.lower()
    if option not in ("close", "keep-alive"):
        raise Other
    return option == "keep-alive"


def _length(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) > LARGEST_BODY:
        raise Other
    return int(text)


class Answer:
    """What an application answers: call the application with it as `start_response`, then ask for its pieces."""

    def __init__(self) -> None:
        self._status = ""
        self._headers: Iterable[tuple[str, str]] = ()

    def __call__(self, status: str, headers: Iterable[tuple[str, str]], exc_info: object = None) -> None:
        self._status, self._headers = status, headers

    def pieces(self, method: str, body: Iterable[bytes], *, keep_alive: bool) -> tuple[bytes, ...]:
        """What to send, in one piece where that is not much. Raises ValueError for a header that is not one line."""
        try:
            whole = b"".join(body)
        finally:
            if (close := getattr(body, "close", None)) is not None:
                close()
        head = encode_head(self._status, self._headers, len(whole), keep_alive=keep_alive)
        if method == "HEAD" or self._status.startswith(_NO_BODY):
            return (head,)
        return (head + whole,) if len(whole) <= LARGEST_BODY else (head, whole)


def encode_head(status: str, headers: Iterable[tuple[str, str]], size: int, *, keep_alive: bool) -> bytes:
    """The status line and all header lines of an answer whose body has `size` octets, unless `headers` say another
    Content-Length (an answer to HEAD). Raises ValueError for a header that is not one line."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = f"{status}\r\n" + "".join(lines)
    if _ANSWER_HEAD.fullmatch(text) is None or text.count("\n") != len(lines) + 1:
        raise ValueError("a header of the answer is not one line")
    if "content-length: " not in text.lower() and not status.startswith(_NO_BODY):
        text += f"Content-Length: {size}\r\n"
    connection = "keep-alive" if keep_alive else "close"
    date = _date(int(time.time()))
    return f"HTTP/1.1 {text}Server: gunicorn\r\nDate: {date}\r\nConnection: {connection}\r\n\r\n".encode("latin-1")


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
