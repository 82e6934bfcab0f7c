"""gunicorn's threaded worker, with a loop of its own, which waits for slow clients where waiting costs nothing.

The original gives a connection a thread as soon as something arrives, and the thread waits for the rest; each request
goes from the main loop to a thread and back with several system calls. Here the main loop reads requests as their
octets arrive, answers what it can answer without waiting for anything, and gives the others to threads when they are
whole. Requests that are not written plainly (see `plain_http`), and all those over TLS, are read by a thread as in the
original. Whoever has to wait longer than the request time-out, for a client or for us, is cut off.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from selectors import EVENT_READ
from typing import Any, Final

from gunicorn.http.wsgi import base_environ
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from pkiconf.cli.connection import PIECE, Connection
from pkiconf.cli.plain_http import LONGEST_LINE, Answer, LongLine, Other, PlainRequest, encode_head

_TOO_LONG: Final = b"the request line has more than %d octets; send a long message by POST\n" % LONGEST_LINE
_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)

LINGER: Final = 0.5
"""Seconds in which a client may read the last answer before the connection is closed under it."""


class Threads:
    """What the requests of a worker are done in."""

    def __init__(self, number: int) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._number = number
        for _ in range(number):
            threading.Thread(target=self._run, daemon=True).start()

    def submit(self, job: Callable[[], None]) -> None:
        """`job` raises nothing."""
        self._jobs.put(job)

    def shutdown(self, wait: bool = False) -> None:
        for _ in range(self._number):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """Looks at its clients at least once a second. gunicorn's own `timeout` is not about requests: it is how long a
    worker may be silent before it is killed.

    An application may have a function `at_once` of environment and body, which waits for nothing. Its result is None,
    or headers and body of an answer with status 200.
    """

    seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        # A connection is in the main loop (and may wait there so long), in the queue for threads, or in a thread (and
        # may be there so long). Threads put it back into the main loop, and nobody else takes it out of there.
        self._waiting: dict[Connection, float] = {}
        self._busy: dict[Connection, float] = {}
        self._base: dict[str, Any] = {}
        self._look_at = 0.0

    @classmethod
    def limited_to(cls, seconds: float) -> type[DeadlineWorker]:
        """The class of workers that give a request so long."""
        return type(cls.__name__, (cls,), {"seconds": seconds})

    def init_process(self) -> None:
        os.environ.pop("SCRIPT_NAME", None)  # gunicorn takes it for a part of every path
        self._base = {
            **base_environ(self.cfg), "wsgi.multithread": True, "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": "",
        }  # fmt: skip
        super().init_process()

    def get_thread_pool(self) -> Threads:
        return Threads(self.cfg.threads)

    # --- in the main loop ---------------------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:  # noqa: ANN401
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, address = listener.accept()
            self.nr_conns += 1
            conn = Connection(self.cfg, client, address, listener.getsockname(), self._base)
            self._wait(conn, min(self.seconds, self.cfg.keepalive))

    def _readable(self, conn: Connection, sock: socket.socket) -> None:
        if self.cfg.is_ssl and not conn.ended:
            self._hand_over(conn, partial(self._serve, conn))
            return
        try:
            octets = socket.socket.recv(sock, PIECE)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._close(conn)
        elif not conn.ended:
            self._arrived(conn, octets)

    def _arrived(self, conn: Connection, octets: bytes) -> None:
        if not conn.octets:
            self._waiting[conn] = time.monotonic() + self.seconds
        conn.octets += octets
        try:
            request = conn.find_request()
        except Other:
            self._hand_over(conn, partial(self._serve, conn))
            return
        if request is not None and not self._answer_at_once(conn, request):
            self._hand_over(conn, partial(self._serve, conn))

    def _answer_at_once(self, conn: Connection, request: PlainRequest) -> bool:
        """Whether the request needs nothing more."""
        at_once = getattr(self.wsgi, "at_once", None)
        if at_once is None or not self._keeps(request):
            return False
        try:
            answer = at_once(request.environ, conn.body_of(request))
        except Exception:  # of one request: a thread meets it again, and everybody else is in this loop
            self.log.exception("Error answering at once")
            return False
        if answer is None:
            return False
        conn.done_with(request)
        head = encode_head("200 OK", answer[0], len(answer[1]), keep_alive=True)
        octets = head + answer[1]
        try:
            sent = conn.send_now(octets)
        except OSError:
            self._close(conn)
            return True
        if sent < len(octets) or conn.octets:
            self._hand_over(conn, partial(self._send_rest, conn, octets[sent:]))
        else:
            self._waiting[conn] = time.monotonic() + self.cfg.keepalive
        return True

    def _hand_over(self, conn: Connection, work: Callable[[], bool]) -> None:
        self.poller.unregister(conn.sock)
        del self._waiting[conn]
        self.tpool.submit(partial(self._do, conn, work))

    def _close(self, conn: Connection) -> None:
        with suppress(KeyError):  # a thread is just about to give it back
            self.poller.unregister(conn.sock)
        del self._waiting[conn]
        self._forget(conn)

    def _forget(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Called with each turn of the main loop, and with `force` at the end of it."""
        now = time.monotonic()
        if now < self._look_at and not force:
            return
        self._look_at = now + LINGER
        for conn, until in list(self._waiting.items()):
            if not self.alive and not conn.octets:
                # Its last answer may have said that the connection stays open: the next request may be on its way.
                until = self._waiting[conn] = min(until, now + STOP_KEEPALIVE_LINGER)
            if force or (now >= until and (conn.octets or not conn.has_arrived())):
                self._close(conn)
        for conn, until in list(self._busy.items()):
            if now >= until:
                # Its thread finds the connection closed, and ends as it does when a client goes away. Not by way of
                # an SSLSocket's own method, which would take the session from under that thread.
                with suppress(OSError):
                    socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)

    # --- in a thread --------------------------------------------------------------------------------------------------

    def _do(self, conn: Connection, work: Callable[[], bool]) -> None:
        """`work` says whether the connection stays open."""
        self._busy[conn] = time.monotonic() + self.seconds
        try:
            stays = work()
        except (OSError, EOFError) as ex:
            self.log.debug("Ignored: %s", ex)  # the client went away
            stays = False
        except Exception:
            self.log.exception("Error handling request")
            stays = False
        finally:
            del self._busy[conn]
        if not stays:
            self._end(conn)
        elif self._has_more(conn):
            self.tpool.submit(partial(self._do, conn, partial(self._serve, conn)))
        else:
            self._give_back(conn, self.seconds if conn.octets else self.cfg.keepalive)

    def _serve(self, conn: Connection) -> bool:
        try:
            if self.cfg.is_ssl:
                self._receive(conn)
            request = conn.find_request()
        except LongLine:
            head = encode_head("414 URI Too Long", _TEXT, len(_TOO_LONG), keep_alive=False)
            conn.send([head + _TOO_LONG])
            return False
        except Other:
            conn.sock.setblocking(True)
            conn.give_to_parser()
            stays = bool(super().handle(conn))
            conn.take_from_parser()
            return stays
        assert request is not None
        return self._answer(conn, request)

    def _receive(self, conn: Connection) -> None:
        """Wait for a whole request over TLS. Raises EOFError at the end of the connection, and Other."""
        conn.sock.setblocking(True)
        conn.init()
        while conn.find_request() is None:
            octets = conn.sock.recv(PIECE)
            if not octets:
                raise EOFError
            conn.octets += octets

    def _answer(self, conn: Connection, request: PlainRequest) -> bool:
        environ = request.environ
        environ["wsgi.input"] = BytesIO(conn.body_of(request))
        conn.done_with(request)
        answer = Answer()
        try:
            body = self.wsgi(environ, answer)
            stays = self._keeps(request)  # which may have changed meanwhile
            pieces = answer.pieces(environ["REQUEST_METHOD"], body, keep_alive=stays)
        except Exception:
            self.log.exception("Error handling request")
            pieces, stays = (encode_head("500 Internal Server Error", (), 0, keep_alive=False),), False
        conn.send(pieces)
        return stays

    def _send_rest(self, conn: Connection, octets: bytes) -> bool:
        conn.send([octets])
        return True

    def _has_more(self, conn: Connection) -> bool:
        """Whether something has arrived that does not make a socket readable again."""
        if self.cfg.is_ssl:
            return bool(conn.octets or conn.sock.pending())
        try:
            return conn.find_request() is not None
        except Other:
            return True

    def _end(self, conn: Connection) -> None:
        """Say no more, and let the client read what was said: it closes, or the main loop does in a moment."""
        try:
            socket.socket.shutdown(conn.sock, socket.SHUT_WR)
        except OSError:
            self.method_queue.defer(self._forget, conn)
            return
        conn.ended = True
        self._give_back(conn, LINGER)

    def _give_back(self, conn: Connection, seconds: float) -> None:
        with suppress(OSError, ValueError):  # there is no loop any more, or it closed the connection already
            self._wait(conn, seconds)

    # --- in both ------------------------------------------------------------------------------------------------------

    def _wait(self, conn: Connection, seconds: float) -> None:
        conn.sock.setblocking(False)
        self._waiting[conn] = time.monotonic() + seconds
        self.poller.register(conn.sock, EVENT_READ, partial(self._readable, conn))

    def _keeps(self, request: PlainRequest) -> bool:
        """Whether the connection stays open behind `request`."""
        return bool(request.keep_alive and self.alive and len(self._waiting) < self.max_keepalived)
