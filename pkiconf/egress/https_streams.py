"""Sockets as `httpcore` wants them, with the time that is left taken anew for each operation."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from pkiconf.egress.connecting import Left, connect


class Backend(httpcore.NetworkBackend):
    def __init__(self, left: Left) -> None:
        self._left = left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            return _Stream(connect(host, port, self._left), self._left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, s: socket.socket, left: Left) -> None:
        self._socket, self._left = s, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(self._left())
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self._socket.settimeout(self._left())
            self._socket.sendall(buffer)

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._socket.settimeout(self._left())
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._left)
            except BaseException:
                self._socket.close()
                raise

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's own signature
        """`is_readable`: of an idle connection it means that the server has closed it, or speaks unasked."""
        match info:
            case "is_readable":
                return _is_readable(self._socket)
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return None


def _is_readable(s: socket.socket) -> bool:
    if s.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(s, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _mapped(late: type[Exception], failed: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise late("it took too long") from None
    except ssl.SSLCertVerificationError as ex:
        raise failed(f"its certificate is not trusted ({ex.verify_message})") from None
    except socket.gaierror:
        raise failed("its name is not known") from None
    except OSError as ex:
        raise failed(ex.strerror or type(ex).__name__) from None
