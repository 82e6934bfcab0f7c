"""`pkiconf csr …`: certificate requests, without any state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pkiconf.cli.csr_file import read_csr
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.naming import load_key, naming, parse_sans, parse_subject, parse_values, signature_wish
from pkiconf.cli.output import as_json, print_fields, print_json, write_out


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate requests (PKCS#10), made and read on this machine. No state is needed or changed."""


@group.command()
@naming
@click.option(
    "--extended-key-usage", "usages", multiple=True, metavar="NAME|OID", help="To ask for, such as serverAuth."
)
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def new(
    key_file: Path,
    passphrase_file: Path | None,
    subject: str | None,
    sans: Sequence[str],
    usages: Sequence[str],
    form: str,
    out: Path | None,
    hash_name: str | None,
    pss: bool,
) -> None:
    """Make a certificate request for a private key, for `pkiconf request submit` or any other CA."""
    from pkiconf.clock import SystemClock
    from pkiconf.der.pem import pem_encode
    from pkiconf.issuance.offline import make_csr, usage_oid

    name, names = parse_subject(subject), parse_sans(sans)
    if not name.rdns and not names:
        raise click.UsageError("give --subject or --san: whom is the request for?")
    wishes = parse_values("--extended-key-usage", usages, usage_oid)
    key = load_key(key_file, passphrase_file)
    der = make_csr(key, name, names, SystemClock().now(), usages=wishes, **signature_wish(hash_name, pss))
    write_out(der if form == "der" else pem_encode("CERTIFICATE REQUEST", der).encode(), out)


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def show(file: Path, as_json: bool) -> None:
    """Check a request's signature and say what it asks for. `-` reads standard input."""
    fields = _describe(read_csr(file))
    (print_json if as_json else print_fields)(fields)


def _describe(data: bytes) -> dict[str, Any]:
    import hashlib

    from pkiconf.der.csr import parse_csr
    from pkiconf.der.names import general_name_text, name_text

    request = parse_csr(data)
    return {
        "subject": name_text(request.subject),
        "names": [general_name_text(name) for name in request.sans],
        "key": str(request.key),
        "public_key_sha256": hashlib.sha256(request.spki).hexdigest(),
        "extensions": [extension.oid for extension in request.extensions],
        "signature": "made with the request's own key",
    }
