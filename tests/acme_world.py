"""What stands around an ACME server in a test: hosts that prove names over HTTP, and a DNS server that has them all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dnslib import AAAA, QTYPE, RCODE, RR, TXT, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

from tests.ports import free_port

_PATH = "/.well-known/acme-challenge/"


@contextmanager
def challenge_responder(tokens: Mapping[str, str], port: int = 0, address: str = "127.0.0.1") -> Iterator[int]:
    """Answers http-01 (RFC 8555 §8.3) for every token there, whatever the host; its port, a free one if it is 0."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = tokens.get(self.path.removeprefix(_PATH)) if self.path.startswith(_PATH) else None
            body = (authorization or "not here").encode()
            self.send_response(200 if authorization else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class Names(BaseResolver):  # type: ignore[misc]
    """Every name is a host at `address`; TXT records are those of `texts`, by name without the last dot."""

    def __init__(self, texts: Mapping[str, list[str]], address: str = "127.0.0.1") -> None:
        self.texts = texts
        self.address = address

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = request.reply()
        name, kind = str(request.q.qname).removesuffix(".").lower(), QTYPE[request.q.qtype]
        if kind == "A" and ":" not in self.address:
            reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=1, rdata=A(self.address)))
        elif kind == "AAAA" and ":" in self.address:
            reply.add_answer(RR(request.q.qname, QTYPE.AAAA, ttl=1, rdata=AAAA(self.address)))
        elif kind == "TXT":
            for text in self.texts.get(name, ()):
                reply.add_answer(RR(request.q.qname, QTYPE.TXT, ttl=1, rdata=TXT(text)))
            if name not in self.texts:
                reply.header.rcode = RCODE.NXDOMAIN
        return reply


@contextmanager
def name_server(texts: Mapping[str, list[str]] | None = None, address: str = "127.0.0.1") -> Iterator[int]:
    """A DNS server over UDP and TCP at `address`, where all its names are too; its port. What is put into `texts` is
    answered from then on."""
    resolver = Names({} if texts is None else texts, address)
    silent = DNSLogger(log="-request,-reply,-truncated,-error", prefix=False)
    port = free_port()
    udp, tcp = (DNSServer(resolver, address=address, port=port, tcp=tcp, logger=silent) for tcp in (False, True))
    for server in (udp, tcp):
        server.start_thread()
    try:
        yield port
    finally:
        for server in (udp, tcp):
            server.stop()
            server.server.server_close()
