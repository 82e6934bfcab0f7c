"""`pkiconf serve`, `worker` and `up`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pkiconf.cli.context import environment, operator, process_settings, services
from pkiconf.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pkiconf.services import Services
    from pkiconf.settings import ProcessSettings

F = TypeVar("F", bound=Callable[..., Any])

_LISTENING = (
    click.option("--bind", metavar="HOST:PORT", help="Plain HTTP listener (default 127.0.0.1:8000)."),
    click.option("--tls-bind", metavar="HOST:PORT", help="TLS listener, with a certificate from --tls-template."),
    click.option("--tls-template", metavar="TEMPLATE", help="Template that issues the TLS listener's certificate."),
    click.option("--tls-names", metavar="NAME,…", help="Its DNS names and addresses."),
    click.option("--operations-bind", metavar="HOST:PORT", help="Own listener for /healthz, /readyz and /metrics."),
    click.option("--workers", type=int, help="Server processes (default 2)."),
    click.option("--threads", type=int, help="Threads in each (default 4)."),
    click.option("--trusted-proxies", metavar="NETWORK,…", help="Whose X-Forwarded-For is believed."),
    click.option("--access-log", type=click.Choice(["off", "text", "json"]), help="On standard output."),
)


def _listening(command: F) -> F:
    for option in reversed(_LISTENING):
        command = option(command)
    return command


@click.command()
@_listening
@click.option("--only", type=click.Choice(["plain", "tls", "operations"]), hidden=True)
def serve(only: str | None, **flags: Any) -> int:  # noqa: ANN401
    """Answer over HTTP, on every configured listener. SIGHUP reloads gracefully, SIGTERM ends."""
    from pkiconf.cli.lifeline import hold_lifeline

    settings = process_settings(**flags)
    hold_lifeline()
    listeners = _listeners(settings)
    if only is None:
        _check_listeners(settings)
    if only is None and len(listeners) > 1:
        from pkiconf.cli.supervisor import Child, Supervisor

        children = [Child(f"server ({name})", ("serve", "--only", name)) for name in listeners]
        return Supervisor(children, environment(settings), _say).run(lambda: None)
    _serve(settings, only or "plain")
    return ExitCode.DONE


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
def worker(once: bool) -> int:
    """Do what is due: interrupted certificates, CRLs, renewals, sealing the audit log. SIGTERM ends."""
    import logging

    from pkiconf.cli.lifeline import hold_lifeline
    from pkiconf.wake import Alarm
    from pkiconf.worker import Worker

    logging.basicConfig(format="worker: %(levelname)s %(message)s", level=logging.WARNING)
    hold_lifeline()
    with services() as s:
        drain = Worker(s, chores=_chores(s, process_settings()))
        if once:
            click.echo(f"{drain.run_once()} things done.")
            return ExitCode.DONE
        alarm = Alarm(s.parts.state)
        stop = _Stop(alarm)
        try:
            drain.run(alarm, stop.asked)
        finally:
            alarm.close()
    return ExitCode.DONE


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_listening
@click.option("--allow", default="", metavar="ACTION,…", help="Consent to rollover, replace or retire at the start.")
def up(paths: Sequence[Path], allow: str, **flags: Any) -> int:  # noqa: ANN401
    """Apply, then serve, work and watch the declarations, in one process tree. Ctrl-C ends all of it."""
    from pkiconf.cli.reconcile import apply_paths, listening_url
    from pkiconf.cli.supervisor import Child, Supervisor
    from pkiconf.cli.welcome import welcome

    settings = process_settings(**flags)
    _check_options(settings)
    code = apply_paths(paths, allow=allow, actor=operator())
    if code not in (ExitCode.DONE, ExitCode.WAITING, ExitCode.REFUSED):
        return code
    _check_listeners(settings)
    children = [Child(f"server ({name})", ("serve", "--only", name)) for name in _listeners(settings)]
    children.append(Child("worker", ("worker",)))
    children.append(Child("watcher", ("watch", "--quiet-start", *(str(path) for path in paths))))

    def started() -> None:
        if wait_for_listener(settings.bind):
            with services() as s:
                click.echo(welcome(s, listening_url(settings.bind), _own_name()))
        else:
            _say(f"the server does not answer on {settings.bind} yet")

    return Supervisor(children, environment(settings), _say).run(started)


def _chores(s: Services, settings: ProcessSettings) -> list[tuple[str, Callable[[], int]]]:
    """Keep the TLS listener's certificate young; the server reads it anew for each connection."""
    template = settings.tls_template
    if settings.tls_bind is None or template is None:
        return []

    def renew() -> int:
        s.listener.ensure(template, settings.tls_names)
        return 0

    return [("renewing the TLS listener's certificate", renew)]


def _check_options(settings: ProcessSettings) -> None:
    if settings.tls_bind and (settings.tls_template is None or not settings.tls_names):
        raise click.UsageError("--tls-bind needs --tls-template and --tls-names")


def _check_listeners(settings: ProcessSettings) -> None:
    """What would stop a listener is told before any child is started."""
    _check_options(settings)
    with services() as s:
        if settings.tls_bind and settings.tls_template:
            s.listener.ensure(settings.tls_template, settings.tls_names)


def _listeners(settings: ProcessSettings) -> list[str]:
    return [
        "plain",
        *(["tls"] if settings.tls_bind else []),
        *(["operations"] if settings.operations_bind else []),
    ]


def _serve(settings: ProcessSettings, listener: str) -> None:
    """Does not return: gunicorn ends the process."""
    from pkiconf.cli.metrics_folder import prepare_metrics_folder

    prepare_metrics_folder(settings.state_folder, listener)
    # Imported only now: the metrics library looks for its folder when it is imported.
    from pkiconf.cli.server import Server

    sys.argv = ["pkiconf"]  # gunicorn shows it, and reads its own options from there otherwise
    if listener == "plain":
        Server(settings, settings.bind).run()
    elif listener == "operations":
        Server(settings, settings.operations_bind or "", operations=True).run()
    else:
        _check_options(settings)
        assert settings.tls_template is not None
        with services() as s:
            certificate = s.listener.ensure(settings.tls_template, settings.tls_names)
        Server(settings, settings.tls_bind or "", certificate=certificate).run()


class _Stop:
    """SIGTERM and SIGINT ask to stop, and wake whoever waits for the alarm."""

    def __init__(self, alarm: Any) -> None:  # noqa: ANN401
        self._asked = False
        self._alarm = alarm
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def asked(self) -> bool:
        return self._asked

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True
        self._alarm.ring()


def wait_for_listener(bind: str, seconds: float = 20.0) -> bool:
    """Whether something accepts connections there within `seconds`."""
    import socket
    import time

    host, _, port = bind.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def _own_name() -> str:
    """How this program was called, so that printed commands can be pasted."""
    called = sys.argv[0]
    return os.path.relpath(called) if os.sep in called and not called.endswith("__main__.py") else "pkiconf"


def _say(line: str) -> None:
    click.echo(f"pkiconf: {line}", err=True)
