"""What every command has: the process settings, the services, and who is acting."""

from __future__ import annotations

import getpass
import platform
from typing import TYPE_CHECKING, Any

from pkiconf.model.actor import Actor

if TYPE_CHECKING:
    from pkiconf.bootstrap import OpenServices
    from pkiconf.settings import ProcessSettings

_options: dict[str, Any] = {}


def set_options(**given: Any) -> None:  # noqa: ANN401
    """Remember the global flags that were given; they win over PKICONF_* variables."""
    _options.clear()
    _options.update({name: value for name, value in given.items() if value is not None})


def process_settings(**more: Any) -> ProcessSettings:  # noqa: ANN401
    """The settings of this process: flags, then PKICONF_* variables, then defaults. Raises Malformed."""
    from pydantic import ValidationError

    from pkiconf.errors import Malformed
    from pkiconf.settings import ProcessSettings

    try:
        return ProcessSettings(**_options, **{name: value for name, value in more.items() if value is not None})
    except ValidationError as ex:
        first = ex.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"setting {name} (PKICONF_{name.upper()}): {first['msg']}") from None


def services(*, create: bool = False) -> OpenServices:
    """To be used in a `with` block. Raises Unavailable when there is nothing to open yet (unless `create`)."""
    from pkiconf.bootstrap import open_services

    return open_services(process_settings(), create=create)


def operator() -> Actor:
    """Whoever runs this command: a shell beside the database and the master key is proof enough."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return Actor("operator", f"{user}@{platform.node()}", "local-shell")
