"""Around every request: how large it may be, how long it took, what became of it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Final

import falcon

from pkiconf.endpoints.metrics import observe_request
from pkiconf.endpoints.paths import loggable_path

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class BodyLimit:
    def __init__(self, largest: int) -> None:
        self._largest = largest

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (req.content_length or 0) > self._largest:
            raise falcon.HTTPContentTooLarge(description=f"the body has more than {self._largest} octets")
        if req.get_header("Transfer-Encoding") and not req.env.get("wsgi.input_terminated"):
            raise falcon.HTTPLengthRequired(description="send the body with a Content-Length")


class RequestLog:
    """Times every request for /metrics, and writes it as text or JSON when asked. Query strings are left out."""

    def __init__(self, form: str) -> None:
        self._form = form

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.started = time.perf_counter()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        seconds = time.perf_counter() - getattr(req.context, "started", time.perf_counter())
        # What clients may choose freely must not become a label: each value is kept for ever.
        method = req.method if req.method in _METHODS else "other"
        observe_request(_protocol(req.uri_template), method, resp.status_code, seconds)
        if self._form != "off":
            # A log that cannot be written is no reason not to answer.
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.write(self._line(req, resp, seconds) + "\n")
                sys.stdout.flush()

    def _line(self, req: falcon.Request, resp: falcon.Response, seconds: float) -> str:
        client = getattr(req.context, "client", "")
        path = loggable_path(req)
        if self._form == "json":
            fields = {
                "client": client, "method": req.method, "path": path, "status": resp.status_code,
                "octets": len(resp.data or b""), "milliseconds": round(seconds * 1000, 3), "at": round(time.time(), 3),
            }  # fmt: skip
            return json.dumps(fields, ensure_ascii=True)
        # json.dumps escapes what a client might put into a path to forge a line.
        return f"{client} {req.method} {json.dumps(path)} {resp.status_code} {seconds * 1000:.1f} ms"


def _protocol(template: str | None) -> str:
    return template.split("/", 2)[1] if template else "none"
