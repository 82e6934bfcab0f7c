"""HTTP caching of status information (RFC 9919 §6, RFC 9110 §13)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import falcon

MAX_AGE: Final = 300
"""Seconds for which caches in front may repeat an answer: our promise about revocations ends at this server."""


def entity_tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'


def answer_cacheable(
    req: falcon.Request, resp: falcon.Response, body: bytes, *, made: datetime, ends: datetime | None, now: datetime
) -> None:
    """Send `body` with validators, or 304 if the client has it. `ends` is when it stops being true (None: never)."""
    tag = entity_tag(body)
    age = MAX_AGE if ends is None else max(0, min(MAX_AGE, int((ends - now).total_seconds()) - 1))
    resp.set_header("ETag", tag)
    resp.set_header("Cache-Control", f"max-age={age},public,no-transform,must-revalidate")
    resp.last_modified = made
    if ends is not None:
        resp.expires = ends
    if _has_it(req, tag, made):
        resp.status = falcon.HTTP_304
        return
    resp.data = body


def answer_once(resp: falcon.Response, body: bytes) -> None:
    """Send `body` so that nobody keeps it."""
    resp.set_header("Cache-Control", "no-store")
    resp.data = body


def _has_it(req: falcon.Request, tag: str, made: datetime) -> bool:
    wanted = req.get_header("If-None-Match")
    if wanted is not None:
        return wanted.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in wanted.split(","))
    try:
        since = req.if_modified_since
    except falcon.HTTPInvalidHeader:
        return False
    return since is not None and made <= since
