"""gunicorn over our application. Every worker process opens its own database: nothing crosses a fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from pkiconf.bootstrap import OpenServices, open_services
from pkiconf.cli import long_running
from pkiconf.cli.gunicorn_worker import DeadlineWorker
from pkiconf.endpoints.app import create_operations_app, create_server_app
from pkiconf.services import Services, import_everything
from pkiconf.settings import ProcessSettings


class Server(BaseApplication):  # type: ignore[misc]
    """One listener: plain, or TLS with the key and chain in the file `certificate`."""

    def __init__(
        self,
        settings: ProcessSettings,
        bind: str,
        *,
        certificate: Path | None = None,
        operations: bool = False,
    ) -> None:
        import_everything()
        self._settings = settings
        self._opened: OpenServices | None = None
        self._create = create_operations_app if operations else create_server_app
        self._options: dict[str, Any] = {
            "bind": bind,
            "workers": 1 if operations else settings.workers,
            "threads": settings.threads,
            "worker_class": DeadlineWorker.limited_to(settings.request_timeout),
            "timeout": 60,
            "graceful_timeout": 15,
            "keepalive": 15,
            "limit_request_line": 0,  # gunicorn allows 8190 at most; the worker has a limit of its own
            "limit_request_fields": 64,
            "forwarded_allow_ips": "",
            "proxy_protocol": "off",
            "control_socket_disable": True,
            "proc_name": "pkiconf",
            "loglevel": "warning",
            "certfile": str(certificate) if certificate else None,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - heartbeat file, no data
            "child_exit": _forget_worker,
            "worker_exit": self._close,
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            if name in self.cfg.settings and value is not None:
                self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        self._opened = open_services(self._settings)
        services: Services = self._opened.services
        app = self._create(services, self._settings)
        long_running.settle()
        return app

    def _close(self, server: object, worker: object) -> None:
        """In a worker, when it has answered its last request."""
        if self._opened is not None:
            self._opened.close()


def _forget_worker(server: object, worker: Any) -> None:  # noqa: ANN401
    """Let the metrics of a worker that has ended count on, without its gauges."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
