"""Around every request: whose it is, how large it may be, how long it took."""

from __future__ import annotations

import ipaddress
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Final

import falcon

from pkiconf.endpoints.metrics import observe_request

log = logging.getLogger("pkiconf.access")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """`req.context.client`: the peer's address, or what trusted proxies say it is. Their header is read from the
    right, up to the first address that is no trusted proxy; from anyone else it is ignored."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: Final[tuple[Network, ...]] = tuple(ipaddress.ip_network(text, strict=False) for text in trusted)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        client = str(req.env.get("REMOTE_ADDR") or "")
        if self._trusted and self._is_trusted(client):
            for hop in reversed((req.get_header("X-Forwarded-For") or "").split(",")):
                if not _is_address(hop.strip()):
                    break
                client = hop.strip()
                if not self._is_trusted(client):
                    break
        req.context.client = client

    def _is_trusted(self, text: str) -> bool:
        return _is_address(text) and any(ipaddress.ip_address(text) in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class BodyLimit:
    def __init__(self, largest: int) -> None:
        self._largest = largest

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (req.content_length or 0) > self._largest:
            # The rest of the body is not read, so the connection cannot serve another request.
            resp.set_header("Connection", "close")
            raise falcon.HTTPContentTooLarge(description=f"the body has more than {self._largest} octets")
        if req.get_header("Transfer-Encoding"):
            raise falcon.HTTPLengthRequired(description="send the body with a Content-Length")


class RequestLog:
    """Times every request for /metrics, and writes it as text or JSON when asked. Query strings are left out."""

    def __init__(self, form: str) -> None:
        self._form = form

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.started = time.perf_counter()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        seconds = time.perf_counter() - getattr(req.context, "started", time.perf_counter())
        protocol = (req.uri_template or "/none").split("/")[1] or "none"
        observe_request(protocol, req.method, resp.status_code, seconds)
        if self._form != "off":
            sys.stdout.write(self._line(req, resp, seconds) + "\n")
            sys.stdout.flush()

    def _line(self, req: falcon.Request, resp: falcon.Response, seconds: float) -> str:
        client = getattr(req.context, "client", "")
        if self._form == "json":
            fields = {
                "client": client, "method": req.method, "path": req.path, "status": resp.status_code,
                "octets": len(resp.data or b""), "milliseconds": round(seconds * 1000, 3), "at": round(time.time(), 3),
            }  # fmt: skip
            return json.dumps(fields, ensure_ascii=True)
        # json.dumps escapes what a client might put into a path to forge a line.
        return f"{client} {req.method} {json.dumps(req.path)} {resp.status_code} {seconds * 1000:.1f} ms"
