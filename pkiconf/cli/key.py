"""`pkiconf key …`: private keys, without any state."""

from __future__ import annotations

from pathlib import Path

import click

from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, create_out, print_fields, print_json, read_in
from pkiconf.cli.passphrase import ask_new_passphrase, passphrase_file, passphrase_for, read_passphrase
from pkiconf.model.keys import KEY_ALGORITHMS


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Private keys, made on this machine and kept nowhere else. No state is needed or changed."""


@group.command()
@click.option("--type", "kind", type=click.Choice(list(KEY_ALGORITHMS)), default="ec-p256", show_default=True)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="New file, mode 0600; - is standard output."
)
@passphrase_file
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase on the terminal.")
def new(kind: str, out: Path, passphrase_file: Path | None, encrypt: bool) -> None:
    """Make a private key: PKCS#8, PEM, encrypted if there is a passphrase. No file is ever overwritten."""
    from pkiconf.issuance.offline import new_key

    if encrypt and passphrase_file:
        raise click.UsageError("give --encrypt or --passphrase-file, not both")
    passphrase = read_passphrase(passphrase_file) if passphrase_file else ask_new_passphrase() if encrypt else None
    create_out(new_key(kind, passphrase), out)
    if str(out) != "-":
        protected = "encrypted" if passphrase else "not encrypted, so only its mode (0600) protects it"
        click.echo(f"Wrote {out}: a key of type {kind}, {protected}.")


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_file
@as_json
def show(file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Say what kind of key a file holds, and whether pkiconf would certify it. The key itself is not shown."""
    import hashlib

    from pkiconf.der.keys import key_identifier
    from pkiconf.issuance.offline import open_key

    data = read_in(file)
    key = open_key(data, passphrase_for(file, data, passphrase_file))
    fields = {
        "type": key.signer.key_algorithm.name,
        "security_bits": key.signer.key_algorithm.security_bits,
        "signs_with": [algorithm.name for algorithm in key.signer.algorithms],
        "public_key_sha256": hashlib.sha256(key.spki).hexdigest(),
        "key_identifier": key_identifier(key.spki).hex(),
    }
    (print_json if as_json else print_fields)(fields)
