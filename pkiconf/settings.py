"""Facts of a process: where its state, database and master key are, where it listens. Flags and PKICONF_* variables.

What is wished of the PKI itself is declared under `settings:` in YAML.
"""

from __future__ import annotations

import shlex
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

STATE_FOLDER: Final = ".pkiconf"
MASTER_KEY_FILE: Final = "master.key"


class ProcessSettings(BaseSettings):
    """Each field is also the variable PKICONF_<NAME>; a flag wins over a variable."""

    model_config = SettingsConfigDict(env_prefix="PKICONF_", frozen=True, extra="ignore", env_ignore_empty=True)

    state: Path | None = Field(
        None, description="State folder. Default: .pkiconf in the nearest parent that has one, else here"
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://… or sqlite:///…; default: pkiconf.db in the state folder"
    )
    master_key_file: Path | None = Field(None, description="Default: master.key in the state folder")
    master_key: SecretStr | None = Field(None, description="The master key itself, base64")
    master_key_command: str | None = Field(None, description="A command that prints the master key")
    vault_password_file: Path | None = Field(None, description="Password file, or command if executable, for !vault")
    bind: str = Field("127.0.0.1:8000", description="Plain HTTP listener")
    tls_bind: str | None = Field(None, description="TLS listener, e.g. 0.0.0.0:8443; needs tls_template and tls_names")
    tls_template: str | None = Field(None, description="Template that issues the listener's own certificate")
    tls_names: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Its DNS names or addresses, comma-separated"
    )
    operations_bind: str | None = Field(None, description="Own listener for /healthz, /readyz and /metrics")
    workers: int = Field(2, ge=1, le=64, description="Server processes")
    threads: int = Field(4, ge=1, le=64, description="Threads in each")
    status_server: str = Field(
        "gunicorn",
        pattern="^(gunicorn|granian)$",
        description="What serves the plain listener; granian is the extra fast",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Networks whose X-Forwarded-For is believed"
    )
    max_body: int = Field(1 << 20, ge=1024, description="Largest request body in octets")
    request_timeout: int = Field(
        30, ge=1, description="Seconds in which a request has to arrive, and then to be answered"
    )
    access_log: str = Field("off", pattern="^(off|text|json)$", description="off, text or json, on standard output")

    @field_validator("tls_names", "trusted_proxies", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("bind", "tls_bind", "operations_bind")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            host, colon, port = value.rpartition(":")
            if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
                raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ip_network(text, strict=False)
        return value

    @property
    def state_folder(self) -> Path:
        """Absolute. Raises nothing for a folder that does not exist yet."""
        return (self.state or find_state_folder(Path.cwd())).absolute()

    @property
    def command(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.master_key_command or ""))


def find_state_folder(start: Path) -> Path:
    """`.pkiconf` in the nearest parent that has one, else in `start`."""
    for folder in (start, *start.parents):
        if (folder / STATE_FOLDER).is_dir():
            return folder / STATE_FOLDER
    return start / STATE_FOLDER
