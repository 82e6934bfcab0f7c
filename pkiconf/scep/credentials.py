"""What whoever sets devices up needs, told once."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.authority.telling import heading
from pkiconf.model.secret import Secret


@dataclass(frozen=True, slots=True)
class ToldPassphrase:
    """`address` is the template's (`template/<authority>/<name>`)."""

    address: str
    passphrase: Secret

    def render(self) -> bytes:
        """As a shell, systemd's EnvironmentFile= and docker's --env-file read it."""
        lines = (
            heading(self.address),
            "# Told once: pkiconf keeps a digest of it. Every device that knows it can enrol.",
            f"# pkiconf template urls {self.address.removeprefix('template/')} prints where.",
            f"SCEP_CHALLENGE_PASSWORD={self.passphrase.reveal().decode()}",
        )
        return ("\n".join(lines) + "\n").encode()
