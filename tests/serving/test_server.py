"""gunicorn really running: strangers as clients, hostile clients, reloads under load, the end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from tests.ports import free_port
from tests.revocation.pki import question
from tests.serving.running import Installation, Server, eventually
from tests.tools import accepted, run_tool


def ask_openssl(installation: Installation, server: Server, leaf: str, *more: str) -> str:
    """What `openssl ocsp` says, its answer verified. `more` comes first: so it wants its digest."""
    issuer, root = installation.export("issuing"), installation.export("root")
    return accepted(
        run_tool("openssl", "ocsp", *more, "-issuer", issuer, "-cert", installation.folder / f"{leaf}.pem", "-url",
                 f"{server.url}/ocsp/issuing", "-CAfile", root, "-verify_other", issuer)
    )  # fmt: skip


@pytest.mark.row("F131")
@pytest.mark.row("F136")
@pytest.mark.row("F138")
def test_strangers_ask_and_believe(installation: Installation) -> None:
    leaf = installation.issue()
    with installation.serving() as server:
        said = ask_openssl(installation, server, "web.corp.example", "-text")
        assert "Response verify OK" in said
        assert ": good" in said
        assert "OCSP Nonce" in said

        installation.run("cert", "revoke", f"{leaf.serial_number:x}", "--reason", "keyCompromise")
        # Acknowledged by another process, it is what every worker's next answer says.
        issuer = x509.load_pem_x509_certificate(installation.export("issuing").read_bytes())
        for _ in range(12):
            status, body = server.request("POST", "/ocsp/issuing", question(issuer, leaf.serial_number))
            assert status == 200
            assert ocsp.load_der_ocsp_response(body).certificate_status is ocsp.OCSPCertStatus.REVOKED
        said = ask_openssl(installation, server, "web.corp.example", "-sha256", "-no_nonce")
        assert ": revoked" in said
        assert "Reason: keyCompromise" in said

        crl = installation.folder / "crl.der"
        accepted(run_tool("curl", "-sSf", "-o", crl, f"{server.url}/crl/issuing/1.crl"))
        said = accepted(run_tool("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text", "-verify",
                                 "-CAfile", installation.export("issuing")))  # fmt: skip
        assert "verify OK" in said
        assert f"{leaf.serial_number:X}" in said
        assert server.tree.end(signal.SIGTERM) == 0
        # Its declaration has a base URL where nobody listens, and `serve` says so.
        lines = [line for line in server.tree.text.splitlines() if "begin with http://127.0.0.1:1," not in line]
        assert lines == [], "a quiet life leaves no lines"


def test_curl_in_chunks_conditions_and_heads(installation: Installation) -> None:
    with installation.serving("--workers", "1") as server:
        issuer = x509.load_pem_x509_certificate(installation.export("issuing").read_bytes())
        request = installation.folder / "request.der"
        request.write_bytes(question(issuer, 0x40 << 144))
        out = installation.folder / "answer.der"
        accepted(run_tool("curl", "-sSf", "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{request}",
                          "-o", out, f"{server.url}/ocsp/issuing"))  # fmt: skip
        answer = ocsp.load_der_ocsp_response(out.read_bytes())
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
        head = accepted(run_tool("curl", "-sSfI", f"{server.url}/crl/issuing/1.crl"))
        tag = re.search(r'etag: ("\w+")', head, re.IGNORECASE)
        assert tag is not None
        assert re.search(r"^date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", head, re.IGNORECASE | re.MULTILINE)
        code = accepted(run_tool("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                                 f"If-None-Match: {tag[1]}", f"{server.url}/crl/issuing/1.crl"))  # fmt: skip
        assert code == "304"
        huge = installation.folder / "huge"
        huge.write_bytes(bytes(10_000_000))
        for chunked in ([], ["-H", "Transfer-Encoding: chunked"]):
            # The rest of it is not read, which curl may take for a failure after it has the answer.
            sent = run_tool("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *chunked, "--data-binary",
                            f"@{huge}", f"{server.url}/ocsp/issuing")  # fmt: skip
            assert sent.stdout == (b"200" if chunked else b"413"), sent
        assert server.answers()


# --- clients that mean no good --------------------------------------------------------------------------------------


def test_nonsense_on_the_wire(installation: Installation) -> None:
    with installation.serving("--workers", "1") as server:
        for octets in (
            b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"\r\n\r\n", b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
            b"POST /ocsp/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n",
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nshort",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50),
        ):  # fmt: skip
            answer = server.raw(octets)
            assert answer == b"" or answer.split(b" ")[1] in (b"200", b"400", b"404", b"405", b"501", b"505"), answer
            assert b"Traceback" not in answer
        for version in (b"1.1", b"1.0"):
            for size, status in ((20_000, b"404"), (40_000, b"414")):
                answer = server.raw(b"GET /" + b"a" * size + b" HTTP/%s\r\nHost: a\r\n\r\n" % version)
                assert answer.split(b" ")[1] == status
        assert answer.endswith(b"send a long message by POST\n")
        long_header = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"
        assert server.raw(long_header).split(b" ")[1] in (b"400", b"431")
        many_headers = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n"
        assert server.raw(many_headers).split(b" ")[1] in (b"400", b"431")
        assert server.answers()
        assert len(server.tree.processes()) == 2
        assert "Traceback" not in server.tree.text


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_requests_that_come_together_are_answered_in_their_order(installation: Installation, tls: bool) -> None:
    """Plain ones, which the main loop reads, between others that gunicorn's parser reads."""
    chunked = b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0\0\r\n0\r\n\r\n"
    plain = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    posted = b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n0\0"
    last = b"GET /crl/nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    port = free_port()
    flags = ("--tls-bind", f"127.0.0.1:{port}", "--tls-template", "issuing/web-server",
             "--tls-names", "pki.corp.example") if tls else ()  # fmt: skip
    root = installation.export("root")
    with installation.serving("--workers", "1", *flags) as server:
        eventually(lambda: _listens(port if tls else server.port))
        raw = socket.create_connection(("127.0.0.1", port if tls else server.port), timeout=60)
        context = ssl.create_default_context(cafile=str(root))
        with context.wrap_socket(raw, server_hostname="pki.corp.example") if tls else raw as connection:
            connection.sendall(plain + chunked + posted + plain + chunked + plain + last)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        statuses = re.findall(rb"HTTP/1.1 (\d+) ", answer)
        said = list(zip(statuses, re.findall(rb"\r\nContent-Type: ([a-z/-]+)", answer, re.IGNORECASE), strict=True))
        ocsp_error, healthy = (b"200", b"application/ocsp-response"), (b"200", b"text/plain")
        assert said == [healthy, ocsp_error, ocsp_error, healthy, ocsp_error, healthy, (b"404", b"text/plain")]
        assert server.tree.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.tree.text


def test_a_client_that_keeps_its_end_open_costs_nobody_else_anything(installation: Installation) -> None:
    with installation.serving("--workers", "1", "--threads", "4") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        for connection in held:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        begun = time.monotonic()
        assert server.get("/healthz")[0] == 200
        assert time.monotonic() - begun < 6
        for connection in held:
            connection.close()


# --- many workers, one server ---------------------------------------------------------------------------------------


def count(text: str, **labels: str) -> float:
    return sum(
        float(found[2])
        for found in re.finditer(r"^pkiconf_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE)
        if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[1])).items()
    )


def test_metrics_count_every_worker_and_every_listener(installation: Installation) -> None:
    operations = free_port()
    with installation.serving("--workers", "3", "--operations-bind", f"127.0.0.1:{operations}") as server:
        private = Server(operations, server.tree)
        eventually(private.answers)

        def ask() -> None:
            for _ in range(20):
                assert server.get("/crl/issuing/1.crl")[0] == 200

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert server.get("/metrics")[0] == 404
        assert count(private.get("/metrics")[1].decode(), protocol="crl", status="200") == 80
        workers = {path.name for path in (installation.state / "metrics").glob("counter_*.db")}
        assert len(workers) >= 2
        # A worker that dies takes nothing with it.
        arbiter = server.tree.processes("--only plain")
        children = [one for one in arbiter if _parent(one) in arbiter]
        assert len(children) == 3
        os.kill(children[0], signal.SIGKILL)
        eventually(lambda: len([o for o in server.tree.processes("--only plain") if _parent(o) in arbiter]) == 3)
        assert server.get("/crl/issuing/1.crl")[0] == 200
        assert count(private.get("/metrics")[1].decode(), protocol="crl", status="200") == 81


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def test_sighup_under_load_fails_no_request(installation: Installation) -> None:
    with installation.serving("--workers", "2") as server:
        top = server.tree.process.pid
        before = set(server.tree.processes()) - {top}
        wrong: list[object] = []
        asked = [0]
        stop = threading.Event()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            before = time.monotonic()  # when the request before this one was made: only then could it be idle
            while not stop.is_set():
                begun, waited = time.monotonic(), 0.0
                try:
                    connection.request("GET", "/crl/issuing/1.crl")
                    waited = time.monotonic() - before
                    answer = connection.getresponse()
                    answer.read()
                    before = begun
                    asked[0] += 1
                    if answer.status != 200:
                        wrong.append(answer.status)
                except (OSError, http.client.HTTPException) as ex:
                    # A process that ends keeps an idle connection for two seconds: whoever is kept from running for
                    # so long, on a busy machine, may find it closed (RFC 9112 section 9.5).
                    if waited < 1.5:
                        wrong.append((repr(ex), waited))
                    connection.close()
                    before = time.monotonic()
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(1)
            server.tree.process.send_signal(signal.SIGHUP)
            time.sleep(4)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert asked[0] > 50
        eventually(lambda: not before & set(server.tree.processes()))
        assert server.answers()


def test_sigterm_lets_a_request_end(installation: Installation) -> None:
    with installation.serving("--workers", "1") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n00")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            connection.sendall(b"POST /ocsp/issuing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n0")
            time.sleep(0.5)
            server.tree.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(b"x")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert server.tree.process.wait(20) == 0
        eventually(lambda: not server.tree.processes())


def test_access_log_of_all_workers(installation: Installation) -> None:
    with installation.serving("--access-log", "json", "--trusted-proxies", "127.0.0.0/8") as server:
        for number in range(10):
            server.get(f"/nothing/{number}?secret", headers={"X-Forwarded-For": f"203.0.113.{number}"})
        server.tree.wait_for(r"nothing/9")
        told = [json.loads(line) for line in server.tree.lines if "nothing" in line]
        assert {(line["client"], line["path"]) for line in told} == {
            (f"203.0.113.{number}", f"/nothing/{number}") for number in range(10)
        }
        assert "secret" not in server.tree.text


# --- what stops it from starting ------------------------------------------------------------------------------------


def test_an_address_that_is_taken_is_told_at_once(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        done = installation.run("serve", "--bind", bind, check=False)
        assert done.returncode == 1
        assert f"cannot listen on {bind}: another program listens there" in done.stderr
        yaml = installation.folder / "pki.yaml"
        yaml.write_text("authorities: [{name: more}]")
        done = installation.run("up", yaml, "--bind", bind, check=False)
        assert (done.returncode, "another program" in done.stderr) == (1, True)
        assert "more" not in installation.run("authority", "list").stdout  # nothing was changed


@pytest.mark.parametrize("flags", [("--bind", "nonsense"), ("--bind", "127.0.0.1:http"), ("--tls-bind", "127.0.0.1:1"),
                                   ("--trusted-proxies", "x"), ("--workers", "0")])  # fmt: skip
def test_wrong_usage(installation: Installation, flags: tuple[str, str]) -> None:
    assert installation.run("serve", *flags, check=False).returncode == 64


def test_no_state_no_server(tmp_path: Path) -> None:
    done = Installation(tmp_path).run("serve", "--bind", f"127.0.0.1:{free_port()}", check=False)
    assert done.returncode == 1
    assert "pkiconf up" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_wrong_master_key_is_told_at_once(installation: Installation) -> None:
    (installation.state / "master.key").unlink()
    other = Installation(installation.folder / "other")
    other.folder.mkdir()
    yaml = other.folder / "pki.yaml"
    yaml.write_text("authorities: [{name: x, key: {type: ec, curve: p256}}]")
    other.run("apply", yaml)
    (other.state / "master.key").rename(installation.state / "master.key")
    done = installation.run("serve", "--bind", f"127.0.0.1:{free_port()}", check=False)
    assert done.returncode == 1
    assert "sealed under master key" in done.stderr


# --- TLS ------------------------------------------------------------------------------------------------------------


def _peer(port: int, root: Path) -> int:
    """The serial of the certificate that a verifying client was shown."""
    context = ssl.create_default_context(cafile=str(root))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="pki.corp.example") as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_tls_with_a_certificate_of_its_own(installation: Installation) -> None:
    tls_port = free_port()
    flags = ("--tls-bind", f"127.0.0.1:{tls_port}", "--tls-template", "issuing/web-server",
             "--tls-names", "pki.corp.example,127.0.0.1", "--workers", "1")  # fmt: skip
    root = installation.export("root")
    with installation.serving(*flags) as server:
        eventually(lambda: _listens(tls_port))
        said = accepted(run_tool("openssl", "s_client", "-connect", f"127.0.0.1:{tls_port}", "-CAfile", root,
                                 "-servername", "pki.corp.example", "-verify_return_error", "-verify_hostname",
                                 "pki.corp.example", stdin=b"Q\n"))  # fmt: skip
        assert "Verify return code: 0 (ok)" in said
        body = accepted(run_tool("curl", "-sSf", "--cacert", root, f"https://127.0.0.1:{tls_port}/healthz"))
        assert body == "ok\n"
        old = run_tool("openssl", "s_client", "-connect", f"127.0.0.1:{tls_port}", "-tls1_1", stdin=b"Q\n")
        assert old.returncode != 0
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")

        first = _peer(tls_port, root)
        (installation.state / "listener.pem").unlink()
        from pkiconf.bootstrap import open_services
        from pkiconf.settings import ProcessSettings

        with open_services(ProcessSettings(state=installation.state)) as services:
            services.listener.ensure("issuing/web-server", ("pki.corp.example", "127.0.0.1"))
        assert _peer(tls_port, root) != first
        # A client that never finishes its handshake, and one that speaks no TLS at all.
        with (
            socket.create_connection(("127.0.0.1", tls_port)) as silent,
            socket.create_connection(("127.0.0.1", tls_port)) as plain,
        ):
            silent.sendall(b"\x16\x03\x01")
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            _peer(tls_port, root)
        assert server.tree.end(signal.SIGTERM) == 0


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
