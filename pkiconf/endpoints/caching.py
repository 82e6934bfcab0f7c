"""HTTP caching of status information (RFC 9919 §6, RFC 9110 §13)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import falcon

MAX_AGE: Final = 300
"""Seconds for which caches in front may repeat an answer: our promise about revocations ends at this server."""


def answer_cacheable(
    req: falcon.Request,
    resp: falcon.Response,
    body: bytes,
    now: datetime,
    *,
    ends: datetime | None = None,
    digest: str | None = None,
) -> None:
    """Send `body` with validators, or 304 if the client has it.

    `ends` is when it stops being true (None: never). Only the tag validates: two bodies of one second have one
    Last-Modified, and in If-Modified-Since a client may put when it last asked (RFC 9110 §13.1.3), while a revocation
    since then may have an earlier thisUpdate than that. `digest` stands for the body where its SHA-256 is known.
    """
    age = MAX_AGE if ends is None else max(0, min(MAX_AGE, int((ends - now).total_seconds()) - 1))
    tag = f'"{digest or hashlib.sha256(body).hexdigest()}"'
    resp.set_header("ETag", tag)
    resp.set_header("Cache-Control", f"max-age={age},public,no-transform,must-revalidate")
    if ends is not None:
        resp.expires = ends
    if _has_it(req, tag):
        resp.status = falcon.HTTP_304
        return
    resp.data = body


def answer_once(resp: falcon.Response, body: bytes) -> None:
    """Send `body` so that nobody keeps it."""
    resp.set_header("Cache-Control", "no-store")
    resp.data = body


def _has_it(req: falcon.Request, tag: str) -> bool:
    wanted = req.get_header("If-None-Match", default="")
    return wanted.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in wanted.split(","))
