"""Request bodies, never more of them than a resource can use."""

from __future__ import annotations

import falcon


def read_body(req: falcon.Request, most: int) -> bytes:
    """At most `most` + 1 octets, so that a longer body is seen to be too long. The server throws away the rest.

    A body without a Content-Length is chunked; the server ends it where the chunks end. Raises HTTPBadRequest for
    one that breaks off or whose chunks are none.
    """
    stream = req.stream if req.get_header("Transfer-Encoding") else req.bounded_stream
    try:
        return bytes(stream.read(most + 1))
    except Exception:  # each server has its own, for what a client did wrong
        raise falcon.HTTPBadRequest(description="the body broke off, or is not chunked as it claims") from None
