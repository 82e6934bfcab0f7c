"""Requests to the application as gunicorn hands them over: with the target as it was sent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from pkiconf.endpoints.app import create_app
from pkiconf.endpoints.wsgi import App
from pkiconf.settings import ProcessSettings
from tests.revocation.pki import PKI


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    app: App
    pki: PKI

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, headers=headers)

    def post(self, target: str, body: bytes, **headers: str) -> Answer:
        return self.request("POST", target, body, headers)

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        peer: str = "192.0.2.7",
        chunked: bool = False,
        environ: Mapping[str, Any] | None = None,
    ) -> Answer:
        """`target` is what stands in the request line; `headers` are written with underscores."""
        path, _, query = target.partition("?")
        env = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query, "RAW_URI": target, "SERVER_NAME": "pki", "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "pki.corp.example", "REMOTE_ADDR": peer,
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }  # fmt: skip
        if chunked:
            env["HTTP_TRANSFER_ENCODING"] = "chunked"
        elif body or method in ("POST", "PUT"):
            env["CONTENT_LENGTH"] = str(len(body))
        for name, value in (headers or {}).items():
            env[name.upper() if name == "content_type" else f"HTTP_{name.upper()}"] = value
        return self._call({**env, **(environ or {})})

    def _call(self, env: dict[str, Any]) -> Answer:
        said: list[Any] = []
        body = b"".join(self.app(env, lambda status, headers, _=None: said.extend((status, headers))))  # type: ignore[arg-type]
        return Answer(int(said[0][:3]), {name.lower(): value for name, value in said[1]}, body)


def client_of(pki: PKI, **settings: Any) -> Client:
    return Client(create_app(pki.world.services, ProcessSettings(**settings)), pki)
