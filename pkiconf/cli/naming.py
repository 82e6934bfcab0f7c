"""Options that name whom a request or certificate is for, and how it is signed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pkiconf.cli.output import read_in
from pkiconf.cli.passphrase import passphrase_file, passphrase_for
from pkiconf.errors import Malformed
from pkiconf.model.keys import Hash, Padding

if TYPE_CHECKING:
    from pkiconf.issuance.offline import OfflineKey
    from pkiconf.model.names import GeneralName, Name

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="Private key, PEM or DER."),
    passphrase_file,
    click.option("--subject", metavar="NAME", help="RFC 4514: 'CN=web.corp.example,O=Example Corp,C=NL'."),
    click.option("--san", "sans", multiple=True, metavar="TYPE:VALUE", help="dns:www.corp.example, ip:192.0.2.1, …"),
    click.option("--hash", "hash_name", type=click.Choice([name.value for name in Hash]), help="Default: by the key."),
    click.option("--pss", is_flag=True, help="RSA keys: sign with RSASSA-PSS."),
)


def naming(command: F) -> F:
    """The options of `csr new` and `cert self-signed`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_key(key_file: Path, passphrase_file: Path | None) -> OfflineKey:
    from pkiconf.issuance.offline import open_key

    data = read_in(key_file)
    return open_key(data, passphrase_for(key_file, data, passphrase_file))


def parse_subject(text: str | None) -> Name:
    """Raises Malformed; openssl's way of writing a name is recognised and explained."""
    from pkiconf.der.names import parse_name_text

    if text and text.startswith("/"):
        parts = ",".join(reversed(text[1:].split("/")))
        raise Malformed(f"--subject {text!r} is written openssl's way", f"Write it like RFC 4514: {parts!r}")
    return parse_name_text(text or "")


def parse_sans(texts: Iterable[str]) -> tuple[GeneralName, ...]:
    from pkiconf.der.names import parse_general_name_text

    return tuple(parse_general_name_text(text) for text in texts)


def signature_wish(hash_name: str | None, pss: bool) -> dict[str, Any]:
    return {"hash": Hash(hash_name) if hash_name else None, "padding": Padding.PSS if pss else None}
