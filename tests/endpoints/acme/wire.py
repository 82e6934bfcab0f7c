"""An ACME client that says exactly what it is told to say, wrong things too, straight to the application.

It shares nothing with the server's code: JOSE is made here with `cryptography` and the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.endpoints.app import create_app
from pkiconf.endpoints.wsgi import App
from pkiconf.settings import ProcessSettings
from pkiconf.spec.settings import Settings
from pkiconf.store.settings import find_setting
from tests.acme.place import Place
from tests.world import OPERATOR

BASE = "http://127.0.0.1:8000"
JOSE = "application/jose+json"
URN = "urn:ietf:params:acme:error:"


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, tuple[str, int]] = {
    "secp256r1": ("P-256", 32),
    "secp384r1": ("P-384", 48),
    "secp521r1": ("P-521", 66),
}


@dataclass(frozen=True)
class Key:
    """A private key and the algorithm it signs by."""

    private: Any
    alg: str

    @property
    def jwk(self) -> dict[str, str]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
        if isinstance(public, ec.EllipticCurvePublicKey):
            curve, size = _CURVES[public.curve.name]
            point = public.public_numbers()
            return {"kty": "EC", "crv": curve, "x": b64(point.x.to_bytes(size)), "y": b64(point.y.to_bytes(size))}
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519" if len(raw) == 32 else "Ed448", "x": b64(raw)}

    @property
    def thumbprint(self) -> str:
        return b64(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def sign(self, message: bytes, alg: str | None = None) -> bytes:
        alg = alg or self.alg
        if alg == "EdDSA":
            return bytes(self.private.sign(message))
        hash = _HASHES[alg[2:]]
        if alg.startswith("RS"):
            return bytes(self.private.sign(message, padding.PKCS1v15(), hash))
        if alg.startswith("PS"):
            return bytes(self.private.sign(message, padding.PSS(padding.MGF1(hash), hash.digest_size), hash))
        size = _CURVES[self.private.curve.name][1]
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hash)))
        return r.to_bytes(size) + s.to_bytes(size)


def _uint(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8))


def es256() -> Key:
    return Key(ec.generate_private_key(ec.SECP256R1()), "ES256")


def keys_of_every_kind() -> dict[str, Key]:
    rsa_key = rsa.generate_private_key(65537, 2048)
    return {
        "ES256": es256(),
        "ES384": Key(ec.generate_private_key(ec.SECP384R1()), "ES384"),
        "ES512": Key(ec.generate_private_key(ec.SECP521R1()), "ES512"),
        "Ed25519": Key(ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        "Ed448": Key(ed448.Ed448PrivateKey.generate(), "EdDSA"),
        **{alg: Key(rsa_key, alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    }


def flattened(header: object, payload: bytes, sign: Any) -> dict[str, str]:
    """A JWS as three members; `sign` is told the signing input."""
    protected, body = b64(compact(header)), b64(payload)
    return {"protected": protected, "payload": body, "signature": b64(sign(f"{protected}.{body}".encode()))}


def bound(jwk: object, url: str, kid: str, key: bytes, /, **different: Any) -> dict[str, str]:
    """An external account binding (§7.3.4); `different` header members win, and None leaves one out."""
    header = {"alg": "HS256", "kid": kid, "url": url, **different}
    header = {name: value for name, value in header.items() if value is not None}
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}.get(str(header.get("alg")), "sha256")
    return flattened(header, compact(jwk), lambda message: hmac.digest(key, message, digest))


@dataclass(frozen=True)
class Reply:
    status: int
    lines: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.lines}

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.lines if known.lower() == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last part of the problem's type; empty for an answer that is none."""
        return str(self.json["type"]).removeprefix(URN) if "problem" in self.headers.get("content-type", "") else ""

    @property
    def detail(self) -> str:
        return str(self.json["detail"])

    @property
    def location(self) -> str:
        return self.headers["location"]


@dataclass
class Wire:
    """`key` and `account` (its URL) sign unless told otherwise."""

    app: App
    place: Place
    key: Key = field(default_factory=es256)
    account: str = ""

    def send(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        peer: str = "192.0.2.7",
    ) -> Reply:
        """One request as it is; `headers` are written with underscores. `url` is whole, or a path."""
        path, _, query = url.removeprefix(BASE).partition("?")
        env = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query, "RAW_URI": path, "SERVER_NAME": "pki", "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "evil.example", "REMOTE_ADDR": peer, "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False, "wsgi.input_terminated": True,
        }  # fmt: skip
        if body or method == "POST":
            env["CONTENT_LENGTH"] = str(len(body))
        for name, value in (headers or {}).items():
            env[name.upper() if name == "content_type" else f"HTTP_{name.upper()}"] = value
        said: list[Any] = []
        answer = b"".join(self.app(env, lambda status, headers, _=None: said.extend((status, headers))))  # type: ignore[arg-type]
        return Reply(int(said[0][:3]), list(said[1]), answer)

    def get(self, url: str, **headers: str) -> Reply:
        return self.send("GET", url, headers=headers)

    def nonce(self) -> str:
        return self.send("HEAD", "/acme/new-nonce").headers["replay-nonce"]

    def directory(self, policy: str | None = "internal") -> Any:
        return self.get(f"/acme/p/{policy}/directory" if policy else "/acme/directory").json

    def header(self, url: str, /, **different: Any) -> dict[str, Any]:
        """A protected header; `different` members win, and None leaves one out."""
        who: dict[str, Any] = {} if {"jwk", "kid"} & different.keys() else {"kid": self.account}
        made: dict[str, Any] = {"alg": self.key.alg, "url": url, **who, **different}
        if "nonce" not in different:
            made["nonce"] = self.nonce()
        return {name: value for name, value in made.items() if value is not None}

    def signed(self, url: str, payload: object = "", /, *, key: Key | None = None, **header: Any) -> dict[str, str]:
        """`payload` "" fetches (POST-as-GET); octets are taken as they are."""
        octets = b"" if payload == "" else payload if isinstance(payload, bytes) else compact(payload)
        signer = key or self.key
        if "alg" not in header:
            header["alg"] = signer.alg
        return flattened(self.header(url, **header), octets, lambda message: signer.sign(message))

    def post(
        self, url: str, payload: object = "", /, *, key: Key | None = None, to: str | None = None, **header: Any
    ) -> Reply:
        """Signed for `url`, and sent to `to` if that is another one."""
        return self.send_jws(to or url, self.signed(url, payload, key=key, **header))

    def send_jws(self, url: str, jws: object, **headers: str) -> Reply:
        return self.send("POST", url, compact(jws), {"content_type": JOSE, **headers})

    def register(self, policy: str | None = "internal", **members: Any) -> Reply:
        url = self.directory(policy)["newAccount"]
        reply = self.post(url, {"termsOfServiceAgreed": True, **members}, jwk=self.key.jwk)
        if reply.status in (200, 201):
            self.account = reply.location
        return reply

    def other(self, policy: str = "internal") -> Wire:
        """A client of another account."""
        made = Wire(self.app, self.place)
        assert made.register(policy).status == 201
        return made

    def order(self, *names: str, **members: Any) -> Reply:
        identifiers = [{"type": "dns", "value": name} for name in names]
        return self.post(f"{BASE}/acme/new-order", {"identifiers": identifiers, **members})

    def issued(self, *names: str) -> Reply:
        """The valid order of a certificate for pre-approved names."""
        order = self.order(*names)
        assert order.json["status"] == "ready", order.body
        done = self.post(order.json["finalize"], {"csr": csr_for(*names)})
        assert done.json["status"] == "valid", done.body
        return done


def declare_settings(place: Place, **spec: Any) -> None:
    """The settings of the PKI, as `apply` writes them."""
    row = place.world.parts.db.read(lambda c: find_setting(c, "settings"))
    whole = Settings.model_validate(spec).model_dump(mode="json")
    place.world.services.settings.write(whole, "yaml:default", row.generation if row else None, OPERATOR)


def csr_for(*names: str, key: Any = None) -> str:
    """As finalize wants it: DER in base64url."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return b64(builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER))


def make_wire(place: Place, **settings: Any) -> Wire:
    return Wire(create_app(place.world.services, ProcessSettings(**settings)), place)
