"""A resolver that keeps everybody waiting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class SilentResolver:
    """Knows addresses, and says nothing about names until it is `heard`."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.asked: list[str] = []
        self.ended: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *, type: int, flags: int) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return self._real(host, port, type=type, flags=flags)
        self.asked.append(host)
        self.heard.wait(30)
        self.ended.append(host)
        return self._real("127.0.0.1", port, type=type, flags=flags)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentResolver]:
    resolver = SilentResolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.heard.set()
