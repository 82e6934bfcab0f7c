"""`pkiconf serve`, `worker` and `up`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pkiconf.cli.context import environment, operator, process_settings, say_where, services
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.listening import check_free, is_listening

if TYPE_CHECKING:
    from pkiconf.cli.supervisor import Child
    from pkiconf.services import Services
    from pkiconf.settings import ProcessSettings
    from pkiconf.spec.settings import Settings
    from pkiconf.wake import Alarm

F = TypeVar("F", bound=Callable[..., Any])

_LISTENING = (
    click.option("--bind", metavar="HOST:PORT", help="Plain HTTP listener (default 127.0.0.1:8000)."),
    click.option("--tls-bind", metavar="HOST:PORT", help="TLS listener, with a certificate from --tls-template."),
    click.option("--tls-template", metavar="TEMPLATE", help="Template that issues the TLS listener's certificate."),
    click.option("--tls-names", metavar="NAME,…", help="Its DNS names and addresses."),
    click.option("--operations-bind", metavar="HOST:PORT", help="Own listener for /healthz, /readyz and /metrics."),
    click.option("--workers", type=int, help="Server processes (default 2)."),
    click.option("--threads", type=int, help="Threads in each (default 4)."),
    click.option(
        "--server",
        "--status-server",
        "status_server",
        type=click.Choice(["gunicorn", "granian"]),
        help="What serves the plain listener (default gunicorn); granian needs pkiconf[fast].",
    ),
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
    if only is None:
        _warn_of_urls(_prepare(settings), settings)
        if len(_listeners(settings)) > 1:
            from pkiconf.cli.supervisor import Supervisor

            return Supervisor(_servers(settings), environment(settings), _say).run()
    _serve(settings, only or "plain")
    return ExitCode.DONE


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
def worker(once: bool) -> int:
    """Do what is due: interrupted certificates, CRLs, renewals, sealing the audit log. SIGTERM ends."""
    import logging

    from pkiconf.cli import long_running
    from pkiconf.cli.lifeline import hold_lifeline
    from pkiconf.wake import Alarm
    from pkiconf.worker import Worker

    logging.basicConfig(format="worker: %(levelname)s %(message)s", level=logging.WARNING)
    hold_lifeline()
    with services() as s:
        s.make_everything()
        drain = Worker(s, chores=_chores(s, process_settings()))
        if once:
            click.echo(f"{drain.run_once()} things done.")
            return ExitCode.DONE
        stop = _Stop()  # before anybody can see that there is a worker
        stop.alarm = alarm = Alarm(s.parts.state)
        long_running.settle()
        try:
            drain.run(alarm, stop.asked)
        finally:
            stop.alarm = None  # a second SIGTERM comes late
            alarm.close()
    return ExitCode.DONE


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_listening
@click.option("--allow", default="", metavar="ACTION,…", help="Consent to rollover, replace or retire at the start.")
def up(paths: Sequence[Path], allow: str, **flags: Any) -> int:  # noqa: ANN401
    """Apply, then serve, work and watch the declarations, in one process tree. Ctrl-C ends all of it."""
    from pkiconf.cli.reconcile import apply_paths
    from pkiconf.cli.supervisor import Child, Supervisor

    settings = process_settings(**flags)
    _check_options(settings)
    check_free(_addresses(settings))  # before anything is changed
    say_where(settings)
    code = apply_paths(paths, allow=allow, actor=operator())
    if code not in (ExitCode.DONE, ExitCode.WAITING, ExitCode.REFUSED):
        return code
    _prepare(settings)
    worker = Child("worker", ("worker",))
    watcher = Child("watcher", ("watch", "--quiet-start", *(str(path) for path in paths)))
    return Supervisor([*_servers(settings), worker, watcher], environment(settings), _say).run(_Greeting(settings))


class _Greeting:
    """Says welcome once, when the server answers."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._late_at = time.monotonic() + 20
        self._said = False

    def __call__(self) -> None:
        from pkiconf.cli.welcome import own_name, welcome

        if self._said:
            return
        if is_listening(self._settings.bind):
            self._said = True
            with services() as s:
                click.echo(welcome(s, self._settings, own_name(self._settings.state_folder)))
        elif time.monotonic() > self._late_at:
            self._late_at += 60
            _say(f"the server does not answer on {self._settings.bind} yet")


def _warn_of_urls(pki: Settings, settings: ProcessSettings) -> None:
    from pkiconf.diagnosis.base_url import unserved

    elsewhere = unserved(pki, settings)
    if elsewhere is not None:
        _say(f"warning: {elsewhere.text}. {elsewhere.remedy}.")


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
    if settings.status_server == "granian" and find_spec("granian") is None:
        raise click.UsageError("--status-server granian needs granian: pip install 'pkiconf[fast]'")
    if settings.tls_bind and (settings.tls_template is None or not settings.tls_names):
        raise click.UsageError("--tls-bind needs --tls-template and --tls-names")


def _prepare(settings: ProcessSettings) -> Settings:
    """What would stop a listener is told before any child is started, and what they share is made. The result is what
    the PKI declares of itself."""
    from pkiconf.cli.metrics_folder import prepare_metrics_folder

    _check_options(settings)
    check_free(_addresses(settings))
    with services() as s:
        if settings.tls_bind and settings.tls_template:
            s.listener.ensure(settings.tls_template, settings.tls_names)
        pki = s.settings.read()
    prepare_metrics_folder(settings.state_folder, empty=True)
    return pki


def _addresses(settings: ProcessSettings) -> list[str]:
    return [bind for bind in (settings.bind, settings.tls_bind, settings.operations_bind) if bind is not None]


def _servers(settings: ProcessSettings) -> list[Child]:
    from pkiconf.cli.supervisor import Child

    return [Child(f"server ({name})", ("serve", "--only", name)) for name in _listeners(settings)]


def _listeners(settings: ProcessSettings) -> list[str]:
    return [
        "plain",
        *(["tls"] if settings.tls_bind else []),
        *(["operations"] if settings.operations_bind else []),
    ]


def _serve(settings: ProcessSettings, listener: str) -> None:
    """Does not return: gunicorn ends the process."""
    from pkiconf.cli.metrics_folder import prepare_metrics_folder

    prepare_metrics_folder(settings.state_folder, empty=False)
    # Imported only now: the metrics library looks for its folder when it is imported.
    from pkiconf.cli.server import Server

    sys.argv = ["pkiconf"]  # gunicorn shows it, and reads its own options from there otherwise
    if listener == "plain" and settings.status_server == "granian":
        from pkiconf.cli import granian_server

        granian_server.run(settings)
    elif listener == "plain":
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

    def __init__(self) -> None:
        self._asked = False
        self.alarm: Alarm | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def asked(self) -> bool:
        return self._asked

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True
        if self.alarm is not None:
            self.alarm.ring()


def _say(line: str) -> None:
    click.echo(f"pkiconf: {line}", err=True)
