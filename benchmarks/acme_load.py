"""Load for `benchmarks.acme`, in a process of its own: many ACME clients (RFC 8555) in one thread, with a DNS server
and an http-01 responder beside them, and nothing of the program that is measured.

Reads one JSON object from standard input (see `Wish`), gets ready, prints a line, waits for a line, works, and prints
one JSON object with what it saw. Clients are generators that give requests, or seconds to sleep; one loop serves all.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import ipaddress
import json
import os
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

FIRST_PAUSE: Final = 0.002
"""Seconds until a client looks whether its name was validated; half as long again each time."""

LONGEST_PAUSE: Final = 1.0
_LOOPBACK: Final = ipaddress.IPv4Address("127.0.1.0")
_SHA256: Final = ec.ECDSA(hashes.SHA256())
_PATH: Final = b"/.well-known/acme-challenge/"


@dataclass(frozen=True)
class Wish:
    """`http` and `dns` are ports of 127.0.0.1; certificates are for names below `domain`, or where it is empty for
    addresses of 127.0.0.0/8; accounts are bound to `key_id`, if there is one; ends after `count` certificates, or with
    0 after `seconds`."""

    directory: str
    key_id: str
    hmac_key: str
    domain: str
    http: int
    dns: int
    clients: int = 16
    warm: int = 32
    count: int = 0
    seconds: float = 10


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def location(self) -> str:
        return self.headers[b"location"].decode()


Work = Generator[bytes | float, Any, Any]


@dataclass
class Record:
    """What was seen while it was measured."""

    latencies: list[float] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Failed(Exception):
    """The server said something else than expected; its words."""


@dataclass
class Client:
    """One account, and one connection at a time, which the loop keeps."""

    wish: Wish
    urls: dict[str, Any]
    tokens: dict[bytes, bytes]
    record: Record
    number: int
    account: str = ""
    nonce: str = ""

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        self.jwk = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
        self.thumbprint = b64(hashlib.sha256(self.jwk.encode()).digest())

    def post(self, url: str, payload: str) -> Work:
        for _ in range(5):
            if not self.nonce:
                answer = yield request("HEAD", self.urls["newNonce"])
                self.nonce = answer.headers[b"replay-nonce"].decode()
            answer = yield request("POST", url, self._signed(url, payload))
            self.nonce = answer.headers.get(b"replay-nonce", b"").decode()
            if answer.status < 400:
                return answer
            if b"badNonce" not in answer.body:
                raise Failed(f"{answer.status} {answer.body[:200].decode(errors='replace')}")
            self.record.events["another nonce"] += 1
        raise Failed("five nonces in a row were refused")

    def _signed(self, url: str, payload: str) -> bytes:
        who = f'"kid":"{self.account}"' if self.account else f'"jwk":{self.jwk}'
        head = b64(f'{{"alg":"ES256",{who},"nonce":"{self.nonce}","url":"{url}"}}'.encode())
        body = b64(payload.encode())
        r, s = decode_dss_signature(self._key.sign(f"{head}.{body}".encode(), _SHA256))
        signature = b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f'{{"protected":"{head}","payload":"{body}","signature":"{signature}"}}'.encode()

    def register(self) -> Work:
        wished: dict[str, Any] = {"termsOfServiceAgreed": True, "contact": ["mailto:ops@corp.example"]}
        if self.wish.key_id:
            wished["externalAccountBinding"] = self._binding()
        answer = yield from self.post(self.urls["newAccount"], json.dumps(wished))
        self.account = answer.location

    def _binding(self) -> dict[str, str]:
        url = self.urls["newAccount"]
        head = b64(json.dumps({"alg": "HS256", "kid": self.wish.key_id, "url": url}).encode())
        body = b64(self.jwk.encode())
        key = base64.urlsafe_b64decode(self.wish.hmac_key + "==")
        mac = b64(hmac.digest(key, f"{head}.{body}".encode(), "sha256"))
        return {"protected": head, "payload": body, "signature": mac}

    def obtain(self, name: str) -> Work:
        """A certificate for a name, with everything that a client does on the way to it."""
        kind = "dns" if self.wish.domain else "ip"
        identifier = f'{{"type":"{kind}","value":"{name}"}}'
        answer = yield from self.post(self.urls["newOrder"], f'{{"identifiers":[{identifier}]}}')
        order = json.loads(answer.body)
        if order["status"] == "pending":
            for url in order["authorizations"]:
                yield from self._prove(url)
        key = ec.generate_private_key(ec.SECP256R1())
        answer = yield from self.post(order["finalize"], f'{{"csr":"{_csr(name, key)}"}}')
        order, location = json.loads(answer.body), answer.headers.get(b"location", b"").decode()
        pause = FIRST_PAUSE
        while order["status"] == "processing":
            self.record.events["looked at a processing order"] += 1
            yield pause
            pause = min(pause * 1.5, LONGEST_PAUSE)
            answer = yield from self.post(location, "")
            order = json.loads(answer.body)
        answer = yield from self.post(order["certificate"], "")
        _check(answer.body, name, key)

    def _prove(self, url: str) -> Work:
        answer = yield from self.post(url, "")
        authorization = json.loads(answer.body)
        if authorization["status"] == "valid":
            return
        challenge = next(one for one in authorization["challenges"] if one["type"] == "http-01")
        token = challenge["token"].encode()
        self.tokens[token] = token + b"." + self.thumbprint.encode()
        yield from self.post(challenge["url"], "{}")
        pause = FIRST_PAUSE
        while authorization["status"] == "pending":
            yield pause
            pause = min(pause * 1.5, LONGEST_PAUSE)
            answer = yield from self.post(url, "")
            authorization = json.loads(answer.body)
            self.record.events["looked at an authorization"] += 1
        del self.tokens[token]
        if authorization["status"] != "valid":
            raise Failed(json.dumps(authorization)[:400])


def _csr(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(_names(name), critical=False)
    return b64(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def _names(name: str) -> x509.SubjectAlternativeName:
    is_address = name.startswith("127.")
    return x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.IPv4Address(name)) if is_address else x509.DNSName(name)]
    )


def _check(chain: bytes, name: str, key: ec.EllipticCurvePrivateKey) -> None:
    """Name, key, and the issuer's signature."""
    leaf, issuer = x509.load_pem_x509_certificates(chain)[:2]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if names != _names(name) or leaf.public_key() != key.public_key():
        raise Failed("the certificate is not what was asked for")
    leaf.verify_directly_issued_by(issuer)


def request(method: str, url: str, body: bytes = b"") -> bytes:
    parts = urlsplit(url)
    head = f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: pkiconf-benchmark\r\n"
    if body:
        head += f"Content-Type: application/jose+json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Loop:
    """All sockets of this process, and what waits for time to pass."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def watch(self, opened: socket.socket, act: Callable[[], None]) -> None:
        self._selector.register(opened, selectors.EVENT_READ, act)

    def forget(self, opened: socket.socket) -> None:
        self._selector.unregister(opened)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._later, (time.perf_counter() + seconds, self._count, act))

    def run(self, done: Callable[[], bool]) -> None:
        while not done():
            timeout = max(0.0, self._later[0][0] - time.perf_counter()) if self._later else 1.0
            for key, _ in self._selector.select(timeout):
                key.data()
            while self._later and self._later[0][0] <= time.perf_counter():
                heapq.heappop(self._later)[2]()


class Runner:
    """Drives one generator after the other over one kept connection."""

    def __init__(self, loop: Loop, address: tuple[str, int], source: Callable[[], Work | None]) -> None:
        self._loop, self._address, self._source = loop, address, source
        self._connection: socket.socket | None = None
        self._work: Work | None = None
        self._buffer = bytearray()
        self._head_only = False
        self._asked = False
        self.idle = False
        self._next(None)

    def _next(self, answer: Answer | None) -> None:
        while True:
            if self._work is None:
                self._work = self._source()
                if self._work is None:
                    self.idle = True
                    return
            try:
                step = self._work.send(answer)
            except StopIteration:
                self._work, answer = None, None
                continue
            if isinstance(step, float):
                self._loop.after(step, lambda: self._next(None))
            else:
                self._send(step)
            return

    def _send(self, octets: bytes) -> None:
        if self._connection is None:
            self._connection = socket.create_connection(self._address)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._loop.watch(self._connection, self._read)
        self._head_only, self._asked = octets.startswith(b"HEAD"), True
        self._connection.sendall(octets)

    def _read(self) -> None:
        assert self._connection is not None
        piece = self._connection.recv(65536)
        if not piece and not self._asked:
            self.close()  # the server does not wait for ever for the next request
            return
        if not piece:
            raise Failed(f"the server closed the connection in the middle of an answer: {bytes(self._buffer[:200])!r}")
        self._buffer += piece
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        status = int(first.split()[1])
        length = 0 if self._head_only or status == 204 else int(headers.get(b"content-length", b"0"))
        if len(self._buffer) < end + 4 + length:
            return
        answer = Answer(status, headers, bytes(self._buffer[end + 4 : end + 4 + length]))
        self._buffer.clear()
        self._asked = False
        if headers.get(b"connection", b"").lower() == b"close":
            self.close()
        self._next(answer)

    def close(self) -> None:
        if self._connection is not None:
            self._loop.forget(self._connection)
            self._connection.close()
            self._connection = None


def serve_names(loop: Loop, port: int) -> None:
    """Every A question: 127.0.0.1. Everything else: nothing, without an error."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))

    def answer() -> None:
        asked, address = udp.recvfrom(4096)
        end = asked.index(0, 12) + 5
        is_a = asked[end - 4 : end - 2] == b"\0\1"
        flags = bytes([0x84 | asked[2] & 1, 0x80])
        head = asked[:2] + flags + b"\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if is_a else b""
        udp.sendto(head + asked[12:end] + record, address)

    loop.watch(udp, answer)


def serve_tokens(loop: Loop, address: tuple[str, int], tokens: dict[bytes, bytes]) -> None:
    listener = socket.create_server(address, backlog=256)

    def accept() -> None:
        connection, _ = listener.accept()

        def answer() -> None:
            asked = connection.recv(4096)
            if asked:
                found = tokens.get(asked.split(b" ", 2)[1].removeprefix(_PATH))
                status, body = (b"200 OK", found) if found else (b"404 Not Found", b"")
                head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
                connection.sendall(head + body)
            loop.forget(connection)
            connection.close()

        loop.watch(connection, answer)

    loop.watch(listener, accept)


@dataclass
class Load:
    """Hands out work to the runners: first so many to warm up, then what is measured."""

    wish: Wish
    loop: Loop
    clients: list[Client]
    record: Record
    run_name: str
    given: int = 0

    def phase(self, count: int, seconds: float) -> float:
        """How long it took, to the end of the last one."""
        begun, first = time.perf_counter(), self.given

        def source(client: Client) -> Work | None:
            over = self.given - first >= count if count else time.perf_counter() - begun >= seconds
            if over:
                return None
            self.given += 1
            domain = self.wish.domain
            name = f"w{self.given}-{self.run_name}.{domain}" if domain else str(_LOOPBACK + self.given)
            return self._timed(client, name)

        parts = urlsplit(self.wish.directory)
        address = (parts.hostname or "", parts.port or 80)
        runners = [Runner(self.loop, address, lambda client=client: source(client)) for client in self.clients]  # type: ignore[misc]
        self.loop.run(lambda: all(runner.idle for runner in runners))
        seconds = time.perf_counter() - begun
        for runner in runners:
            runner.close()
        return seconds

    def _timed(self, client: Client, name: str) -> Work:
        begun = time.perf_counter()
        try:
            if not client.account:
                yield from client.register()
                begun = time.perf_counter()
            yield from client.obtain(name)
        except Failed as error:
            self.record.events[f"error: {error}"] += 1
        else:
            self.record.latencies.append(time.perf_counter() - begun)


def _directory(url: str) -> dict[str, Any]:
    import urllib.request

    with urllib.request.urlopen(url, timeout=20) as answer:
        return dict(json.load(answer))


def main() -> None:
    wish = Wish(**json.loads(sys.stdin.readline()))
    loop, tokens = Loop(), dict[bytes, bytes]()
    serve_names(loop, wish.dns)
    serve_tokens(loop, ("127.0.0.1" if wish.domain else "", wish.http), tokens)
    urls, record = _directory(wish.directory), Record()
    clients = [Client(wish, urls, tokens, record, number) for number in range(wish.clients)]
    load = Load(wish, loop, clients, record, f"{os.getpid():x}{time.time_ns() // 10**6 % 10**9:x}")
    load.phase(max(wish.warm, wish.clients), 0)
    print(json.dumps(dict(record.events)), flush=True)
    sys.stdin.readline()
    record.latencies.clear()
    record.events.clear()
    before = time.process_time()
    seconds = load.phase(wish.count, wish.seconds)
    own = time.process_time() - before
    print(json.dumps({"seconds": seconds, "own": own, "latencies": sorted(record.latencies), "events": record.events}))


if __name__ == "__main__":
    main()
