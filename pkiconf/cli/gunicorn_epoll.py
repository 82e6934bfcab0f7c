"""The deadline worker where there is epoll (Linux): a thread that has answered takes the next request itself.

gunicorn's threads hand each connection back to a main thread, which polls it and hands it out again: two hand-overs, a
pipe, a future and four system calls for a request, which cost more than most requests do. Here all threads wait at one
epoll, which gives a connection that can be read to one of them and is told when it may do so again.
"""

from __future__ import annotations

import select
import threading
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.workers.gthread import TConn

from pkiconf.cli.gunicorn_worker import DeadlineWorker

_TURN: Final = 1.0
"""Seconds after which a waiting thread looks whether it should end, and between looks at what has waited too long."""


_YIELD: Final = 0.0005
_MOST_YIELDS: Final = 10
"""Seconds that a process leaves a new connection to the others for each that it has, up to so many."""


class OneWrite(wsgi.Response):  # type: ignore[misc]
    """An answer whose head and body leave together: one system call, and mostly one packet."""

    headers_sent: bool
    _head = b""

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self._head and not self.chunked:
            data, self._head = self._head + data, b""
        self._flush()
        super()._emit_body(data)

    def close(self) -> None:
        self.send_headers()
        self._flush()
        super().close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self.sock.sendall(head)


class EpollWorker(DeadlineWorker):
    """The main thread accepts, looks at deadlines and tells the arbiter that it lives; the others serve."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._connections: set[Any] = set()
        self._idle: dict[int, Any] = {}
        """Connections by file descriptor, until a thread takes one out, or the main thread, for good."""
        super().__init__(*args, **kwargs)
        self._looked_at = 0.0
        self._last_call = 0.0
        self._over = False

    @property
    def nr_conns(self) -> int:
        return len(self._connections)

    @nr_conns.setter
    def nr_conns(self, value: int) -> None:
        """gunicorn's own count; this one cannot go wrong when several threads change it."""

    def run(self) -> None:
        self._room = select.epoll()
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()
        try:
            super().run()
        finally:
            self._over = True

    def accept(self, listener: Any) -> None:  # noqa: ANN401
        # All processes hear of a new connection, and who is quick would get all of them, one core's worth of threads.
        # Whoever has more waits longer, so that one with fewer is first. Only this thread waits.
        time.sleep(min(len(self._connections), _MOST_YIELDS) * _YIELD)
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, address = listener.accept()
            connection = TConn(self.cfg, client, address, listener.getsockname())
            connection.data_ready = True  # once a thread has it
            self._connections.add(connection)
            connection.timeout = time.monotonic() + min(self.seconds, self.cfg.keepalive)
            self._idle[client.fileno()] = connection
            self._room.register(client, select.EPOLLIN | select.EPOLLONESHOT)

    def handle_request(self, req: Any, conn: Any) -> bool:  # noqa: ANN401
        """Whether the connection stays. Of gunicorn's hooks, logs and limits none is used here."""
        response, environ = wsgi.create(req, conn.sock, conn.client, conn.server, self.cfg, response_class=OneWrite)
        environ["wsgi.multithread"] = True
        if not self.alive or len(self._connections) >= self.worker_connections:
            response.force_close()
        try:
            pieces = self.wsgi(environ, response.start_response)
            try:
                for piece in pieces:
                    response.write(piece)
                response.close()
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                raise
            self.log.exception("Error handling request")
            raise StopIteration from None  # half an answer: another one behind it would only confuse
        return not response.should_close()

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:  # noqa: ANN401
        """A body that was read to its end needs no time limit, which costs two system calls."""
        reader = getattr(getattr(conn.parser.mesg, "body", None), "reader", None)
        if keepalive and isinstance(reader, LengthReader) and reader.length == 0:
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def _serve(self) -> None:
        while not self._over:
            for descriptor, _ in self._room.poll(_TURN, 1):
                connection = self._idle.pop(descriptor, None)
                if connection is not None:  # else it has just been closed
                    self._attend(connection)

    def _attend(self, connection: Any) -> None:  # noqa: ANN401
        kept = False
        try:
            kept = bool(self.handle(connection))
            while kept and _has_more(connection):
                kept = bool(self.handle(connection))
            if kept:
                connection.set_timeout()
                if not self.alive:
                    connection.timeout = min(connection.timeout, self._last_call)
                descriptor = connection.sock.fileno()
                self._idle[descriptor] = connection
                self._room.modify(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
        except Exception:
            self.log.exception("Error on a connection")
            kept = False
        if not kept:
            self._forget(connection)

    def _forget(self, connection: Any) -> None:  # noqa: ANN401
        connection.close()
        self._connections.discard(connection)
        if not self.alive:
            self.method_queue.defer(lambda: None)  # the main thread waits for the last one

    def _cap_keepalive(self, deadline: float) -> None:
        """The worker ends: whoever is silent until then is not waited for."""
        self._last_call = deadline
        for connection in list(self._idle.values()):
            connection.timeout = min(connection.timeout, deadline)

    def murder_keepalived(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now < self._looked_at + _TURN / 2:
            return
        self._looked_at = now
        for descriptor, connection in list(self._idle.items()):
            if (force or connection.timeout <= now) and self._idle.pop(descriptor, None) is connection:
                self._forget(connection)


def worker_class() -> type[DeadlineWorker]:
    return EpollWorker if hasattr(select, "epoll") else DeadlineWorker


def _has_more(connection: Any) -> bool:  # noqa: ANN401
    """Whether octets of the next request have been read already, so that the socket will not say so again."""
    if connection.parser is None or connection.is_http2:
        return False
    if connection.parser.unreader.buf.getvalue():
        return True
    pending = getattr(connection.sock, "pending", None)
    return bool(pending is not None and pending())
