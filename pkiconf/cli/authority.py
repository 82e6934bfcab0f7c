"""`pkiconf authority …`."""

from __future__ import annotations

from pathlib import Path

import click

from pkiconf.cli.context import services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import write_out


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate authorities: declared in YAML; looked at, exported and finished here."""


@group.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
@click.option("--format", "form", type=click.Choice(["pem", "der", "p7b"]), default="pem", show_default=True)
@click.option("--chain", is_flag=True, help="With everything above it, the root last.")
def export(name: str, out: Path | None, form: str, chain: bool) -> None:
    """Write an authority's certificate."""
    with services() as s:
        write_out(s.lookup.export(name, form, chain=chain), out)
