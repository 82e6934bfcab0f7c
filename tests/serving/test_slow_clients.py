"""Clients that send or read slowly on purpose: they keep nobody else waiting, and are cut off in the end.

Each test has all its clients at once, on one server, and looks at each connection: that it was ended.
"""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
from contextlib import ExitStack

import pytest

from tests.ports import free_port
from tests.serving.running import Installation, Server, eventually
from tests.serving.slow import Slow, connected, is_cut_off, remaining

EVERYTHING = """
settings: {base_url: "http://127.0.0.1:1"}
authorities:
  - {name: root, key: {type: ec, curve: p256}}
  - name: issuing
    issuer: root
    key: {type: ec, curve: p256}
    timestamp: {enabled: true}
    cps: {file: long.txt}
templates:
  - name: device
    authority: issuing
    starter: device
    scep:
      enabled: true
      ndes: {enabled: true, basic_auth: {username: mdm, password: !env NDES_PASSWORD}}
acme_policies: [{name: internal, template: issuing/web-server}]
"""
PATHS = (
    "/ocsp/issuing", "/crl/issuing/1.crl", "/tsa/issuing", "/scep/issuing/device", "/acme/new-order",
    "/certsrv/issuing/device/mscep_admin/", "/claim/0123456789abcdef", "/profile/0123456789abcdef.mobileconfig",
)  # fmt: skip


def post(path: str, more: str, then: bytes) -> Slow:
    return Slow(f"POST {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n".encode(), then)


def quickly(server: Server) -> bool:
    try:
        return server.get("/healthz", timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_slow_clients_are_cut_off_and_the_server_is_free_again(installation: Installation) -> None:
    """Bodies in chunks, and long ones, are read by threads, of which there are fewer than clients."""
    declaration = installation.folder / "pki.yaml"
    declaration.write_text(EVERYTHING)
    (installation.folder / "long.txt").write_text("x" * 500_000)
    installation.settings |= {"NDES_PASSWORD": "a password for machines", "PKICONF_REQUEST_TIMEOUT": "1"}
    installation.run("apply", declaration)
    kinds = {
        "silent": Slow(b""),
        "half a head": Slow(b"GET /healthz HTTP/1.1\r\n"),
        "a slow head": Slow(b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n"),
        "half a body": post("/ocsp/issuing", "Content-Length: 9000", b""),
        "never reads": Slow(b"GET /cps/issuing HTTP/1.1\r\nHost: a\r\n\r\n" * 40, reads=False),
        "never reads either": Slow(b"GET /cps/issuing HTTP/1.1\r\nHost: a\r\n\r\n" * 40, reads=False),
    }
    for path in PATHS:
        kinds[f"a slow body, {path}"] = post(path, "Content-Length: 9000", b"x")
        kinds[f"slow chunks, {path}"] = post(path, "Transfer-Encoding: chunked", b"1\r\nx\r\n")
        kinds[f"a long body, {path}"] = post(path, "Content-Length: 200000", b"x")
    with installation.serving("--workers", "1", "--threads", "2") as server, ExitStack() as stack:
        clients = {}
        for name, slow in kinds.items():
            connection = stack.enter_context(connected(server.port))
            connection.setblocking(False)
            clients[name] = (connection, slow)
        assert remaining(clients) == []
        eventually(lambda: quickly(server))
        # These two were not read from until now. All answers are more than the network holds.
        eventually(lambda: is_cut_off(clients["never reads"][0]))
        eventually(lambda: is_cut_off(clients["never reads either"][0]))
        assert server.tree.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.tree.text


def test_slow_clients_over_tls(installation: Installation) -> None:
    """Each has a thread from its first octet on, until it is cut off. There is one thread, so the next one's handshake
    waits for that; with the time-out of 30 seconds that holds by default, for longer than it has patience."""
    root, port = installation.export("root"), free_port()
    installation.settings["PKICONF_REQUEST_TIMEOUT"] = "3"
    flags = ("--tls-bind", f"127.0.0.1:{port}", "--tls-template", "issuing/web-server",
             "--tls-names", "pki.corp.example", "--workers", "1", "--threads", "1")  # fmt: skip
    kinds = {
        "silent after the handshake": Slow(b""),
        "half a head": Slow(b"GET /healthz HTTP/1.1\r\nX-A: b"),
        "a slow head": Slow(b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n"),
        "a slow body": post("/ocsp/issuing", "Content-Length: 9000", b"x"),
        "slow chunks": post("/ocsp/issuing", "Transfer-Encoding: chunked", b"1\r\nx\r\n"),
    }
    context = ssl.create_default_context(cafile=str(root))
    with installation.serving(*flags) as server, ExitStack() as stack:
        eventually(lambda: over_tls(port, context))
        clients: dict[str, tuple[socket.socket, Slow]] = {}
        for name, slow in kinds.items():
            tls = context.wrap_socket(stack.enter_context(connected(port, 20)), server_hostname="pki.corp.example")
            clients[name] = (stack.enter_context(tls), slow)
        for name, slow in {"no handshake": Slow(b""), "a handshake never ended": Slow(b"\x16\x03\x01")}.items():
            clients[name] = (stack.enter_context(connected(port)), slow)
        for connection, _ in clients.values():
            connection.setblocking(False)
        assert remaining(clients) == []
        eventually(lambda: over_tls(port, context))
        assert server.tree.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.tree.text


def over_tls(port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("pki.corp.example", port, timeout=5, context=context)
    try:
        raw = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.sock = context.wrap_socket(raw, server_hostname="pki.corp.example")
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["silent", "header", "body"])
def test_slow_clients_keep_no_thread(installation: Installation, kind: str) -> None:
    """Nobody has to wait until they are cut off, which here would take an hour."""
    first = {
        "silent": b"",
        "header": b"GET /healthz HTTP/1.1\r\nX-A: b",
        "body": b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nx",
    }[kind]
    installation.settings["PKICONF_REQUEST_TIMEOUT"] = "3600"
    with installation.serving("--workers", "1", "--threads", "2") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for connection in held:
            connection.sendall(first)
        eventually(lambda: quickly(server))
        for connection in held:
            connection.close()
