"""What is read plainly is what gunicorn's own parser reads; everything else is left to it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.http.errors import ParseException
from gunicorn.http.wsgi import base_environ, create
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.cli.plain_http import (
    LARGEST_BODY,
    LARGEST_FIELDS,
    LONGEST_LINE,
    MOST_FIELDS,
    Answer,
    LongLine,
    Other,
    encode_head,
    read_head,
)

BASE: dict[str, Any] = {
    "SCRIPT_NAME": "", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "REMOTE_ADDR": "192.0.2.1",
    "REMOTE_PORT": "5", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
}  # fmt: skip
GET = "GET /%s HTTP/1.1\r\n"
POST = b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\n"


def by_gunicorn(octets: bytes) -> tuple[dict[str, Any], bytes]:
    """The environment and the body that gunicorn's own parser finds. Raises what it raises."""
    config = as_served()
    request = next(get_parser(config, [octets], ("192.0.2.1", 5)))
    environ = create(request, None, ("192.0.2.1", 5), ("127.0.0.1", 8000), config)[1]
    left_out = {*base_environ(config), "wsgi.input", "gunicorn.socket", "wsgi.early_hints"}
    return {name: value for name, value in environ.items() if name not in left_out}, request.body.read()


def as_served() -> Config:
    config = Config()
    config.set("limit_request_line", 0)
    config.set("limit_request_fields", MOST_FIELDS)
    config.set("http_parser", "python")
    config.set("forwarded_allow_ips", "")
    return config


def read(octets: bytes) -> tuple[dict[str, Any], bytes]:
    request = read_head(octets, BASE)
    assert request is not None
    return request.environ, octets[request.body : request.end]


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"HEAD /crl/issuing/1.crl HTTP/1.1\r\nHost: pki.corp.example:8000\r\nConnection: Keep-Alive\r\n\r\n",
        b"GET /scep/a/b?operation=GetCACaps&message=%2b?x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ocsp/issuing//MEk%2F%2fAb+=%41%e4//? HTTP/1.1\r\nhost:a\r\nAccept:\r\n\r\n",
        b"GET //evil/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /:80/@a;b[c]{d}|e\\f^g`h\"i<j> HTTP/1.1\r\nHost: a\r\n\r\n",
        POST + b"Content-Type: application/ocsp-request\r\nContent-Length: 3\r\n\r\nabcNEXT",
        POST + b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX: \t a\xe9 \t\r\n\r\n",
        POST + b"content-length:\t03 \r\n\r\nabc",
        POST + b"Content-Length: 0\r\nConnection: close\r\nUpgrade: h2c\r\n\r\n",
    ],
)  # fmt: skip
def test_gunicorn_reads_the_same(octets: bytes) -> None:
    assert read(octets) == by_gunicorn(octets)


FIELD = st.tuples(
    st.sampled_from(["Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection", "Expect", "X", "X_Y",
                     "Te", "Script-Name", ""]),
    st.sampled_from([":", ": ", " :", ":\t", ""]),
    st.sampled_from(["", "a", "0", "3", "+3", "3,3", "\xb3", "chunked", "close", "keep-alive, x", "100-continue",
                     "a\tb", "a\x00b", "a\rb", "a\nb", "\x7f", "é"]),
)  # fmt: skip
TARGET = st.text(st.sampled_from("/ab?#%2F:@\t \x00\x7fé*"), min_size=1, max_size=9)


@given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "get", "G\tT"]),
    st.one_of(TARGET, TARGET.map(lambda text: f"/{text}")),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.1 ", "http/1.1"]),
    st.lists(FIELD, max_size=4),
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]),
)
def test_whatever_is_accepted_gunicorn_reads_the_same(
    method: str, target: str, version: str, fields: list[tuple[str, str, str]], end: str
) -> None:
    lines = [f"{method} {target} {version}", *("".join(field) for field in fields), "", "abc"]
    octets = end.join(lines).encode("latin-1")
    try:
        request = read_head(octets, BASE)
    except Other:
        return
    if request is not None:
        assert (request.environ, octets[request.body : request.end]) == by_gunicorn(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"PUT / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\nHost: a\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX_Forwarded_For: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: a\r\nx-a: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: upgrade\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        POST + b"Transfer-Encoding: identity\r\n\r\nabc",
        POST + b"Content-Length: -3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: \xb3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length:\r\n\r\nabc",
        POST + b"Content-Length: %d\r\n\r\n" % (LARGEST_BODY + 1),
        POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        POST + b"X: y\r\n" * MOST_FIELDS + b"\r\n",
        b"GET / HTTP/1.1\r\nX:" + b" " * LARGEST_FIELDS + b"\r\n\r\n",
        b"GET /" + b"a" * 12_000 + b" HTTP/1.0\r\n\r\n",
        b"\r\nGET /" + b"a" * 12_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_left_to_gunicorn(octets: bytes) -> None:
    with pytest.raises(Other) as caught:
        read_head(octets, BASE)
    assert not isinstance(caught.value, LongLine)


# --- long lines -----------------------------------------------------------------------------------------------------

SLACK = len(GET % "") - 2
"""Octets of such a line beside its path."""


@pytest.mark.parametrize("more", [b"", b"Host: a\r\n", b"X: " + b"y" * (LARGEST_FIELDS - 5) + b"\r\n"])
@pytest.mark.parametrize("begin", [b"", b"\r\n"])
def test_the_longest_line_that_is_read(begin: bytes, more: bytes) -> None:
    line = (GET % ("a" * (LONGEST_LINE - SLACK))).encode()
    octets = begin + line + more + b"\r\n"
    if begin:
        with pytest.raises(Other) as caught:
            read_head(octets, BASE)
        assert not isinstance(caught.value, LongLine)
    else:
        assert read(octets) == by_gunicorn(octets)
    assert by_gunicorn(octets)[0]["PATH_INFO"] == "/" + "a" * (LONGEST_LINE - SLACK)


@pytest.mark.parametrize(
    "octets",
    [
        (GET % ("a" * (LONGEST_LINE - SLACK + 1))).encode() + b"Host: a\r\n\r\n",
        b"\r\n" + (GET % ("a" * (LONGEST_LINE - SLACK + 1))).encode() + b"\r\n",
        b"\r\n" + b"a" * (LONGEST_LINE + 2),
        b"GET /" + b"a" * LONGEST_LINE,
        b"\0" * (LONGEST_LINE + 2),
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_a_longer_one_is_read_by_nobody(octets: bytes) -> None:
    with pytest.raises(LongLine):
        read_head(octets, BASE)


@given(
    st.sampled_from(["", "\r\n", "\r\n\r\n", "\n", "\r"]),
    st.sampled_from([0, 1, 8190, LONGEST_LINE - SLACK - 1, LONGEST_LINE - SLACK, LONGEST_LINE - SLACK + 1]),
    st.sampled_from(["HTTP/1.1\r\n", "HTTP/1.0\r\n", "HTTP/1.1\n", "HTTP/1.1", "HTTP/1.1\r"]),
    st.sampled_from([None, 0, 1, LARGEST_FIELDS - 5, LARGEST_FIELDS - 4, LARGEST_FIELDS, 3 * LARGEST_FIELDS]),
    st.sampled_from(["\r\n\r\n", "\r\n", "\n\n", ""]),
    st.integers(0, 2),
)
def test_long_heads_are_read_alike_or_come_to_an_end(
    begin: str, path: int, version: str, field: int | None, end: str, back: int
) -> None:
    """What is accepted, gunicorn reads the same. What is left to it ends soon: it has no limit of its own for lines."""
    fields = "" if field is None else f"X: {'y' * field}"
    text = f"{begin}GET /{'a' * path} {version}{fields}{end}"
    octets = text[: len(text) - back].encode()
    try:
        request = read_head(octets, BASE)
    except LongLine:
        return
    except Other:
        more = Endless(octets)
        with contextlib.suppress(ParseException, StopIteration):
            next(get_parser(as_served(), more, ("192.0.2.1", 5)))
        assert more.given < MOST_FIELDS * 2 * LARGEST_FIELDS
        return
    if request is not None:
        assert (request.environ, octets[request.body : request.end]) == by_gunicorn(octets)


class Endless:
    """What a client sends that never stops: at first these octets, then one letter without end."""

    def __init__(self, octets: bytes) -> None:
        self.given = 0
        self._next = octets

    def __iter__(self) -> Endless:
        return self

    def __next__(self) -> bytes:
        octets, self._next = self._next, b"a" * 8192
        self.given += len(octets)
        if self.given > 10_000_000:
            raise AssertionError("the parser would read for ever")
        return octets


def test_a_request_arrives_octet_by_octet() -> None:
    whole = POST + b"Content-Length: 3\r\n\r\nabc"
    for size in range(whole.index(b"\r\n\r\n") + 4):
        assert read_head(whole[:size], BASE) is None
    request = read_head(whole[:-3], BASE)
    assert request is not None
    assert request.end == len(whole)


def test_the_connection_is_kept_unless_the_client_closes() -> None:
    for said, kept in ((b"", True), (b"Connection: KEEP-ALIVE\r\n", True), (b"connection: Close\r\n", False)):
        request = read_head(b"GET / HTTP/1.1\r\n" + said + b"\r\n", BASE)
        assert request is not None
        assert request.keep_alive is kept


# --- answers --------------------------------------------------------------------------------------------------------


def answered(status: str, headers: list[tuple[str, str]], body: list[bytes], method: str = "GET") -> tuple[bytes, ...]:
    answer = Answer()
    answer(status, headers)
    return answer.pieces(method, body, keep_alive=True)


def test_an_answer_in_one_piece() -> None:
    (octets,) = answered("200 OK", [("X", "y"), ("X", "z"), ("Content-Length", "4")], [b"ab", b"cd"])
    head, body = octets.split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:4] == [b"HTTP/1.1 200 OK", b"X: y", b"X: z", b"Content-Length: 4"]
    assert lines[4] == b"Server: gunicorn"
    assert lines[5].startswith(b"Date: ")
    assert lines[5].endswith(b" GMT")
    assert lines[6:] == [b"Connection: keep-alive"]
    assert body == b"abcd"


def test_the_length_of_a_body_is_told_even_if_the_application_does_not() -> None:
    (octets,) = answered("200 OK", [], [b"abc"])
    assert b"\r\nContent-Length: 3\r\n" in octets


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")]
)
def test_answers_without_a_body(method: str, status: str) -> None:
    (octets,) = answered(status, [("ETag", '"a"')], [b"abc"], method)
    assert octets.endswith(b"\r\n\r\n")
    assert (b"Content-Length" in octets) is (method == "HEAD")


def test_a_large_body_is_not_copied() -> None:
    large = bytes(LARGEST_BODY + 1)
    assert answered("200 OK", [], [large])[1] is large


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X", "a\0b"), ("X\r\nY", "a"), ("X Y", "a"), ("", "a")],
)
def test_a_header_that_is_not_one_line_is_never_sent(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_head("200 OK", [(name, value)], 0, keep_alive=True)


def test_an_iterable_is_closed_whatever_happens() -> None:
    class Body(io.BytesIO):
        pass

    body = Body(b"x")
    answer = Answer()
    answer("200 OK", [])
    answer.pieces("GET", body, keep_alive=False)
    assert body.closed
