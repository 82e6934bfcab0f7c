"""What every command has: the process settings, the services, and who is acting."""

from __future__ import annotations

import getpass
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.model.actor import Actor

if TYPE_CHECKING:
    from pkiconf.bootstrap import OpenServices
    from pkiconf.services import Services
    from pkiconf.settings import ProcessSettings

_options: dict[str, Any] = {}


def set_options(**given: Any) -> None:  # noqa: ANN401
    """Remember the global flags that were given; they win over PKICONF_* variables."""
    _options.clear()
    _options.update({name: value for name, value in given.items() if value is not None})


def process_settings(**more: Any) -> ProcessSettings:  # noqa: ANN401
    """The settings of this process: flags, then PKICONF_* variables, then defaults.

    Raises Malformed for a variable that cannot be, a usage error for a flag.
    """
    from pydantic import ValidationError

    from pkiconf.errors import Malformed
    from pkiconf.settings import ProcessSettings

    flags = {**_options, **{name: value for name, value in more.items() if value is not None}}
    try:
        return ProcessSettings(**flags)
    except ValidationError as ex:
        first = ex.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if name in flags:
            raise click.UsageError(f"--{name.replace('_', '-')}: {what}") from None
        raise Malformed(f"PKICONF_{name.upper()}: {what}") from None


def environment(settings: ProcessSettings) -> dict[str, str]:
    """This process's environment with its settings written out, for children that must see the same."""
    found = dict(os.environ)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None or value == ():
            continue
        if hasattr(value, "get_secret_value"):
            value = value.get_secret_value()
        found[f"PKICONF_{name.upper()}"] = ",".join(value) if isinstance(value, tuple) else str(value)
    found["PKICONF_STATE"] = str(settings.state_folder)
    return found


def say_where(settings: ProcessSettings) -> None:
    """Name the state folder of a parent: it is taken without being asked for."""
    if settings.state is None and settings.state_folder.parent != Path.cwd():
        click.echo(f"pkiconf: the state is in {settings.state_folder}", err=True)


def services(*, create: bool = False) -> OpenServices:
    """To be used in a `with` block. Raises Unavailable when there is nothing to open yet (unless `create`)."""
    from pkiconf.bootstrap import open_services

    return open_services(process_settings(), create=create)


def services_if_any() -> AbstractContextManager[Services | None]:
    """The services, or None where nothing was ever applied: looking makes no state."""
    from pkiconf.bootstrap import missing_database

    return services() if missing_database(process_settings()) is None else nullcontext(None)


def operator() -> Actor:
    """Whoever runs this command: a shell beside the database and the master key is proof enough."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return Actor("operator", f"{user}@{platform.node()}", "local-shell")
