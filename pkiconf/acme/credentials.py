"""What the holder of an external account binding needs, told once: on a terminal, or in a file of its own."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pkiconf.errors import Refused, Unavailable
from pkiconf.model.secret import Secret
from pkiconf.signing.private_file import alone_with, read_private_file, replace_private_file
from pkiconf.steps import Step

_HEADER: Final = b"# pkiconf: external account binding "
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """`hmac_key` is text as clients take it (unpadded base64url), `directory` the URL they begin at, `address` the
    binding's (`eab/<policy>/<name>`)."""

    address: str
    directory: str
    key_id: str
    hmac_key: Secret

    def render(self) -> bytes:
        """As a shell, systemd's EnvironmentFile= and docker's --env-file read it, with an example for certbot."""
        key = self.hmac_key.reveal().decode()
        lines = (
            f"{_HEADER.decode()}{self.address}",
            "# Told once: pkiconf keeps the key sealed and never shows it again.",
            f"ACME_DIRECTORY={self.directory}",
            f"ACME_EAB_KID={self.key_id}",
            f"ACME_EAB_HMAC_KEY={key}",
            "#",
            f"# certbot certonly --standalone --server {self.directory} \\",
            f"#   --eab-kid {self.key_id} --eab-hmac-key {key} \\",
            "#   --agree-tos --email you@corp.example -d web.corp.example",
        )
        return ("\n".join(lines) + "\n").encode()


class Telling(Protocol):
    """Where credentials are told. `keep` runs before they become valid, `show` after: what only shows must not show
    what then fails, and what keeps must not lose what then holds."""

    def keep(self, told: Credentials) -> None:
        """Raises Refused, Unavailable: the binding is then not made."""
        ...

    def show(self, told: Credentials) -> None: ...


class CredentialFile:
    """A file, mode 0600, that is complete or as it was. With `add`, bindings gather in it; without, it is one's own.

    What else lies there is never overwritten.
    """

    def __init__(self, path: Path, *, add: bool = False) -> None:
        self.path = path
        self._add = add

    @property
    def is_shared(self) -> bool:
        return self._add

    def check(self, address: str) -> None:
        """Raises Refused or Unavailable where the credentials of a binding cannot be kept, as `keep` would."""
        folder = self.path.resolve().parent
        if not folder.is_dir():
            raise Unavailable(f"there is no folder {folder}", "Make it, or name another file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Unavailable(f"nothing can be written in {folder}", "Change its mode or owner, or name another file")
        self._before(address)

    def keep(self, told: Credentials) -> None:
        with alone_with(self.path):
            content = self._before(told.address) + told.render()
            replace_private_file(self.path, content, Step.ACME_CREDENTIALS_FILE)

    def _before(self, address: str) -> bytes:
        """What of the present content is to stay."""
        return self._present() if self._add else self._mine(address)

    def show(self, told: Credentials) -> None:
        """It stands in the file."""

    def _mine(self, address: str) -> bytes:
        """Nothing, unless the file tells of another binding."""
        present = self._present()
        first = present.partition(b"\n")[0]
        if present and first != _HEADER + address.encode():
            raise Refused(
                f"{self.path} holds the credentials of {first.removeprefix(_HEADER).decode(errors='replace')}",
                f"Name another file for {address}",
            )
        return b""

    def _present(self) -> bytes:
        if not self.path.exists():
            return b""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise Refused(f"{self.path} is not a regular file", "Name another file for the credentials")
        present = read_private_file(self.path, _LARGEST)
        if present and not present.startswith(_HEADER):
            raise Refused(
                f"{self.path} holds something else, and would be overwritten", "Name another file for the credentials"
            )
        return present
