"""Strangers' servers on loopback, in threads of the test: DNS over UDP and TCP, plain TCP, TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dnslib import DNSRecord

from tests.ports import free_port

Say = Callable[[DNSRecord, bool], bytes | None]
"""What to answer to a question, which came over TCP or not; None for silence."""


@contextmanager
def dns_server(say: Say) -> Iterator[tuple[str, int]]:
    """On one port, UDP and TCP."""
    tcp = socket.create_server(("127.0.0.1", free_port()))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())

    def serve_udp() -> None:
        while True:
            try:
                message, client = udp.recvfrom(65535)
            except OSError:
                return
            if message == b"end":
                return
            answer = say(DNSRecord.parse(message), False)
            if answer is not None:
                udp.sendto(answer, client)

    def serve_one(connection: socket.socket) -> None:
        size = int.from_bytes(connection.recv(2), "big")
        answer = say(DNSRecord.parse(connection.recv(size)), True)
        if answer is not None:
            connection.sendall(len(answer).to_bytes(2, "big") + answer)

    threads = [threading.Thread(target=serve_udp, daemon=True), threading.Thread(target=_accept, args=(tcp, serve_one))]
    threads[1].daemon = True
    for thread in threads:
        thread.start()
    try:
        yield tcp.getsockname()
    finally:
        udp.sendto(b"end", udp.getsockname())
        _end(tcp)
        for thread in threads:
            thread.join(10)
        udp.close()


@contextmanager
def server(answer: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A listener that does what `answer` does with each connection, one after the other; its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    thread = threading.Thread(target=_accept, args=(listener, answer), daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        _end(listener)
        thread.join(10)


def until_it_leaves(connection: socket.socket) -> None:
    """Say nothing to a client for as long as it likes."""
    while connection.recv(4096):
        pass


def http_server(respond: Callable[[str, str], bytes], host: str = "127.0.0.1") -> object:
    """`respond` is given the request's target and Host header, and gives the whole answer."""

    def answer(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            more = connection.recv(4096)
            if not more:
                return
            request += more
        first, *headers = request.decode("ascii").split("\r\n")
        asked = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in headers}
        connection.sendall(respond(first.split(" ")[1], asked["host"]))

    return server(answer, host)


def tls_server(context: ssl.SSLContext, seen: list[str | None] | None = None) -> object:
    """Does the handshake and nothing else; `seen` gets the server names asked for."""

    def noted(_: object, name: str | None, __: object) -> None:
        if seen is not None:
            seen.append(name)

    context.sni_callback = noted

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    return server(answer)


def _accept(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            with suppress(OSError):
                answer(connection)


def _end(listener: socket.socket) -> None:
    """A thread that waits in accept is not woken by closing alone."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
