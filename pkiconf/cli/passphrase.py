"""Passphrases come from a file or from the terminal, never from the command line, where others can read them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from pkiconf.cli.output import read_in
from pkiconf.errors import Malformed
from pkiconf.model.secret import Secret

F = TypeVar("F", bound=Callable[..., Any])

_LARGEST: Final = 4096

passphrase_file = click.option(
    "--passphrase-file", type=click.Path(path_type=Path), help="The file's first line is the key's passphrase."
)


def read_passphrase(path: Path) -> Secret:
    """The first line, without its end. Raises Malformed for an empty one, Unavailable."""
    data = read_in(path)
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line or len(line) > _LARGEST:
        raise Malformed(
            f"the first line of {path} is {'empty' if not line else 'too long'}", "Put the passphrase there"
        )
    return Secret(line)


def ask_new_passphrase() -> Secret:
    """Twice, unseen. Raises a usage error where there is no terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for a passphrase: use --passphrase-file")
    return Secret(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True).encode())


def passphrase_for(path: Path, data: bytes, given: Path | None) -> Secret | None:
    """What opens the private key in `data`: the file's line, else asked for if the key is encrypted."""
    from pkiconf.issuance.offline import is_encrypted

    if given is not None:
        return read_passphrase(given)
    if not is_encrypted(data):
        return None
    if not sys.stdin.isatty():
        raise Malformed(f"the key in {path} is encrypted", "Give its passphrase with --passphrase-file")
    return Secret(click.prompt(f"Passphrase of {path}", hide_input=True, err=True).encode())
