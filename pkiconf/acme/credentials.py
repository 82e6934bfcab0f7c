"""What the holder of an external account binding needs, told once."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.authority.telling import heading
from pkiconf.model.secret import Secret


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
            heading(self.address),
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
