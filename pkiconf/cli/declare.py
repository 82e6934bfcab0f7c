"""`pkiconf init`, `validate`, `schema` and `explain`: declarations, without any state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.output import as_json, print_fields, print_json, write_out


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--name", default="corp", show_default=True, help="Begins the names of the authorities.")
@click.option("--organization", default="Example Corp", show_default=True)
@click.option("--base-url", default="http://127.0.0.1:8000", show_default=True, help="Part of every certificate.")
def init(folder: Path, name: str, organization: str, base_url: str) -> int:
    """Write pki.yaml, a two-tier PKI to start from, and its JSON Schema. Nothing is overwritten."""
    from pkiconf.spec.initial import initial_declaration
    from pkiconf.spec.schema import json_schema

    folder.mkdir(parents=True, exist_ok=True)
    declaration, schema_file = folder / "pki.yaml", folder / "pkiconf.schema.json"
    if declaration.exists():
        click.echo(f"error: {declaration} exists already; nothing was written", err=True)
        return ExitCode.REFUSED
    write_out(initial_declaration(name, organization, base_url).encode(), declaration)
    write_out((json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n").encode(), schema_file)
    click.echo(f"Wrote {declaration} and {schema_file}.")
    click.echo(f"Next: pkiconf plan {declaration}, then pkiconf up {declaration}")
    return ExitCode.DONE


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--secrets/--no-secrets", default=False, help="Also read what !env, !file and !vault refer to.")
def validate(paths: Sequence[Path], secrets: bool) -> None:
    """Check declarations: every problem at once, each with file:line:column. Nothing is changed."""
    from pkiconf.cli.context import process_settings
    from pkiconf.spec.loader import load_files

    password_file = process_settings().vault_password_file
    document = load_files(paths, vault_password_file=password_file, resolve_secrets=secrets)
    for finding in document.findings:
        click.echo(f"warning: {finding}", err=True)
    policies = f", {len(document.acme_policies)} ACME policies" if document.acme_policies else ""
    click.echo(f"Valid: {len(document.authorities)} authorities, {len(document.templates)} templates{policies}.")


@click.command()
def schema() -> None:
    """Print the JSON Schema of declarations. Editors take it from a first line like

    # yaml-language-server: $schema=./pkiconf.schema.json
    """
    from pkiconf.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@click.command()
@click.argument("path", required=False)
@as_json
def explain(path: str | None, as_json: bool) -> None:
    """Say what the field at PATH means, such as templates.key_usage. Without PATH: what can stand at the top."""
    from dataclasses import asdict

    from pkiconf.spec.explain import TOP_LEVEL
    from pkiconf.spec.explain import explain as explain_field

    if path is None:
        tops = [explain_field(key) for key in TOP_LEVEL]
        if as_json:
            print_json([asdict(top) for top in tops])
        else:
            print_fields({top.path: top.meaning for top in tops})
        return
    found = explain_field(path)
    if as_json:
        print_json(asdict(found))
        return
    fields: dict[str, object] = {"field": found.path, "meaning": found.meaning, "type": found.type}
    fields["default"] = "(required)" if found.required else found.default
    if found.allowed:
        fields["allowed"] = ", ".join(found.allowed)
    if found.rfc:
        fields["defined in"] = found.rfc
    if found.fields:
        fields["fields"] = list(found.fields)
    print_fields(fields)
