"""TCP connections within a deadline, the look-up of the name included."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from pkiconf.egress.lookup import look_up

_FIRST_SECONDS: Final = 3.0
"""How long an address may take to connect when there is another one."""

Left = Callable[[], float | None]
"""Seconds that are left, None where there is no end. Raises TimeoutError."""


def connect(host: str, port: int, left: Left) -> socket.socket:
    """To the first address that answers; a dead one leaves time for the next. Raises OSError."""
    addresses = look_up(host, port).result(left())
    for number, (family, address) in enumerate(addresses, 1):
        seconds = left()
        s = socket.socket(family, socket.SOCK_STREAM)
        try:
            s.settimeout(seconds if number == len(addresses) or seconds is None else min(seconds, _FIRST_SECONDS))
            s.connect(address)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.settimeout(left())
        except OSError:
            s.close()
            if number == len(addresses):
                raise
        else:
            return s
    raise OSError("it has no address")
