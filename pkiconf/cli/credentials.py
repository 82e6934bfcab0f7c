"""Where commands tell credentials, once: in a file, or on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pkiconf.authority.telling import Telling, Told


class TerminalTelling:
    """Shows them after they have become valid; what nobody sees is not kept anywhere."""

    def keep(self, told: Told) -> None:
        """Nothing outlives a terminal."""

    def show(self, told: Told) -> None:
        click.echo(f"\n{told.render().decode()}")


def telling_for(file: Path | None) -> Telling | None:
    """The file, else the terminal that this command writes to; None where there is neither: a pipe or a log would keep
    what should be told once."""
    from pkiconf.authority.telling import CredentialFile

    if file is not None:
        return CredentialFile(file, add=True)
    return TerminalTelling() if sys.stdout.isatty() else None


def telling_once(what: str, file: Path | None) -> Telling:
    """For one command's credentials: a file of their own, else the terminal. `what` names them, as
    in "the credentials of eab/a/b". Raises Refused where there is neither."""
    from pkiconf.authority.telling import CredentialFile
    from pkiconf.errors import Refused

    telling = CredentialFile(file) if file is not None else telling_for(None)
    if telling is None:
        raise Refused(
            f"{what} would be told once, and this is no terminal", "Run it on a terminal, or with --write-to FILE"
        )
    return telling
