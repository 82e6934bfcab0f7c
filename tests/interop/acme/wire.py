"""What ACME clients that cannot run here put on the wire: how they sign, spell and order things, written down.

`Wire` sends requests in the manner of one of them, over the same connection, and shares nothing with the server's code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


@dataclass(frozen=True)
class Manner:
    """`algorithm` is that of its account keys; `protected`, `jwk` and `members` give the order of what they name,
    `spaced` whether JSON has spaces; `probes` says that it asks for an existing account before it registers."""

    name: str
    headers: Mapping[str, str]
    algorithm: str = "ES256"
    protected: Sequence[str] = ("alg", "jwk", "kid", "nonce", "url")
    jwk: Sequence[str] = ("crv", "kty", "x", "y")
    members: Sequence[str] = ("protected", "payload", "signature")
    spaced: bool = False
    probes: bool = False


CERTIFY_THE_WEB = Manner(
    "Certify The Web",
    {"User-Agent": "Certify/6.1.8 (Windows; Microsoft Windows NT 10.0.20348.0) Anvil/3.0", "Accept-Language": "en-US"},
    jwk=("crv", "kty", "x", "y"),
    protected=("alg", "jwk", "kid", "nonce", "url"),
)
CERT_MANAGER = Manner(
    "cert-manager",
    {"User-Agent": "cert-manager-clusterissuers/v1.16.2 (linux/amd64) cert-manager/abc", "Accept-Encoding": "gzip"},
    algorithm="RS256",
    jwk=("e", "kty", "n"),
    probes=True,
)
WIN_ACME = Manner(
    "win-acme",
    {"User-Agent": "win-acme/2.2.9.1701 (+https://github.com/win-acme/win-acme)", "Accept-Language": "en-US,en;q=0.8"},
    protected=("alg", "kid", "jwk", "url", "nonce"),
    jwk=("kty", "crv", "x", "y"),
    spaced=True,
)
SIMPLE_ACME = Manner(
    "simple-acme",
    {"User-Agent": "simple-acme/2.3.2.1981 (+https://simple-acme.com)"},
    protected=("url", "nonce", "alg", "kid", "jwk"),
    jwk=("crv", "kty", "x", "y"),
    members=("payload", "protected", "signature"),
)
MANNERS = (CERTIFY_THE_WEB, CERT_MANAGER, WIN_ACME, SIMPLE_ACME)


@dataclass(frozen=True)
class Heard:
    """`links` keeps each Link header as it came."""

    status: int
    headers: Mapping[str, str]
    links: tuple[str, ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    def __init__(self, manner: Manner, directory: str, root: Path) -> None:
        self.manner = manner
        rs256 = manner.algorithm == "RS256"
        self.key: PrivateKey = (
            rsa.generate_private_key(65537, 2048) if rs256 else ec.generate_private_key(ec.SECP256R1())
        )
        parts = urlsplit(directory)
        self._connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=30, context=ssl.create_default_context(cafile=str(root))
        )
        self.directory = self.exchange("GET", directory).json
        self.account = ""
        self.nonce = ""

    def close(self) -> None:
        self._connection.close()

    def exchange(self, method: str, url: str, body: bytes | None = None) -> Heard:
        headers = dict(self.manner.headers)
        if body is not None:
            headers["Content-Type"] = "application/jose+json"
        self._connection.request(method, urlsplit(url).path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        named = answer.getheaders()
        heard = Heard(
            answer.status, {k.lower(): v for k, v in named}, tuple(v for k, v in named if k.lower() == "link"), content
        )
        self.nonce = heard.headers.get("replay-nonce", "")
        return heard

    def post(self, url: str, payload: Any = "") -> Heard:
        """`payload` "" is a POST-as-GET."""
        if not self.nonce:
            first = self.exchange("HEAD", self.directory["newNonce"])
            assert (first.status, first.body) == (200, b"")
        who: dict[str, Any] = {"kid": self.account} if self.account else {"jwk": self.jwk}
        head = {"alg": self.manner.algorithm, "nonce": self.nonce, "url": url, **who}
        octets = b"" if payload == "" else self._json(payload)
        return self.exchange("POST", url, self._json(self._signed(self._ordered(head, self.manner.protected), octets)))

    @property
    def jwk(self) -> dict[str, str]:
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            members = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        else:
            point = public.public_numbers()
            x, y = b64(point.x.to_bytes(32)), b64(point.y.to_bytes(32))
            members = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        return {name: members[name] for name in self.manner.jwk}

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        canonical = json.dumps(dict(sorted(self.jwk.items())), separators=(",", ":"))
        return b64(hashlib.sha256(canonical.encode()).digest())

    def binding(self, key_id: str, hmac_key: str) -> dict[str, str]:
        head = b64(self._json({"alg": "HS256", "kid": key_id, "url": self.directory["newAccount"]}))
        body = b64(self._json(self.jwk))
        key = base64.urlsafe_b64decode(hmac_key + "=" * (-len(hmac_key) % 4))
        return {
            "protected": head,
            "payload": body,
            "signature": b64(hmac.digest(key, f"{head}.{body}".encode(), "sha256")),
        }

    def _signed(self, head: Mapping[str, Any], payload: bytes) -> dict[str, str]:
        protected, body = b64(self._json(head)), b64(payload)
        message = f"{protected}.{body}".encode()
        if isinstance(self.key, rsa.RSAPrivateKey):
            signature = self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        else:
            r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32) + s.to_bytes(32)
        whole = {"protected": protected, "payload": body, "signature": b64(signature)}
        return self._ordered(whole, self.manner.members)

    def _json(self, value: Any) -> bytes:
        return json.dumps(value, separators=(", ", ": ") if self.manner.spaced else (",", ":")).encode()

    def _ordered(self, value: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
        return {name: value[name] for name in order if name in value}


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8))
