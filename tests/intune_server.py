"""A stand-in for Microsoft's services, over HTTPS on loopback: Entra's tokens, Graph's endpoints, Intune's two
services. It checks what the real ones check, judges as its tenant does, writes down every call in order, and fails in
every way that it is told to.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import struct
import threading
import urllib.parse
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tests.egress.certificates import context_with, from_an_authority
from tests.intune_tenant import APPLICATION, SECRET, TENANT, Tenant

VALIDATION = "/validation/StatelessScepRequestValidationService"
CONNECTOR = "/connector/StatelessPkiConnectorService"
_APPLICATION_PATH = "/v1.0/servicePrincipals/appId=0000000a-0000-0000-c000-000000000000/endpoints"


@dataclass(frozen=True)
class Heard:
    """One call: `act` is the last part of its path, `token` what it was made with."""

    act: str
    path: str
    headers: dict[str, str]
    body: bytes
    token: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def content(self) -> dict[str, Any]:
        """Of the one member that the body has."""
        (inner,) = self.json.values()
        assert isinstance(inner, dict)
        return inner


@dataclass(frozen=True)
class Said:
    """An answer: a status with JSON, or with whatever octets."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def octets(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def error(status: int, code: str = "InternalError", message: str = "it failed", **headers: str) -> Said:
    """As OData has them."""
    return Said(
        status, {"error": {"code": code, "message": message}}, {k.replace("_", "-"): v for k, v in headers.items()}
    )


Fault = Said | Callable[["_Handler"], None]
"""What happens instead of the answer."""


@dataclass
class StandIn:
    """`heard` is every call; `faults` what happens to the next calls of an act, in order, and `always` to all of them.
    `verdicts` are codes given instead of the tenant's own. `roles` are the permissions that were consented to."""

    tenant: Tenant
    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Fault] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(
        default_factory=lambda: {"graph": ["Application.Read.All"], "intune": ["scep_challenge_provider"]}
    )
    tokens: dict[str, str] = field(default_factory=dict)
    expires_in: int = 3599
    moved: str = ""
    """In front of the services' paths: where the scale unit is by now; the old place is gone."""
    endpoints: list[dict[str, str]] | None = None
    queue: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    notified: list[Heard] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    """Set in the end: what waits for it never answers while a test runs."""
    in_flight: dict[str, dict[str, str]] = field(default_factory=dict)
    trust: Path = Path()

    @property
    def acts(self) -> list[str]:
        return [one.act for one in self.heard]

    def forget(self) -> None:
        self.heard.clear()

    def of(self, act: str) -> list[Heard]:
        return [one for one in self.heard if one.act == act]

    def revoke(self, serial: str, issuer: str = "CN=whoever") -> str:
        """An administrator orders a revocation; its context."""
        context = f"context-{uuid.uuid4()}"
        self.queue.append(
            {"requestContext": context, "serialNumber": serial, "issuerName": issuer, "caConfiguration": ""}
        )
        return context

    def declaration(self, tenant: str = TENANT) -> dict[str, str]:
        """What `scep.intune` needs besides the secret."""
        return {
            "tenant_id": tenant,
            "client_id": APPLICATION,
            "authority_url": f"{self.url}/login/",
            "graph_url": f"{self.url}/graph/",
            "resource_url": f"{self.url}/api/",
        }

    def answer(self, heard: Heard) -> Said:
        for prefix, answer in (
            ("/login/", self._token),
            ("/graph/", self._endpoints),
            (self.moved + VALIDATION, self._validation),
            (self.moved + CONNECTOR, self._connector),
        ):
            if heard.path.startswith(prefix):
                return answer(heard)
        return error(404, "NotFound", "there is no such resource")

    def _token(self, heard: Heard) -> Said:
        if heard.path != f"/login/{TENANT}/oauth2/v2.0/token":
            return _oauth(400, "invalid_request", "AADSTS90002: Tenant not found.")
        if heard.headers.get("content-type") != "application/x-www-form-urlencoded":
            return _oauth(400, "invalid_request", "AADSTS900144: The request body must contain grant_type.")
        form = dict(urllib.parse.parse_qsl(heard.body.decode(), strict_parsing=True))
        if form.get("grant_type") != "client_credentials":
            return _oauth(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
        if form.get("client_id") != APPLICATION:
            return _oauth(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.")
        if form.get("client_secret") != SECRET:
            return _oauth(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        scopes = {
            f"{self.url}/graph/.default": "graph",
            f"{self.url}/api//.default": "intune",
            f"{self.url}/api/.default": "intune",
        }
        kind = scopes.get(form.get("scope", ""))
        if kind is None:
            return _oauth(400, "invalid_resource", "AADSTS500011: The resource principal was not found in the tenant.")
        return Said(200, {"token_type": "Bearer", "expires_in": self.expires_in, "access_token": self.new_token(kind)})

    def new_token(self, kind: str) -> str:
        claims = base64.urlsafe_b64encode(json.dumps({"roles": self.roles[kind], "n": len(self.tokens)}).encode())
        token = f"e30.{claims.decode().rstrip('=')}.{uuid.uuid4().hex}"
        self.tokens[token] = kind
        return token

    def _endpoints(self, heard: Heard) -> Said:
        if heard.path != f"/graph{_APPLICATION_PATH}":
            return error(404, "Request_ResourceNotFound", "it does not exist")
        if heard.token not in ("graph", "intune"):
            return error(401, "InvalidAuthenticationToken", "Access token is empty.")
        if heard.token != "graph" or "Application.Read.All" not in self.roles["graph"]:
            return error(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        listed = self.endpoints if self.endpoints is not None else [
            {"providerName": "IWService", "uri": f"{self.url}/elsewhere", "capability": "other"},
            {"providerName": "scepREQUESTValidationFEService", "uri": f"{self.url}{self.moved}{VALIDATION}"},
            {"providerName": "PkiConnectorFEService", "uri": f"{self.url}{self.moved}{CONNECTOR}/"},
        ]  # fmt: skip
        return Said(200, {"@odata.context": "…", "value": listed})

    def _refusal(self, heard: Heard, version: str) -> Said | None:
        """What both services check of every call."""
        if heard.token != "intune":
            return error(401, "Unauthorized", "the token is not for this")
        if "scep_challenge_provider" not in self.roles["intune"]:
            return error(403, "Forbidden", "the application has no permission")
        if heard.headers.get("api-version") != version:
            return error(400, "BadRequest", "api-version is missing")
        if not heard.headers.get("content-type", "").startswith("application/json"):
            return error(400, "BadRequest", "it is not JSON")
        try:
            uuid.UUID(heard.headers.get("client-request-id", ""))
            json.loads(heard.body)
        except ValueError:
            return error(400, "BadRequest", "client-request-id or body cannot be read")
        return None

    def _validation(self, heard: Heard) -> Said:
        refusal = self._refusal(heard, "2018-02-20")
        if refusal is not None:
            return refusal
        wanted = _FIELDS.get(heard.act)
        if wanted is None or heard.json.keys() != {wanted[0]} or heard.content.keys() != wanted[1].keys():
            return error(400, "BadRequest", "fields are missing")
        if not all(isinstance(heard.content[name], kind) for name, kind in wanted[1].items()):
            return error(400, "BadRequest", "fields are of another type")
        if heard.act != "validateRequest":
            if len(heard.content.get("errorDescription", "")) > 255:
                return error(400, "BadRequest", "errorDescription is too long")
            self.notified.append(heard)
        code = self.verdicts.get(heard.act)
        if code is None:
            code = (
                self.tenant.judge(heard.content["certificateRequest"]) if heard.act == "validateRequest" else "Success"
            )
        return Said(200, {"code": code, "errorDescription": "" if code == "Success" else f"it is {code}"})

    def _connector(self, heard: Heard) -> Said:
        refusal = self._refusal(heard, "5019-05-05")
        if refusal is not None:
            return refusal
        if heard.act == "downloadRevocationRequests":
            wish = heard.json["downloadParameters"]
            if not 1 <= wish["maxRequests"] <= 500 or "issuerName" not in wish:
                return error(400, "BadRequest", "maxRequests is out of range")
            given, self.queue[:] = self.queue[: wish["maxRequests"]], self.queue[wish["maxRequests"] :]
            self.in_flight |= {one["requestContext"]: one for one in given}
            return Said(200, {"@odata.context": "…", "value": given})
        if heard.act != "uploadRevocationResults":
            return error(404)
        return self._take_results(heard.json["results"])

    def _take_results(self, results: list[dict[str, Any]]) -> Said:
        for result in results:
            if result.keys() != {"requestContext", "succeeded", "errorCode", "errorMessage"}:
                return error(400, "BadRequest", "fields are missing")
            if result["succeeded"] != (result["errorCode"] in ("None", "0")):
                return error(400, "BadRequest", "succeeded and errorCode say different things")
            if result["succeeded"] and result["errorMessage"] is not None:
                return error(400, "BadRequest", "a success has no message")
            request = self.in_flight.pop(result["requestContext"])
            if result["errorCode"] in _RETRYABLE:
                self.queue.append(request)
        self.results += results
        return Said(200, {"value": True})


_FIELDS: dict[str, tuple[str, dict[str, type]]] = {
    "validateRequest": ("request", {"transactionId": str, "certificateRequest": str, "callerInfo": str}),
    "successNotification": (
        "notification",
        {
            "transactionId": str,
            "certificateRequest": str,
            "certificateThumbprint": str,
            "certificateSerialNumber": str,
            "certificateExpirationDateUtc": str,
            "issuingCertificateAuthority": str,
            "callerInfo": str,
            "caConfiguration": str,
            "certificateAuthority": str,
        },
    ),
    "failureNotification": (
        "notification",
        {"transactionId": str, "certificateRequest": str, "hResult": int, "errorDescription": str, "callerInfo": str},
    ),
}
_RETRYABLE = (
    "RetryableServiceException", "ServiceUnavailableException", "ServiceTooBusyException", "AuthenticationException",
    "4100", "4101", "4102", "4103",
)  # fmt: skip


def _oauth(status: int, code: str, description: str) -> Said:
    numbers = [int(number) for number in re.findall(r"AADSTS(\d+)", description)]
    return Said(status, {"error": code, "error_description": description, "error_codes": numbers, "trace_id": "…"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn
    """Set for each server, in a class of its own."""

    def handle(self) -> None:
        with suppress(OSError):  # whoever has seen enough hangs up
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = self.stand_in.tokens.get(headers.get("authorization", "").removeprefix("Bearer "), "")
        heard = Heard(path.rsplit("/", 1)[-1], path, headers, body, token)
        self.stand_in.heard.append(heard)
        fault = self.stand_in.always.get(heard.act)
        if self.stand_in.faults[heard.act]:
            fault = self.stand_in.faults[heard.act].popleft()
        if fault is None:
            fault = self.stand_in.answer(heard)
        if isinstance(fault, Said):
            self.say(fault)
        else:
            fault(self)

    def say(self, said: Said) -> None:
        self.send_response_only(said.status)
        self.send_header("Date", format_datetime(self.stand_in.tenant.now(), usegmt=True))
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said.octets)))
        self.end_headers()
        self.wfile.write(said.octets)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def never(handler: _Handler) -> None:
    """No answer, as long as the test runs."""
    handler.stand_in.released.wait(60)
    handler.close_connection = True


def reset(handler: _Handler) -> None:
    """The connection is reset before there is an answer."""
    raw = handler.connection
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(raw)  # without TLS's own good-bye
    handler.close_connection = True


def dripping(handler: _Handler) -> None:
    """A head that never ends, an octet at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.stand_in.released.wait(0.02):
        handler.wfile.write(b"x")


def not_http(handler: _Handler) -> None:
    handler.wfile.write(b"hello\r\n\r\n")
    handler.close_connection = True


def truncated(handler: _Handler) -> None:
    """Less of a body than was announced."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"code": "Success"')
    handler.close_connection = True


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, handler: type[_Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake keeps nobody waiting."""
        request.settimeout(60)
        with suppress(OSError), self._context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)


@contextmanager
def running(stand_in: StandIn, folder: Path) -> Iterator[StandIn]:
    """Serves, and puts the certificate that it is trusted by into `folder`."""
    authority, made = from_an_authority(["localhost"])
    stand_in.trust = folder / "intune-trust.pem"
    stand_in.trust.write_bytes(authority.public_bytes(Encoding.PEM))
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    with _Server(context_with(made), handler) as server:
        stand_in.url = f"https://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield stand_in
        finally:
            stand_in.released.set()
            server.shutdown()
            thread.join(10)
