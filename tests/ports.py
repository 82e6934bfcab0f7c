"""Ports for programs that are told theirs before they listen."""

from __future__ import annotations

import os
import socket
from itertools import count
from typing import Final

_FIRST: Final = 18_000
_EACH: Final = 1_000
"""Ports for one of the processes that run tests, all below those that the system gives to whoever names none."""
_WORKERS: Final = 14

_turn = count(os.getpid())


def free_port() -> int:
    """One that nobody is given by chance between this and its use, and not the same again soon."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    for _ in range(_EACH):
        port = _FIRST + worker * _EACH + next(_turn) % _EACH
        with socket.socket() as probe:
            if _is_free(probe, port):
                return port
    raise AssertionError("no port is free")


def _is_free(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
