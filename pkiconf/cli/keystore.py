"""`pkiconf keystore …`: the master key that every private key is sealed under."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, create_out, print_fields, print_json

if TYPE_CHECKING:
    from pkiconf.signing.master import MasterKeySource


@click.group(cls=SuggestingGroup)
def group() -> None:
    """The master key. Private keys are sealed under it with AES-256-GCM; it is never stored in the database."""


@group.command()
@as_json
def status(as_json: bool) -> None:
    """Show which master keys are at hand, and under which things are sealed. Ids tell nothing of the keys."""
    from pkiconf.store import keys, wrapping

    with services() as s:
        master = s.parts.keyring.master
        used = s.parts.db.read(
            lambda c: (
                [row.wrapping_key_id for row in keys.list_keys(c)]
                + [row.wrapping_key_id for row in keys.list_secrets(c)]
                + [row.wrapping_key_id for row in wrapping.list_sealed_bindings(c)]
            )
        )
    counts = {key_id: used.count(key_id) for key_id in sorted({key_id for key_id in used if key_id is not None})}
    fields: dict[str, object] = {
        "source": str(master.source),
        "current": master.current_id,
        "others": list(master.ids[1:]),
    }
    if as_json:
        print_json({**fields, "sealed_under": counts})
    else:
        lines = [f"{key_id} ({count} keys and secrets)" for key_id, count in counts.items()]
        print_fields({**fields, "sealed_under": lines})


@group.command()
@click.option("--keep-old", type=click.Path(path_type=Path), help="Copy the present master key file here first, 0600.")
def rekey(keep_old: Path | None) -> None:
    """Seal everything under a new master key, while everything runs; finishes a rekey that was interrupted.

    A master key file gets a new key. With PKICONF_MASTER_KEY or PKICONF_MASTER_KEY_COMMAND, let these give the new key
    first and the present one after it, on every host, then run this. Backups stay under the key of their day: keep a
    copy of it for as long as them (--keep-old).
    """
    from pkiconf.authority.rekey import rekey as seal_anew
    from pkiconf.policy.authorization import Action, check_may
    from pkiconf.signing.master import KEY_SIZE

    actor = operator()
    check_may(actor, Action.KEYSTORE_REKEY, "keystore")
    with services() as s:
        parts = s.parts
        if keep_old is not None:
            _copy_master_key(parts.keyring.master.source, keep_old)
        report = seal_anew(
            parts.db, parts.keyring, lambda: parts.entropy.token(KEY_SIZE),
            audit=parts.audit, actor=actor, now=parts.now(),
        )  # fmt: skip
        source = parts.keyring.master.source
    if report.resumed:
        click.echo("More than one master key stood in the source: that change was finished, no new key was made.")
    click.echo(f"Everything is sealed under master key {report.new}; {report.rewrapped} keys and secrets were moved.")
    old = ", ".join(report.old)
    if not report.old_removed:
        click.echo(f"Nothing here needs {old} any more: take it out of {source}, on every host.")
    copy = f"it is in {keep_old}" if keep_old else "without a copy of it they are lost, so make a new one now"
    click.echo(f"Backups made until now still need {old}: {copy}.")


def _copy_master_key(source: MasterKeySource, target: Path) -> None:
    from pkiconf.signing.master import LARGEST_SOURCE, FileSource
    from pkiconf.signing.private_file import read_private_file

    if not isinstance(source, FileSource):
        raise click.UsageError(f"--keep-old copies a master key file, but the master key comes from {source}")
    create_out(read_private_file(source.path, LARGEST_SOURCE), target)
