"""http-01 (RFC 8555 §8.3, RFC 8738 §4) against real servers: what is found, and what is never connected to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.http_challenge import check_http
from pkiconf.egress.reach import Reach, connect
from pkiconf.egress.unproved import Unproved
from pkiconf.model.acme import Identifier, IdentifierType, ProblemType
from pkiconf.policy.caa import CAARecord
from pkiconf.policy.targets import Address, TargetRules
from tests.egress.certificates import context_with, self_signed
from tests.egress.servers import http_server, server, until_it_leaves

NAME = "web.corp.example"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
EXPECTED = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
CHUNKS = f"5\r\n{EXPECTED[:5]}\r\n52;x=y\r\n{EXPECTED[5:]}\r\n0\r\n\r\n"
LOOPBACK = TargetRules.parse(["127.0.0.0/8", "::1/128"], [])


@dataclass
class Book:
    """Names that are where the test says; each look-up turns a page, if there are several."""

    pages: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def addresses(self, name: str, deadline: Deadline) -> tuple[Address, ...]:
        self.asked.append(name)
        pages = self.pages.get(name)
        if not pages:
            raise Unproved(ProblemType.DNS, f"there is no such name in the DNS: {name}")
        page = pages.pop(0) if len(pages) > 1 else pages[0]
        return tuple(map(ip_address, page))

    def texts(self, name: str, deadline: Deadline) -> tuple[bytes, ...]:
        raise AssertionError

    def caa(self, name: str, deadline: Deadline) -> tuple[CAARecord, ...]:
        raise AssertionError


@dataclass
class Scene:
    """Servers of one test. Every connection is noted; port 80 and 443 are those that the test has put there."""

    stack: ExitStack
    book: Book = field(default_factory=Book)
    connected: list[tuple[str, int]] = field(default_factory=list)
    ports: dict[int, int] = field(default_factory=dict)
    rules: TargetRules = LOOPBACK

    def serve(self, respond: Callable[[str, str], bytes], port: int = 80, host: str = "127.0.0.1") -> None:
        self.ports[port] = self.stack.enter_context(http_server(respond, host))  # type: ignore[arg-type]

    def serve_raw(self, answer: Callable[[socket.socket], None], port: int = 80) -> None:
        self.ports[port] = self.stack.enter_context(server(answer))

    def at(self, *addresses: str, name: str = NAME) -> None:
        self.book.pages[name] = [addresses]

    def connect(self, address: Address, port: int, seconds: float) -> socket.socket:
        self.connected.append((str(address), port))
        return connect(address, self.ports.get(port, 1), seconds)

    def check(self, host: str = NAME, port: int = 80, seconds: float = 10) -> None:
        kind = IdentifierType.DNS if any(c.isalpha() and c not in "abcdef" for c in host) else IdentifierType.IP
        reach = Reach(self.book, self.rules, self.connect)
        check_http(Identifier(kind, host), TOKEN, EXPECTED, port, reach, Deadline.within(seconds))

    def refuses(self, type: ProblemType, host: str = NAME, port: int = 80, seconds: float = 10) -> str:
        with pytest.raises(Unproved) as refusal:
            self.check(host, port, seconds)
        assert refusal.value.problem.type is type, refusal.value.problem
        detail = refusal.value.problem.detail
        assert detail.isprintable()
        assert len(detail) < 800
        return detail


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def ok(body: str | bytes, status: str = "200 OK", *headers: str) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def redirect(location: str, status: int = 302) -> bytes:
    return ok("", f"{status} Elsewhere", f"Location: {location}")


def proof(target: str, host: str) -> bytes:
    return ok(EXPECTED if target == f"/.well-known/acme-challenge/{TOKEN}" else "no")


# --- what is found --------------------------------------------------------------------------------------------------


def test_the_key_authorization_is_there(scene: Scene) -> None:
    asked: list[tuple[str, str]] = []

    def respond(target: str, host: str) -> bytes:
        asked.append((target, host))
        return ok(EXPECTED)

    scene.serve(respond)
    scene.at("127.0.0.1")
    scene.check()
    assert asked == [(f"/.well-known/acme-challenge/{TOKEN}", NAME)]
    assert scene.connected == [("127.0.0.1", 80)]


@pytest.mark.parametrize("tail", ["\n", "\r\n", " \t\r\n\n", "\n" * 128])
def test_white_space_behind_it_is_ignored(scene: Scene, tail: str) -> None:
    """§8.3: "The server SHOULD ignore whitespace characters at the end of the body"."""
    scene.serve(lambda *_: ok(EXPECTED + tail))
    scene.at("127.0.0.1")
    scene.check()


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{CHUNKS}",
        f"HTTP/1.0 200 OK\r\n\r\n{EXPECTED}",
        f"HTTP/1.1 200\r\n\r\n{EXPECTED}",
        f"HTTP/1.1 200 OK\n\n{EXPECTED}",
        f"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{EXPECTED}",
        f"HTTP/1.1 200 OK\r\nX: \xe4\r\ncontent-length:  {len(EXPECTED)}\r\n\r\n{EXPECTED} and more",
    ],
)
def test_every_way_to_say_it(scene: Scene, answer: str) -> None:
    assert len(EXPECTED) - 5 == 0x52
    scene.serve(lambda *_: answer.encode("latin-1"))
    scene.at("127.0.0.1")
    scene.check()


def test_another_port_stands_in_the_host_header(scene: Scene) -> None:
    hosts: list[str] = []
    scene.serve(lambda target, host: hosts.append(host) or ok(EXPECTED), 5002)  # type: ignore[func-returns-value]
    scene.at("127.0.0.1")
    scene.check(port=5002)
    assert hosts == [f"{NAME}:5002"]


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_address_is_asked_without_the_dns(scene: Scene, address: str, host: str) -> None:
    hosts: list[str] = []
    scene.serve(lambda target, said: hosts.append(said) or ok(EXPECTED), host=address)  # type: ignore[func-returns-value]
    scene.check(address)
    assert (hosts, scene.book.asked) == ([host], [])


def test_ipv6_first_and_then_ipv4(scene: Scene) -> None:
    scene.serve(lambda *_: ok(EXPECTED))
    scene.at("127.0.0.1", "::1")
    scene.check()
    assert scene.connected == [("::1", 80), ("127.0.0.1", 80)]


# --- where it is never connected to ---------------------------------------------------------------------------------

EVERYWHERE = [
    "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "100.100.100.200", "::1", "::",
    "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::7f00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", EVERYWHERE)
def test_a_name_that_is_at_a_refused_address(scene: Scene, address: str) -> None:
    scene.rules = TargetRules()
    scene.serve(lambda *_: ok(EXPECTED))
    scene.at(address)
    said = scene.refuses(ProblemType.CONNECTION)
    assert f"{NAME} is at {ip_address(address)}, which is not connected to" in said
    assert scene.connected == []


@pytest.mark.parametrize("address", EVERYWHERE)
def test_an_address_that_is_refused(scene: Scene, address: str) -> None:
    scene.rules = TargetRules()
    scene.serve(lambda *_: ok(EXPECTED))
    said = scene.refuses(ProblemType.CONNECTION, str(ip_address(address)))
    assert "is not connected to" in said
    assert scene.connected == []


def test_a_forbidden_network(scene: Scene) -> None:
    scene.rules = TargetRules.parse(["127.0.0.0/8"], ["127.0.0.1/32"])
    scene.serve(lambda *_: ok(EXPECTED))
    scene.at("127.0.0.1")
    assert "forbidden_networks" in scene.refuses(ProblemType.CONNECTION)
    assert scene.connected == []


def test_refused_addresses_among_others_are_passed_over(scene: Scene) -> None:
    scene.serve(lambda *_: ok(EXPECTED))
    scene.at("169.254.169.254", "fe80::1", "127.0.0.1")
    scene.check()
    assert scene.connected == [("127.0.0.1", 80)]


def test_a_name_that_moves_after_it_was_checked(scene: Scene) -> None:
    """Rebinding: the connection goes to the address that was checked, however the DNS answers the next time."""
    scene.rules = TargetRules.parse(["127.0.0.2/32"], [])
    scene.serve(lambda *_: ok(EXPECTED), host="0.0.0.0")
    scene.book.pages[NAME] = [("127.0.0.2",), ("127.0.0.1",)]
    scene.check()
    assert scene.connected == [("127.0.0.2", 80)]
    assert scene.book.asked == [NAME]


def test_a_name_that_moves_before_the_redirect(scene: Scene) -> None:
    scene.rules = TargetRules.parse(["127.0.0.2/32"], [])
    scene.serve(lambda target, host: redirect("/other") if "well-known" in target else ok(EXPECTED), host="0.0.0.0")
    scene.book.pages[NAME] = [("127.0.0.2",), ("127.0.0.1",)]
    assert "is not connected to" in scene.refuses(ProblemType.CONNECTION)
    assert scene.connected == [("127.0.0.2", 80)]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1]/", "https://127.0.0.1/", "http://inside.corp.example/",
    ],
)  # fmt: skip
def test_a_redirect_to_a_refused_address(scene: Scene, location: str) -> None:
    scene.rules = TargetRules.parse(["127.0.0.2/32"], [])
    scene.serve(lambda *_: redirect(location), host="0.0.0.0")
    scene.at("127.0.0.2")
    scene.at("127.0.0.1", name="inside.corp.example")
    assert "is not connected to" in scene.refuses(ProblemType.CONNECTION)
    assert scene.connected == [("127.0.0.2", 80)]


# --- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "location", ["/elsewhere?a=b#c", "elsewhere?a=b", "//other.corp.example/x", "http://other.corp.example.:80/x"]
)
def test_redirects_are_followed(scene: Scene, status: int, location: str) -> None:
    asked: list[str] = []

    def respond(target: str, host: str) -> bytes:
        asked.append(f"{host}{target}")
        return redirect(location, status) if len(asked) == 1 else ok(EXPECTED)

    scene.serve(respond)
    scene.at("127.0.0.1")
    scene.at("127.0.0.1", name="other.corp.example")
    scene.check()
    assert asked[1] in (
        f"{NAME}/elsewhere?a=b",
        f"{NAME}/.well-known/acme-challenge/elsewhere?a=b",
        "other.corp.example/x",
    )


def test_a_redirect_to_https_whatever_the_certificate(scene: Scene) -> None:
    scene.serve(lambda target, host: redirect(f"https://{NAME}{target}"))
    context = context_with(self_signed(["something.else.example"]))

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(ok(EXPECTED))
            tls.recv(1)

    scene.serve_raw(answer, 443)
    scene.at("127.0.0.1")
    scene.check()
    assert scene.connected == [("127.0.0.1", 80), ("127.0.0.1", 443)]


def test_a_redirect_to_https_where_there_is_none(scene: Scene) -> None:
    scene.serve(lambda target, host: redirect(f"https://{NAME}{target}"))
    scene.serve_raw(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 443)
    scene.at("127.0.0.1")
    assert "wrong version number" in scene.refuses(ProblemType.TLS)


@pytest.mark.parametrize(
    "location",
    [
        "", "file:///etc/passwd", "ftp://other.corp.example/", "gopher://127.0.0.1:70/", "javascript:1", "data:,x",
        "http://other.corp.example:8080/", "http://other.corp.example:22/", "https://other.corp.example:8443/",
        "http://other.corp.example:0/", "http://other.corp.example:99999/", "http://other.corp.example:x/",
        "http://user@other.corp.example/", "http://user:password@other.corp.example/",
        "http://[::1/", "http://b\xfccher.example/", "http://other.corp.example/a b", "http://other.corp.example/\x01",
        "http://other_\x7f.example/", "http://-x.example/", "http://a..b/", f"http://{'a' * 64}.example/",
        "http://other.corp.example%00.evil.example/", "http://[fe80::1%25eth0]:80/",
        "http://other.corp.example/" + "x" * 2000,
    ],
)  # fmt: skip
def test_redirects_that_lead_to_no_web_page(scene: Scene, location: str) -> None:
    answer = b"HTTP/1.1 302 X\r\nLocation: " + location.encode("latin-1") + b"\r\n\r\n"
    scene.serve(lambda *_: answer)
    scene.at("127.0.0.1")
    scene.at("127.0.0.1", name="other.corp.example")
    with pytest.raises(Unproved) as refusal:
        scene.check()
    assert refusal.value.problem.type in (ProblemType.INCORRECT_RESPONSE, ProblemType.CONNECTION)
    assert "redirects to" in refusal.value.problem.detail or "not connected" in refusal.value.problem.detail
    assert scene.connected == [("127.0.0.1", 80)]


@pytest.mark.parametrize("status", [300, 303, 304, 305, 306])
def test_other_redirects_are_not_followed(scene: Scene, status: int) -> None:
    scene.serve(lambda *_: redirect("http://other.corp.example/", status))
    scene.at("127.0.0.1")
    assert f"answered {status}" in scene.refuses(ProblemType.INCORRECT_RESPONSE)
    assert scene.book.asked == [NAME]


def test_redirects_without_end(scene: Scene) -> None:
    scene.serve(lambda target, host: redirect(f"/{len(target)}/{'x' * len(target)}"[:300] + "y"))
    scene.at("127.0.0.1")
    assert "more than 10 redirects" in scene.refuses(ProblemType.INCORRECT_RESPONSE)
    assert len(scene.connected) == 11


def test_redirects_in_a_circle(scene: Scene) -> None:
    scene.serve(lambda target, host: redirect("/b" if target == "/a" else "/a"))
    scene.at("127.0.0.1")
    assert "in a circle" in scene.refuses(ProblemType.INCORRECT_RESPONSE)
    assert len(scene.connected) == 3


def test_a_redirect_to_a_name_that_does_not_exist(scene: Scene) -> None:
    scene.serve(lambda *_: redirect("http://gone.corp.example/"))
    scene.at("127.0.0.1")
    assert "gone.corp.example" in scene.refuses(ProblemType.DNS)


# --- what is not the key authorization ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok(""), 'answered ""'),
        (ok(TOKEN), f'answered "{TOKEN}"'),
        (ok(EXPECTED[:-1]), "is expected"),
        (ok(EXPECTED.upper()), "is expected"),
        (ok(" " + EXPECTED), "is expected"),
        (ok("\ufeff" + EXPECTED), '"...evaGx'),
        (ok(EXPECTED + "\x00"), "is expected"),
        (ok(f"<html>{EXPECTED}</html>"), '"<html>eva'),
        (ok(b"\x1b[31m\xff\r\n\"quoted\""), '".[31m....quoted."'),
        (ok(EXPECTED, "404 Not Found"), "answered 404"),
        (ok(EXPECTED, "500 Oops"), "answered 500"),
        (ok(EXPECTED, "201 Created"), "answered 201"),
        (ok("", "204 No Content"), "answered 204"),
        (ok(EXPECTED + "x" * 200), "a far longer text"),
        (ok(EXPECTED + "\n" * 129), "a far longer text"),
        (ok("y" * 10_000_000), "a far longer text"),
    ],
)  # fmt: skip
def test_something_else(scene: Scene, answer: bytes, said: str) -> None:
    scene.serve(lambda *_: answer)
    scene.at("127.0.0.1")
    detail = scene.refuses(ProblemType.INCORRECT_RESPONSE)
    assert said in detail
    assert f"http://{NAME}/.well-known/acme-challenge/{TOKEN} (127.0.0.1:80)" in detail


@pytest.mark.parametrize("elsewhere", [f"http://{NAME}/private", "http://wiki.corp.example/private"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok("the root password is"), "answered with 20 octets where"),
        (ok("the root password is", "401 Unauthorized"), "answered 401 with 20 octets"),
        (ok("the root password is" * 100), "far longer text: with 216 octets"),
    ],
)
def test_what_stands_behind_a_redirect_is_not_told(scene: Scene, elsewhere: str, answer: bytes, said: str) -> None:
    """A client could read with our eyes: web servers that it does not reach, also under its own name, for that may
    mean another address by now."""
    scene.serve(lambda target, host: answer if target == "/private" else redirect(elsewhere))
    scene.at("127.0.0.1")
    scene.at("127.0.0.1", name="wiki.corp.example")
    detail = scene.refuses(ProblemType.INCORRECT_RESPONSE)
    assert said in detail
    assert "password" not in detail
    assert f"{elsewhere} (127.0.0.1:80)" in detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "nothing came"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "status line"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "status line"),
        (b"HTTP/2 200\r\n\r\n", "status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status line"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "status line"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\n folded: y\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", "it ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", "it ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "it ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", "it ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", "it ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 200_000, "too long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"X: y\r\n" * 20_000, "too long"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 6, "nothing came"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "too long"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 6, "interim"),
        (b"HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "nothing came"),
        (b"HTTP/1.1 302 X\r\nno colon\r\nLocation: /x\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000, "too long"),
    ],
)
def test_what_is_no_http(scene: Scene, answer: bytes, said: str) -> None:
    scene.serve(lambda *_: answer)
    scene.at("127.0.0.1")
    detail = scene.refuses(ProblemType.CONNECTION)
    assert said in detail
    assert "is not HTTP" in detail


def test_an_endless_answer(scene: Scene) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    scene.serve_raw(answer)
    scene.at("127.0.0.1")
    assert "far longer" in scene.refuses(ProblemType.INCORRECT_RESPONSE)


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_drop_by_drop(scene: Scene, drip: bytes) -> None:
    """Each drop would begin a socket's own time-out anew."""

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(drip)
        for _ in range(1200):
            connection.sendall(b"x")
            time.sleep(0.05)

    scene.serve_raw(answer)
    scene.at("127.0.0.1")
    begun = time.monotonic()
    assert "in time" in scene.refuses(ProblemType.CONNECTION, seconds=0.4)
    assert time.monotonic() - begun < 30


def test_silence(scene: Scene) -> None:
    scene.serve_raw(until_it_leaves)
    scene.at("127.0.0.1")
    assert "in time" in scene.refuses(ProblemType.CONNECTION, seconds=0.3)


def test_redirects_share_the_deadline(scene: Scene) -> None:
    def respond(target: str, host: str) -> bytes:
        time.sleep(0.25)
        return redirect(target + "x")

    scene.serve(respond)
    scene.at("127.0.0.1")
    with pytest.raises((Unproved, TimeoutError)):
        scene.check(seconds=0.6)
    assert len(scene.connected) <= 3


def test_nobody_listens(scene: Scene) -> None:
    scene.at("127.0.0.1", "::1")
    said = scene.refuses(ProblemType.CONNECTION)
    assert "[::1]:80 connection refused, 127.0.0.1:80 connection refused" in said


def test_of_many_addresses_few_are_tried(scene: Scene) -> None:
    scene.at(*(f"127.0.0.{number}" for number in range(1, 100)))
    scene.refuses(ProblemType.CONNECTION)
    assert len(scene.connected) == 2


def test_a_name_that_does_not_exist(scene: Scene) -> None:
    assert "no such name" in scene.refuses(ProblemType.DNS)


def test_the_connection_is_closed(scene: Scene) -> None:
    seen: list[socket.socket] = []

    def keep(address: Address, port: int, seconds: float) -> socket.socket:
        seen.append(Scene.connect(scene, address, port, seconds))
        return seen[-1]

    scene.serve(lambda *_: ok(EXPECTED))
    scene.at("127.0.0.1")
    reach = Reach(scene.book, LOOPBACK, keep)
    check_http(Identifier(IdentifierType.DNS, NAME), TOKEN, EXPECTED, 80, reach, Deadline.within(10))
    scene.serve(lambda *_: b"nonsense")
    with pytest.raises(Unproved):
        check_http(Identifier(IdentifierType.DNS, NAME), TOKEN, EXPECTED, 80, reach, Deadline.within(10))
    assert [s.fileno() for s in seen] == [-1, -1]
