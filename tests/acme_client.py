"""A small ACME client of the tests' own (RFC 8555): it says exactly what it is told to say, over one kept connection.

It shares nothing with the server's code: JOSE is made here with `cryptography` and the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

JOSE = "application/jose+json"


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Key:
    """A P-256 account key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        self.jwk = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
        self.thumbprint = b64(hashlib.sha256(compact(self.jwk)).digest())

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def jws(self, protected: Mapping[str, Any], payload: bytes) -> bytes:
        head, body = b64(compact({"alg": "ES256", **protected})), b64(payload)
        return compact({"protected": head, "payload": body, "signature": b64(self.sign(f"{head}.{body}".encode()))})


def bound(key: Key, url: str, key_id: str, hmac_key: str) -> dict[str, str]:
    """An externalAccountBinding (§7.3.4), HS256."""
    head, body = b64(compact({"alg": "HS256", "kid": key_id, "url": url})), b64(compact(key.jwk))
    mac = hmac.digest(unb64(hmac_key), f"{head}.{body}".encode(), "sha256")
    return {"protected": head, "payload": body, "signature": b64(mac)}


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last part of a problem's type; empty for what is none."""
        if self.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
            return ""
        return str(self.json.get("type", "")).rpartition(":")[2]


@dataclass
class Client:
    """`heard` is called with every signed request that was answered, and its answer."""

    directory_url: str
    key: Key = field(default_factory=Key)
    heard: Callable[[str, bytes, Answer], None] = lambda url, request, answer: None
    account: str | None = None
    timeout: float = 30

    def __post_init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._nonces: list[str] = []
        self._directory: dict[str, Any] | None = None

    @property
    def directory(self) -> dict[str, Any]:
        if self._directory is None:
            answer = self.exchange("GET", self.directory_url)
            if answer.status != 200:
                raise ConnectionError(f"there is no directory: {answer.status}")
            self._directory = answer.json
        return self._directory

    def exchange(self, method: str, url: str, body: bytes | None = None, media_type: str = JOSE) -> Answer:
        """One request, as it is. Raises OSError or HTTPException when there is no whole answer."""
        parts = urlsplit(url)
        if self._connection is None:
            self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection.request(method, target, body, {"Content-Type": media_type} if body is not None else {})
            response = self._connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:
            self.forget()
            raise
        if nonce := answer.headers.get("replay-nonce"):
            self._nonces.append(nonce)
        return answer

    def forget(self) -> None:
        """The connection; what is asked next makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def nonce(self) -> str:
        if not self._nonces:
            answer = self.exchange("HEAD", self.directory["newNonce"])
            if not self._nonces:
                raise ConnectionError(f"newNonce gave none: {answer.status}")
        return self._nonces.pop()

    def signed(self, url: str, payload: object = "", *, by_key: bool = False) -> bytes:
        """`payload` "" asks for the resource (POST-as-GET, §6.3)."""
        who = {"jwk": self.key.jwk} if by_key or self.account is None else {"kid": self.account}
        octets = b"" if payload == "" else compact(payload)
        return self.key.jws({"nonce": self.nonce(), "url": url, **who}, octets)

    def post(self, url: str, payload: object = "", *, by_key: bool = False) -> Answer:
        """Signed, and again with a new nonce when the old one had run out (§6.5)."""
        for _ in range(5):
            request = self.signed(url, payload, by_key=by_key)
            answer = self.exchange("POST", url, request)
            if answer.problem != "badNonce":
                self.heard(url, request, answer)
                return answer
        raise AssertionError(f"five nonces in a row were refused at {url}")

    def register(self, binding: tuple[str, str] | None = None, **members: Any) -> Answer:
        url = self.directory["newAccount"]
        wish: dict[str, Any] = {"termsOfServiceAgreed": True, **members}
        if binding is not None:
            wish["externalAccountBinding"] = bound(self.key, url, *binding)
        answer = self.post(url, wish, by_key=True)
        if answer.status in (200, 201):
            self.account = answer.headers["location"]
        return answer

    def order(self, names: Sequence[str], **members: Any) -> Answer:
        identifiers = [{"type": "dns", "value": name} for name in names]
        return self.post(self.directory["newOrder"], {"identifiers": identifiers, **members})

    def key_authorization(self, token: str) -> str:
        return f"{token}.{self.key.thumbprint}"

    def wait(self, url: str, pause: float = 0.05, seconds: float = 60) -> Answer:
        """Ask for an order or an authorization until it is neither pending nor processing."""
        deadline = time.monotonic() + seconds
        while (answer := self.post(url)).status == 200 and answer.json["status"] in ("pending", "processing"):
            assert time.monotonic() < deadline, f"{url} stays {answer.json}"
            time.sleep(pause)
        return answer


def csr_for(names: Sequence[str], key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """As finalize wants it: DER in base64url."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return b64(builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER))
