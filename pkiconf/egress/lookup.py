"""The machine's own look-up of names (hosts file, resolvers), which knows no deadline, for those who have one."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

SocketAddress = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family, and the address as sockets of it take it."""

Addresses = tuple[SocketAddress, ...]
"""All that a name has, the preferred one first; at least one."""

_LookUp = tuple[int, str, int]
_running: Final[dict[_LookUp, Future[Addresses]]] = {}
"""By process, because a fork takes no threads along."""


def look_up(host: str, port: int) -> Future[Addresses]:
    """Where this host is: done at once when it is an address, else found in a thread, which whoever has a
    deadline leaves behind. A name that is being looked up is not looked up a second time, so that a resolver that is
    silent costs one thread for each name. The future raises OSError."""
    found: Future[Addresses] = Future()
    with suppress(OSError, UnicodeError):
        found.set_result(_resolve(host, port, socket.AI_NUMERICHOST))
        return found
    key = (os.getpid(), host, port)
    first = _running.setdefault(key, found)
    if first is found:
        try:
            threading.Thread(target=_run, args=(key, found), name=f"look-up of {host}", daemon=True).start()
        except RuntimeError as error:  # there are too many threads
            del _running[key]
            found.set_exception(OSError(f"it cannot be looked up: {error}"))
    return first


def _run(key: _LookUp, found: Future[Addresses]) -> None:
    _, host, port = key
    try:
        addresses = _resolve(host, port)
    except BaseException as error:
        del _running[key]
        # A name that IDNA has no form for is a UnicodeError.
        found.set_exception(error if isinstance(error, OSError) else OSError(f"it cannot be looked up: {error}"))
    else:
        del _running[key]
        found.set_result(addresses)


def _resolve(host: str, port: int, flags: int = 0) -> Addresses:
    # One kind of socket, lest each address come once for each kind; they are the same for all.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    return tuple((family, address) for family, _, _, _, address in found)
