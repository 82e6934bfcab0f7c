"""What granian is told of the settings; that it does what it is told, `tests/serving/test_granian.py` looks at."""

from __future__ import annotations

from typing import Any

import pytest

from pkiconf.cli import granian_server
from pkiconf.settings import ProcessSettings


class Recorded:
    """In the place of granian."""

    told: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        Recorded.told = options

    def serve(self) -> None: ...


def test_the_settings_reach_granian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granian_server, "Granian", Recorded)
    monkeypatch.setattr(granian_server, "environment", lambda _: {})
    granian_server.run(ProcessSettings(bind="[::1]:8123", workers=3, threads=5, request_timeout=2))
    told = Recorded.told
    assert (told["address"], told["port"], told["workers"], told["blocking_threads"]) == ("::1", 8123, 3, 5)
    assert told["http1_settings"].header_read_timeout == 2000, "its own is 30 s: slow heads would have as long"
    assert not told["websockets"]
