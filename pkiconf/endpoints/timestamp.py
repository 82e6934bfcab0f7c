"""Timestamps over HTTP (RFC 3161 §3.4), and the older Authenticode protocol at the same URL."""

from __future__ import annotations

from typing import Final

import falcon

from pkiconf.der.timestamp import MAX_REQUEST_SIZE
from pkiconf.endpoints.body import read_body
from pkiconf.endpoints.caching import answer_once
from pkiconf.endpoints.metrics import observe_timestamp
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import PkiconfError
from pkiconf.model.timestamps import FailureInfo
from pkiconf.services import Services
from pkiconf.timestamps.service import AUTHENTICODE, RFC3161, Timestamps

QUERY: Final = "application/timestamp-query"
REPLY: Final = "application/timestamp-reply"
"""Exactly so, without parameters: jarsigner compares it."""

OLDER: Final = "application/octet-stream"

_SEQUENCE: Final = b"\x30"


class TimestampResource:
    def __init__(self, timestamps: Timestamps) -> None:
        self._timestamps = timestamps

    def on_post(self, req: falcon.Request, resp: falcon.Response, authority: str) -> None:
        body = read_body(req, MAX_REQUEST_SIZE)
        if is_older_protocol(req.content_type or "", body):
            self._countersign(resp, authority, body)
            return
        der = counted(*self._timestamps.answer(authority, body))
        # What gets no token is answered with 200 as well (RFC 3161 §3.4): the response says so.
        resp.content_type = REPLY
        answer_once(resp, der)

    def _countersign(self, resp: falcon.Response, authority: str, body: bytes) -> None:
        try:
            reply = self._timestamps.countersign(authority, body)
        except PkiconfError:
            observe_timestamp(AUTHENTICODE, "refused")
            raise
        observe_timestamp(AUTHENTICODE, "granted")
        resp.content_type = OLDER
        answer_once(resp, reply)


def counted(der: bytes, failure: FailureInfo | None) -> bytes:
    """The response, which is in the metrics now."""
    observe_timestamp(RFC3161, "granted" if failure is None else failure.name.lower())
    return der


def is_older_protocol(content_type: str, body: bytes) -> bool:
    """By what the client says, and where it says nothing usable by the body: a TimeStampReq begins with 0x30, which no
    base64 of DER does."""
    return content_type.partition(";")[0].strip().lower() != QUERY and not body.startswith(_SEQUENCE)


def mount(app: App, services: Services) -> None:
    app.add_route("/tsa/{authority}", TimestampResource(services.timestamps))
