"""gunicorn's threaded worker, with a limit to the time that one client may keep a thread.

The original waits as long as a client keeps sending, an octet now and then: a handful of such clients would hold all
threads of a server for hours. Here a connection gets a thread when its first octets are there, and is cut off when
its request, answer included, has not ended within the request time-out.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any, Final

from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

LINGER: Final = 0.5
"""Seconds in which a client may read the last answer before the connection is closed under it."""


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """Looks at its clients at least once a second. gunicorn's own `timeout` is not about requests: it is how long a
    worker may be silent before it is killed."""

    seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._busy: dict[Any, float] = {}

    @classmethod
    def limited_to(cls, seconds: float) -> type[DeadlineWorker]:
        """The class of workers that give a request so long."""
        return type(cls.__name__, (cls,), {"seconds": seconds})

    def accept(self, listener: Any) -> None:  # noqa: ANN401
        """Wait for the first octets here, where waiting costs no thread."""
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, address = listener.accept()
            client.setblocking(False)
            connection = TConn(self.cfg, client, address, listener.getsockname())
            connection.timeout = time.monotonic() + min(self.seconds, self.cfg.keepalive)
            self.nr_conns += 1
            self.pending_conns.append(connection)
            self.poller.register(client, EVENT_READ, partial(self.on_pending_socket_readable, connection))

    def handle(self, conn: Any) -> Any:  # noqa: ANN401
        self._busy[conn] = time.monotonic() + self.seconds
        try:
            result = super().handle(conn)
            if not result:
                # The original closes in its main loop, where each client that keeps its end open costs all others
                # two seconds.
                close_graceful(conn.sock, timeout=LINGER)
                conn.close = _closed
            return result
        finally:
            del self._busy[conn]

    def murder_pending(self) -> None:
        """Called with each turn of the main loop."""
        super().murder_pending()
        now = time.monotonic()
        for connection, deadline in list(self._busy.items()):
            if now >= deadline:
                # Its thread finds the connection closed, and ends as it does when a client goes away. Not by way of
                # an SSLSocket's own method, which would take the session from under that thread.
                with suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _closed(graceful: bool = False) -> None:
    """In place of the `close` of a connection that is closed already."""
