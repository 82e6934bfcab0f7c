"""What every refusal over ACME has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.endpoints.acme.wire import BASE, Reply, Wire

INDEX = f'<{BASE}/acme/directory>;rel="index"'


def is_refusal(reply: Reply, problem: str, status: int, words: str = "") -> None:
    """A whole problem document (RFC 8555 §6.7), a fresh nonce (§6.5) and the way back to the directory (§7.1)."""
    assert (reply.problem, reply.status) == (problem, status), reply.body
    assert reply.json["status"] == status
    assert words in reply.detail, reply.detail
    assert reply.headers["content-type"] == "application/problem+json"
    assert len(reply.headers["replay-nonce"]) == 43
    assert INDEX in reply.all("link")
    assert "identifier" not in reply.json
    assert b", " not in reply.body.split(b'"detail"')[0]  # compact


@contextmanager
def nothing_changes(wire: Wire) -> Iterator[None]:
    """No row of ACME or of certificates is written, and nothing recorded."""
    before = wire.place.state()
    yield
    assert wire.place.state() == before
