"""What a client sees of a challenge that has failed (RFC 8555 §7.1.4, §8.2): found by real validators, at a real DNS
server and real listeners on loopback, and read from the challenge object over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from dnslib import CAA, QTYPE, RCODE, RR, TXT, A, DNSRecord

from pkiconf.acme.validation import Validations
from pkiconf.egress.network import SystemNetwork
from tests.egress.certificates import context_with, self_signed
from tests.egress.servers import dns_server, http_server, server, tls_server
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.wire import URN, Wire, csr_for, declare_settings

NAME = "web.needs-proof.example"


@dataclass
class Scene:
    """A client whose names are all at 127.0.0.1, but for `gone.example`, and whose challenges are really looked at."""

    wire: Wire
    stack: ExitStack
    resolver: str
    issue: dict[str, str]
    """What `issue` records of CAA say, by name."""

    def listen(self, answer: Callable[[socket.socket], None]) -> int:
        return int(self.stack.enter_context(server(answer)))

    def serve(self, body: bytes) -> int:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return int(self.stack.enter_context(http_server(lambda target, host: head + body)))  # type: ignore[arg-type]

    def fail(self, challenge: str, name: str = NAME, **settings: Any) -> tuple[dict[str, Any], str]:
        """Order, answer, validate once: the error in the challenge, and the order's URL, which has ended with it."""
        validation = {
            "resolvers": [self.resolver],
            "allowed_networks": ["127.0.0.0/8"],
            "attempts": 1,
            "timeout": "60s",
        }
        acme = {"caa_identities": ["pki.corp.example"]}
        declare_settings(self.wire.place, validation={**validation, **settings}, acme=acme)
        order = self.wire.order(name)
        url = order.json["authorizations"][0]
        answered = self.wire.post(f"{url.replace('/authz/', '/chall/')}/{challenge}", {})
        assert (answered.status, answered.json["status"]) == (200, "processing"), answered.body
        validations = Validations(self.wire.place.world.parts, SystemNetwork())
        (task,) = validations.claim("w", 16)
        validations.attempt(task)
        seen = self.wire.post(url).json
        assert seen["status"] == "invalid"
        (failed,) = seen["challenges"]
        assert (failed["type"], failed["status"]) == (challenge, "invalid")
        assert "validated" not in failed
        assert "identifier" not in failed["error"]
        return failed["error"], order.location

    def is_problem(self, found: tuple[dict[str, Any], str], type: str, words: str) -> None:
        """The challenge says why; the order is invalid for the same reason, and cannot be finalized."""
        error, order = found
        assert error["type"] == URN + type
        assert words in error["detail"], error["detail"]
        ended = self.wire.post(order).json
        assert ended["status"] == "invalid"
        assert ended["error"]["type"] == URN + type
        with nothing_changes(self.wire):
            again = self.wire.post(ended["finalize"], {"csr": csr_for(ended["identifiers"][0]["value"])})
            is_refusal(again, "orderNotReady", 403)
            url = ended["authorizations"][0].replace("/authz/", "/chall/")
            is_refusal(self.wire.post(f"{url}/http-01", {}), "malformed", 400)


def _zone(issue: Mapping[str, str], question: DNSRecord, over_tcp: bool) -> bytes:
    reply = question.reply()
    name, kind = str(question.q.qname).lower(), QTYPE[question.q.qtype]
    if "gone.example" in name:
        reply.header.rcode = RCODE.NXDOMAIN
    elif "broken.example" in name:
        reply.header.rcode = RCODE.SERVFAIL
    elif kind == "A":
        reply.add_answer(RR(question.q.qname, QTYPE.A, ttl=1, rdata=A("127.0.0.1")))
    elif kind == "TXT":
        reply.add_answer(RR(question.q.qname, QTYPE.TXT, ttl=1, rdata=TXT("something else")))
    elif kind == "CAA" and name.rstrip(".") in issue:
        reply.add_answer(RR(question.q.qname, QTYPE.CAA, ttl=1, rdata=CAA(0, "issue", issue[name.rstrip(".")])))
    return bytes(reply.pack())


@pytest.fixture
def scene(lite: Wire) -> Iterator[Scene]:
    with ExitStack() as stack:
        issue: dict[str, str] = {}
        host, port = stack.enter_context(dns_server(partial(_zone, issue)))
        yield Scene(lite, stack, f"{host}:{port}", issue)


def closed_port() -> int:
    """One that nobody listens at: bound, and so given to nobody else while this process has it."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    _KEPT.append(s)
    return int(s.getsockname()[1])


_KEPT: list[socket.socket] = []


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_connection(scene: Scene, challenge: str) -> None:
    """RFC 8555 §6.7 `connection`: nobody listens there."""
    port = closed_port()
    found = scene.fail(challenge, http_port=port, tls_port=port)
    scene.is_problem(found, "connection", f"127.0.0.1:{port}")


def test_connection_to_a_forbidden_network(scene: Scene) -> None:
    """RFC 8555 §10.4: an address that is not asked is said to be so, and nothing is sent there."""
    reached: list[socket.socket] = []
    port = scene.listen(reached.append)
    found = scene.fail("http-01", allowed_networks=[], http_port=port)
    scene.is_problem(found, "connection", "127.0.0.1")
    assert reached == []


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
@pytest.mark.parametrize("name", ["gone.example", "broken.example"])
def test_dns(scene: Scene, challenge: str, name: str) -> None:
    """RFC 8555 §6.7 `dns`: there is no such name, or its servers fail."""
    scene.is_problem(scene.fail(challenge, name), "dns", name)


def test_incorrect_response_of_a_web_server(scene: Scene) -> None:
    """RFC 8555 §8.3, §6.7 `incorrectResponse`: another text stands there."""
    found = scene.fail("http-01", http_port=scene.serve(b"welcome"))
    scene.is_problem(found, "incorrectResponse", '"welcome"')


def test_incorrect_response_in_the_dns(scene: Scene) -> None:
    """RFC 8555 §8.4: a TXT record stands there, and not the digest."""
    scene.is_problem(scene.fail("dns-01"), "incorrectResponse", '"something else"')


def test_incorrect_response_of_a_tls_server(scene: Scene) -> None:
    """RFC 8737 §3: the protocol is chosen, and the certificate is an ordinary one."""
    context = context_with(self_signed([NAME]), "acme-tls/1")
    port: int = scene.stack.enter_context(tls_server(context))  # type: ignore[arg-type]
    error, order = scene.fail("tls-alpn-01", tls_port=port)
    scene.is_problem((error, order), "incorrectResponse", "acmeIdentifier")


def test_tls(scene: Scene) -> None:
    """RFC 8555 §6.7 `tls`: what listens there speaks no TLS."""
    port = scene.listen(lambda s: s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10))
    scene.is_problem(scene.fail("tls-alpn-01", tls_port=port), "tls", f"127.0.0.1:{port}")


FORBIDS: dict[str, str] = {
    "another authority alone": "another-ca.example",
    "another account": "pki.corp.example; accounturi=http://127.0.0.1:8000/acme/acct/other",
    "another challenge": "pki.corp.example; validationmethods=dns-01,tls-alpn-01",
}


@pytest.mark.parametrize("issue", FORBIDS.values(), ids=FORBIDS.keys())
def test_caa(scene: Scene, issue: str) -> None:
    """RFC 8659 §4, RFC 8657 §3, §4, RFC 8555 §6.7 `caa`: the proof holds, and this one may not issue for it."""
    scene.wire.place.policy(caa=True)
    tokens: dict[str, bytes] = {}
    name = "forbidden.needs-proof.example"
    scene.issue[name] = issue

    def respond(target: str, host: str) -> bytes:
        body = f"{target.rsplit('/', 1)[1]}.{scene.wire.key.thumbprint}".encode()
        tokens[host] = body
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    port: int = scene.stack.enter_context(http_server(respond))  # type: ignore[arg-type]
    found = scene.fail("http-01", name, http_port=port)
    assert tokens
    scene.is_problem(found, "caa", f"CAA records of {name} forbid it")
