"""granian in the place of gunicorn on the plain listener: the same application for every protocol.

It speaks no TLS here: it would not notice that the listener's certificate was renewed. It cuts off clients that are
silent or slow with a head, but not those that send a body slowly, each of which keeps a thread for as long as it likes:
so it belongs behind something that reads requests first, or where clients are not hostile.
"""

from __future__ import annotations

import os
from multiprocessing.util import Finalize
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from prometheus_client import multiprocess

from pkiconf.bootstrap import OpenServices, open_services
from pkiconf.cli import long_running
from pkiconf.cli.context import environment
from pkiconf.endpoints.app import create_server_app
from pkiconf.endpoints.front import WSGIApplication
from pkiconf.settings import ProcessSettings


def run(settings: ProcessSettings) -> None:
    """Serve the plain listener until SIGTERM or SIGINT. Workers are processes of their own, which read their settings
    from the environment."""
    os.environ.update(environment(settings))
    host, _, port = settings.bind.rpartition(":")
    server: Any = Granian(
        target=f"{__name__}:create",
        factory=True,
        interface=Interfaces.WSGI,
        address=host.strip("[]") or "0.0.0.0",  # noqa: S104 - as the operator wrote it
        port=int(port),
        workers=settings.workers,
        blocking_threads=settings.threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=settings.request_timeout * 1000),
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=15,
    )
    server.serve()


def create() -> WSGIApplication:
    """In a worker."""
    for name in [name for name in os.environ if name.startswith(("HTTP_", "CONTENT_"))]:
        del os.environ[name]  # granian mixes the environment into each request's, where these are headers
    settings = ProcessSettings()
    opened = open_services(settings)
    Finalize(
        None, _ends, (opened,), exitpriority=1
    )  # there is no hook for it, and `atexit` is not run in such processes
    app = create_server_app(opened.services, settings)
    long_running.settle()
    return app


def _ends(opened: OpenServices) -> None:
    """In a worker, when it has answered its last request."""
    opened.close()
    multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
