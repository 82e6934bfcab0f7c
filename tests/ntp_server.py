"""Servers of time on real sockets: right ones, wrong ones, liars, silent ones, and ones that talk nonsense."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_UNIX = 2_208_988_800


def timestamp(microseconds: int) -> bytes:
    """64 bits since 1900, or since 2036."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return struct.pack("!II", seconds + _UNIX & 0xFFFF_FFFF, (rest << 32) // 1_000_000)


@dataclass
class NTPServer:
    """`wall` is whose clock it starts from, `ahead` how much its own is before that, both in microseconds."""

    wall: Callable[[], int]
    ahead: int = 0
    silent: bool = False
    first: int = 0x24
    """No warning, version 4, mode server."""
    stratum: int = 2
    reference: bytes = b"TEST"
    root_delay: float = 0.0
    root_dispersion: float = 0.0
    change: Callable[[bytes], bytes] = lambda answer: answer
    """What becomes of an answer on its way."""
    asked: int = 0
    name: str = ""
    _socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, client = self._socket.recvfrom(1024)
            if not question:
                return
            self.asked += 1
            if not self.silent:
                self._socket.sendto(self.change(self._answer(question)), client)

    def _answer(self, question: bytes) -> bytes:
        now = timestamp(self.wall() + self.ahead)
        short = [int(value * 65536) for value in (self.root_delay, self.root_dispersion)]
        head = struct.pack("!BBBbII4s", self.first, self.stratum, 6, -20, *short, self.reference)
        return head + now + question[40:48] + now + now
