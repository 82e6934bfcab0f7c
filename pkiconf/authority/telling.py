"""Secrets that this program makes for others, told once: on a terminal, or in a file of their own."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from pkiconf.errors import Refused, Unavailable
from pkiconf.signing.private_file import alone_with, read_private_file, replace_private_file
from pkiconf.steps import Step

_OURS: Final = b"# pkiconf: "
_LARGEST: Final = 1 << 20
_TITLES: Final[Mapping[str, str]] = MappingProxyType({"eab": "external account binding", "template": "SCEP passphrase"})
"""Kind of address → what is told of it."""


class Told(Protocol):
    """What its owner needs. `render` begins with `heading(address)`."""

    @property
    def address(self) -> str: ...

    def render(self) -> bytes:
        """As a shell, systemd's EnvironmentFile= and docker's --env-file read it."""
        ...


class Telling(Protocol):
    """Where secrets are told. `keep` runs before they become valid, `show` after: what only shows must not show what
    then fails, and what keeps must not lose what then holds."""

    def keep(self, told: Told) -> None:
        """Raises Refused, Unavailable: the secret is then not made."""
        ...

    def show(self, told: Told) -> None: ...


def heading(address: str) -> str:
    """The first line of what is told of an object: what it is, and whose."""
    return f"{_OURS.decode()}{_TITLES[address.partition('/')[0]]} {address}"


def nowhere_to_tell(*addresses: str) -> Refused:
    return Refused(
        f"the credentials of {', '.join(addresses)} would be told once, and there is nowhere to tell them",
        "Run apply on a terminal or with --secrets-file FILE, or declare write_to: FILE",
    )


class CredentialFile:
    """A file, mode 0600, that is complete or as it was. With `add`, objects gather in it; without, it is one's own.

    What else lies there is never overwritten.
    """

    def __init__(self, path: Path, *, add: bool = False) -> None:
        self.path = path
        self._add = add

    @property
    def is_shared(self) -> bool:
        return self._add

    def check(self, address: str) -> None:
        """Raises Refused or Unavailable where what is told of an object cannot be kept, as `keep` would."""
        folder = self.path.resolve().parent
        if not folder.is_dir():
            raise Unavailable(f"there is no folder {folder}", "Make it, or name another file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Unavailable(f"nothing can be written in {folder}", "Change its mode or owner, or name another file")
        self._before(address)

    def keep(self, told: Told) -> None:
        with alone_with(self.path):
            content = self._before(told.address) + told.render()
            replace_private_file(self.path, content, Step.CREDENTIALS_FILE)

    def _before(self, address: str) -> bytes:
        """What of the present content is to stay."""
        return self._present() if self._add else self._mine(address)

    def show(self, told: Told) -> None:
        """It stands in the file."""

    def _mine(self, address: str) -> bytes:
        """Nothing, unless the file tells of another object."""
        present = self._present()
        first = present.partition(b"\n")[0]
        if present and first != heading(address).encode():
            raise Refused(
                f"{self.path} holds the credentials of {first.split(b' ')[-1].decode(errors='replace')}",
                f"Name another file for {address}",
            )
        return b""

    def _present(self) -> bytes:
        if not self.path.exists():
            return b""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise Refused(f"{self.path} is not a regular file", "Name another file for the credentials")
        present = read_private_file(self.path, _LARGEST)
        if present and not present.startswith(tuple(_OURS + title.encode() for title in _TITLES.values())):
            raise Refused(
                f"{self.path} holds something else, and would be overwritten", "Name another file for the credentials"
            )
        return present
