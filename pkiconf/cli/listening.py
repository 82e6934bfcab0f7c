"""Addresses that servers listen on: whether one is free, whether somebody answers there."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable
from typing import Final

import click

from pkiconf.errors import Unavailable

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def check_free(addresses: Iterable[str]) -> None:
    """Raises Unavailable when another program has one of them, or this machine has not: before anything is started."""
    for bind in addresses:
        host, port = _host_and_port(bind)
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except (OSError, OverflowError) as ex:
            taken = isinstance(ex, OSError) and ex.errno == errno.EADDRINUSE
            reason = "another program listens there" if taken else str(ex)
            raise Unavailable(f"cannot listen on {bind}: {reason}", "Choose another address, as with --bind") from None


def is_listening(bind: str) -> bool:
    """Whether something accepts connections there."""
    host, port = _host_and_port(bind)
    try:
        with socket.create_connection((_LOOPBACK.get(host, host), port), timeout=1):
            return True
    except OSError:
        return False


def wait_for_listener(bind: str, seconds: float = 20.0) -> bool:
    """Whether something accepts connections there within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_listening(bind):
            return True
        time.sleep(0.1)
    return False


def _host_and_port(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    if not port.isascii() or not port.isdigit():
        raise click.UsageError(f"{bind!r} is not HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104
