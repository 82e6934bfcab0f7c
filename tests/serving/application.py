"""A server whose answers take long, with our worker under it: `python -m tests.serving.application PORT`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from pkiconf.cli.gunicorn_worker import DeadlineWorker

LONG = 1 << 24
"""Octets of an answer that does not fit between a server and a client that reads nothing."""
SLOW = 4.0
"""Seconds that the slow answer takes: longer than a process that ends keeps idle connections."""


def answer(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    if environ["PATH_INFO"] == "/slow":
        time.sleep(SLOW)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * LONG if environ["PATH_INFO"] == "/long" else b"it is answered"]


class Application(BaseApplication):  # type: ignore[misc]
    def load_config(self) -> None:
        self.cfg.set("bind", f"127.0.0.1:{sys.argv[1]}")
        self.cfg.set("worker_class", DeadlineWorker.limited_to(30))
        self.cfg.set("threads", 2)
        self.cfg.set("keepalive", 15)
        self.cfg.set("graceful_timeout", 30)
        self.cfg.set("control_socket_disable", True)

    def load(self) -> object:
        return answer


if __name__ == "__main__":
    Application().run()
