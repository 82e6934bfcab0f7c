"""One client's connection to a worker of gunicorn, and what has arrived of its next request."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gunicorn.workers.gthread import TConn

from pkiconf.cli.plain_http import PlainRequest, read_head

PIECE: Final = 1 << 16
"""Most octets that are received at once."""


class Connection(TConn):  # type: ignore[misc]
    """`octets` have arrived and belong to no request that was answered. `ended`: nothing more will be said to the
    client."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, base: Mapping[str, Any]) -> None:  # noqa: ANN401
        super().__init__(cfg, sock, client, server)
        self.octets = b""
        self.ended = False
        self._request: PlainRequest | None = None
        self._base = {
            **base, "wsgi.url_scheme": "https" if cfg.is_ssl else "http", "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]), "REMOTE_ADDR": client[0], "REMOTE_PORT": str(client[1]),
        }  # fmt: skip

    def has_arrived(self) -> bool:
        """Whether the client has sent something that was not received yet, and nothing more is owed to it."""
        try:
            return not self.ended and socket.socket.recv(self.sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except OSError:
            return False

    def find_request(self) -> PlainRequest | None:
        """The request that has arrived, None while none is whole. Raises Other."""
        if self._request is None and self.octets:
            self._request = read_head(self.octets, self._base)
        request = self._request
        return request if request is not None and len(self.octets) >= request.end else None

    def body_of(self, request: PlainRequest) -> bytes:
        return self.octets[request.body : request.end]

    def done_with(self, request: PlainRequest) -> None:
        """The next octets are those behind `request`."""
        self.octets = self.octets[request.end :]
        self._request = None

    def give_to_parser(self) -> None:
        """Let gunicorn's parser have what has arrived."""
        self.init()
        self.parser.unreader.unread(self.octets)
        self.octets, self._request = b"", None

    def take_from_parser(self) -> None:
        """What it has read too much."""
        self.octets = self.parser.unreader.take_buffered()

    def send(self, pieces: Iterable[bytes]) -> None:
        """All of it, waiting for the client where it is slow. Raises OSError."""
        for piece in pieces:
            rest = memoryview(piece)
            if not self.cfg.is_ssl:
                rest = rest[self.send_now(piece) :]
            if rest:
                self.sock.setblocking(True)
                self.sock.sendall(rest)

    def send_now(self, octets: bytes) -> int:
        """How many of them the network takes at once. Raises OSError."""
        try:
            return self.sock.send(octets)  # type: ignore[no-any-return]
        except BlockingIOError:
            return 0
