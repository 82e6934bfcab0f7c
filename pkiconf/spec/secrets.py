"""Secrets in YAML are references: `!env NAME`, `!file PATH`, `!vault` (ansible-vault text).

What stands in a spec, an explicit declaration or a plan is the reference; the bytes it leads to are a Secret beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pkiconf.errors import PkiconfError
from pkiconf.model.secret import Secret
from pkiconf.spec.misfits import Advised
from pkiconf.spec.nodes import Scalar
from pkiconf.spec.sources import read_beside
from pkiconf.spec.vault import HEADER, Vault

TAGS: Final = ("!env", "!file", "!vault")
PLAIN: Final = "(plain text)"
PASSWORD_FILE: Final = "PKICONF_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable


def reference_text(node: Scalar) -> str:
    """What stands in place of the secret: never the secret, and for `!vault` not its ciphertext either."""
    if node.tag is None:
        return PLAIN
    return node.tag if node.tag == "!vault" else f"{node.tag} {node.text.strip()}"


class SecretSources:
    """Where references lead: the environment, files beside the YAML, vault text under one password."""

    def __init__(self, environment: Mapping[str, str] | None = None, vault_password_file: Path | None = None) -> None:
        self.environment = os.environ if environment is None else environment
        named = self.environment.get(PASSWORD_FILE)
        self.vault = Vault(vault_password_file or (Path(named) if named else None))

    def resolve(self, node: Scalar) -> Secret:
        """Raises Advised when the reference leads nowhere."""
        if node.tag == "!env":
            return self._from_environment(node.text.strip())
        if node.tag == "!file":
            content = self.opened(read_beside(node.file, node.text.strip(), 1 << 16))
            # An editor ends every file with a newline that nobody typed into the passphrase.
            return _not_empty(content.removesuffix(b"\n").removesuffix(b"\r"), f"the file {node.text.strip()}")
        if node.tag == "!vault":
            return _not_empty(self._decrypted(node.text.encode()), "the vault text")
        return Secret(node.text.encode())

    def opened(self, content: bytes) -> bytes:
        """The content of a file, decrypted first if all of it is ansible-vault text."""
        return self._decrypted(content) if content.startswith(HEADER) else content

    def _from_environment(self, name: str) -> Secret:
        value = self.environment.get(name)
        if value is None:
            raise Advised(f"the environment variable {name} is not set", f"Set it: export {name}=…")
        return _not_empty(value.encode("utf-8", "surrogateescape"), f"the environment variable {name}")

    def _decrypted(self, text: bytes) -> bytes:
        try:
            return self.vault.decrypt(text)
        except PkiconfError as ex:
            raise Advised(ex.detail, ex.hint) from None


def _not_empty(content: bytes, where: str) -> Secret:
    if not content:
        raise Advised(f"{where} is empty", "Put the secret there, or remove the reference")
    return Secret(content)
