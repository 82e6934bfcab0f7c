"""Options that name whom a request or certificate is for, and how it is signed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pkiconf.cli.output import read_in
from pkiconf.cli.passphrase import passphrase_file, passphrase_for
from pkiconf.errors import Malformed, Refused
from pkiconf.model.keys import Hash, Padding

if TYPE_CHECKING:
    from pkiconf.issuance.offline import OfflineKey
    from pkiconf.model.names import GeneralName, Name

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

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


def parse_values(option: str, texts: Iterable[str], parse: Callable[[str], T]) -> tuple[T, ...]:
    """What an option's texts mean; one that means nothing is a usage error that names the option."""
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except (Malformed, Refused) as ex:
            raise click.UsageError(f"{option}: {ex}") from None
    return tuple(found)


def parse_subject(text: str | None) -> Name:
    """openssl's way of writing a name is recognised and explained."""
    from pkiconf.der.names import parse_name_text

    if text and text.startswith("/"):
        rest = ",".join(reversed(text[1:].split("/")))
        raise click.UsageError(f"--subject {text!r} is written openssl's way: write {rest!r} (RFC 4514)")
    return parse_values("--subject", (text or "",), parse_name_text)[0]


def parse_sans(texts: Iterable[str]) -> tuple[GeneralName, ...]:
    from pkiconf.der.names import parse_general_name_text

    return parse_values("--san", texts, parse_general_name_text)


def signature_wish(hash_name: str | None, pss: bool) -> dict[str, Any]:
    return {"hash": Hash(hash_name) if hash_name else None, "padding": Padding.PSS if pss else None}
