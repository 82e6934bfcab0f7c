"""Logs of certificate transparency (RFC 6962), small but real: what they are given is read and checked by strangers'
libraries, what they answer is signed, and where a test says so they lie, are slow or fall silent."""

from __future__ import annotations

import atexit
import base64
import hashlib
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.egress.certificates import context_with, self_signed

POISON = "1.3.6.1.4.1.11129.2.4.3"
TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"

LogPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Refusal(Exception):
    """What a log will not have."""


@cache
def _tls() -> tuple[ssl.SSLContext, str]:
    """For all logs of this process: what they show, and what has to be trusted for it (PEM)."""
    made = self_signed(["127.0.0.1"])
    return context_with(made), made[0].public_bytes(Encoding.PEM).decode()


def trusting() -> ssl.SSLContext:
    """A client's context that believes the logs, and nobody else."""
    return ssl.create_default_context(cadata=_tls()[1])


@cache
def trusted_file() -> Path:
    """The same for programs, as SSL_CERT_FILE."""
    with tempfile.NamedTemporaryFile("w", prefix="logs-", suffix=".pem", delete=False) as file:
        file.write(_tls()[1])
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Path(file.name)


@dataclass
class Log:
    """`roots` (DER) are those that it accepts, all where there are none. `clock` gives epoch seconds. `faults` are
    for the next answers, one each; `fault` for all of them. `seen` are the chains that came, and the TBSCertificates
    that it signed for, without poison, are `entries`; `arrived` holds the fault of every question, once it was read."""

    key: LogPrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    roots: set[bytes] = field(default_factory=set)
    clock: Callable[[], float] = time.time
    static: bool = False
    fault: str = ""
    faults: list[str] = field(default_factory=list)
    seen: list[list[bytes]] = field(default_factory=list)
    entries: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/2030"

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.spki).digest()

    @property
    def declared(self) -> str:
        """As a template declares it."""
        return f'{{ url: "{self.url}", key: {base64.b64encode(self.spki).decode()} }}'

    def add_pre_chain(self, body: bytes, fault: str) -> dict[str, Any]:
        chain = [base64.b64decode(text, validate=True) for text in json.loads(body)["chain"]]
        self.seen.append(chain)
        entry, issuer_key_hash = self._check(chain)
        timestamp, index = self.entries.setdefault(entry, (int(self.clock() * 1000), len(self.entries)))
        timestamp += {"stale": -3_600_000, "future": 3_600_000, "beyond all time": 1 << 62}.get(fault, 0)
        extensions = b"\x00\x00\x05" + index.to_bytes(5) if self.static else b""  # C2SP static-ct-api: leaf_index
        signed = to_be_signed(
            timestamp,
            issuer_key_hash if fault != "wrong issuer" else bytes(32),
            entry if fault != "wrong hash" else entry[:-1] + bytes((entry[-1] ^ 1,)),
            extensions if fault != "other extensions" else extensions + b"\0",
        )
        key = ec.generate_private_key(ec.SECP256R1()) if fault == "wrong key" else self.key
        answer: dict[str, Any] = {
            "sct_version": 0,
            "id": base64.b64encode(self.id).decode(),
            "timestamp": timestamp,
            "extensions": base64.b64encode(extensions).decode(),
            "signature": base64.b64encode(sign_as_log(key, signed)).decode(),
        }
        return _spoilt(answer, fault)

    def _check(self, chain: Sequence[bytes]) -> tuple[bytes, bytes]:
        """The entry, and the hash of its issuer's key. Raises Refusal."""
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        try:
            for child, parent in pairwise(certificates):
                child.verify_directly_issued_by(parent)
        except (InvalidSignature, ValueError, TypeError):
            raise Refusal("the chain does not hold") from None
        if self.roots and chain[-1] not in self.roots:
            raise Refusal("unknown root")
        precertificate = asn1_x509.Certificate.load(chain[0])
        tbs = precertificate["tbs_certificate"]
        found = {extension["extn_id"].dotted: extension for extension in tbs["extensions"]}
        poison = found.get(POISON)
        if poison is None or not poison["critical"].native or poison["extn_value"].contents != b"\x05\x00":
            raise Refusal("it is no precertificate")
        if TIMESTAMPS in found:
            raise Refusal("it holds timestamps already")
        issuer = certificates[1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return without(chain[0], POISON), hashlib.sha256(issuer).digest()


def without(der: bytes, oid: str) -> bytes:
    """The TBSCertificate of a certificate but for one extension, as a stranger's library writes it."""
    tbs = asn1_x509.Certificate.load(der)["tbs_certificate"]
    kept = [extension for extension in tbs["extensions"] if extension["extn_id"].dotted != oid]
    assert len(kept) == len(tbs["extensions"]) - 1
    tbs["extensions"] = asn1_x509.Extensions(kept)
    return bytes(tbs.dump(force=True))


def to_be_signed(timestamp: int, issuer_key_hash: bytes, entry: bytes, extensions: bytes) -> bytes:
    """RFC 6962 §3.2."""
    head = b"\x00\x00" + timestamp.to_bytes(8) + b"\x00\x01" + issuer_key_hash
    return head + len(entry).to_bytes(3) + entry + len(extensions).to_bytes(2) + extensions


def sign_as_log(key: LogPrivateKey, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        signature, marks = key.sign(message, padding.PKCS1v15(), hashes.SHA256()), b"\x04\x01"
    else:
        signature, marks = key.sign(message, ec.ECDSA(hashes.SHA256())), b"\x04\x03"
    return marks + len(signature).to_bytes(2) + signature


def _spoilt(answer: dict[str, Any], fault: str) -> dict[str, Any]:
    signature = base64.b64decode(answer["signature"])
    changes: dict[str, dict[str, Any]] = {
        "wrong id": {"id": base64.b64encode(bytes(32)).decode()},
        "short id": {"id": base64.b64encode(bytes(31)).decode()},
        "version 2": {"sct_version": 1},
        "version true": {"sct_version": False},
        "no version": {"sct_version": None},
        "timestamp in words": {"timestamp": "now"},
        "timestamp below zero": {"timestamp": -1},
        "timestamp too large": {"timestamp": 1 << 64},
        "no base64": {"signature": "%%%"},
        "a number for a signature": {"signature": 7},
        "cut signature": {"signature": base64.b64encode(signature[:-1]).decode()},
        "long signature": {"signature": base64.b64encode(signature + b"\0").decode()},
        "empty signature": {"signature": ""},
        "another algorithm": {"signature": base64.b64encode(b"\x04\x02" + signature[2:]).decode()},
        "another hash": {"signature": base64.b64encode(b"\x02" + signature[1:]).decode()},
        "endless extensions": {"extensions": base64.b64encode(bytes(1 << 16)).decode()},
    }
    return answer | changes.get(fault, {})


STATUSES = {"400": 400, "403": 403, "404": 404, "429": 429, "429 in a moment": 429, "500": 500, "503": 503}


def _handler(log: Log) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = log.faults.pop(0) if log.faults else log.fault
            log.arrived.append(fault)
            if fault == "silent":
                log.released.wait(60)
            if fault in ("silent", "gone"):
                self.close_connection = True
                return
            if self.path != "/2030/ct/v1/add-pre-chain" or self.headers["Content-Type"] != "application/json":
                self.say(404, b"no such method")
            elif fault in STATUSES:
                self.say(STATUSES[fault], b"\x1b[31mnot now", {"Retry-After": "1"} if "moment" in fault else {})
            elif fault == "redirect":
                self.say(307, b"", {"Location": "https://127.0.0.1:1/ct/v1/add-pre-chain"})
            elif fault == "no JSON":
                self.say(200, b"<html>" + b"[" * 5000)
            elif fault == "a list":
                self.say(200, b"[1]")
            elif fault == "huge":
                self.say(200, b" " * (1 << 19))
            else:
                self.answer(body, fault)

        def answer(self, body: bytes, fault: str) -> None:
            try:
                self.say(200, json.dumps(log.add_pre_chain(body, fault)).encode())
            except Refusal as ex:
                log.refused.append(str(ex))
                self.say(400, str(ex).encode())

        def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked may have gone
                self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, log: Log) -> None:
        super().__init__(("127.0.0.1", 0), _handler(log))

    def finish_request(self, request: Any, client_address: Any) -> None:  # in the connection's own thread
        with suppress(OSError), _tls()[0].wrap_socket(request, server_side=True) as tls:
            tls.settimeout(60)
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go."""


@contextmanager
def serving(*logs: Log) -> Iterator[tuple[Log, ...]]:
    with ExitStack() as stack:
        for log in logs:
            server = stack.enter_context(_Server(log))
            log.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown)
            stack.callback(log.released.set)
        yield logs


@cache
def standing() -> tuple[Log, ...]:
    """Logs that run as long as this process: two that promise, and one that never does."""
    made = (Log(), Log(), Log(fault="403"))
    running = ExitStack()
    atexit.register(running.close)
    return running.enter_context(serving(*made))


def check_timestamps(leaf_der: bytes, issuer_der: bytes, logs: Sequence[Log]) -> list[Log]:
    """The logs whose timestamps a certificate carries, each found to hold: read and verified without our program."""
    leaf, issuer = x509.load_der_x509_certificate(leaf_der), x509.load_der_x509_certificate(issuer_der)
    listed = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert not listed.critical
    issuer_key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert leaf.tbs_precertificate_bytes == without(leaf_der, TIMESTAMPS)
    by_id = {log.id: log for log in logs}
    found = []
    for sct in listed.value:
        log = by_id[sct.log_id]
        assert sct.version is x509.certificate_transparency.Version.v1
        assert sct.entry_type is x509.certificate_transparency.LogEntryType.PRE_CERTIFICATE
        milliseconds, _ = log.entries[leaf.tbs_precertificate_bytes]
        message = to_be_signed(
            milliseconds, hashlib.sha256(issuer_key).digest(), leaf.tbs_precertificate_bytes, sct.extension_bytes
        )
        public = log.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(sct.signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            public.verify(sct.signature, message, ec.ECDSA(hashes.SHA256()))
        found.append(log)
    return found
