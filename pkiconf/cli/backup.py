"""`pkiconf backup` and `pkiconf restore`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pkiconf.cli.context import operator, process_settings, services


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Write everything but the master key to FILE, as it is at one moment, while others go on working.

    FILE is a new tar archive, mode 0600, that proves what it is when it is restored.
    """
    from pkiconf.clock import from_epoch
    from pkiconf.policy.authorization import Action, check_may
    from pkiconf.store.backup import backup as write_backup

    actor = operator()
    check_may(actor, Action.BACKUP, "database")
    with services() as s:
        report = write_backup(s.parts.db, file, audit=s.parts.audit, actor=actor, now=s.parts.now())
    tables = report.manifest.tables
    moment = from_epoch(report.manifest.made_at).isoformat()
    click.echo(
        f"Wrote {report.path}: {tables.get('authority', 0)} authorities, "
        f"{tables.get('certificate', 0)} certificates, as of {moment}."
    )
    _print_notes(report.notes)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Fill an empty installation from a backup: an empty state folder, or an empty database with --database-url.

    The master key comes first: put it where PKICONF_MASTER_KEY_FILE, --master-key-file or the state folder's master.key
    says. Ids, CRL numbers and audit indexes go on behind a gap, so that nothing the original used is used again.
    """
    from pkiconf.authority.rekey import unseal_row
    from pkiconf.bootstrap import make_state_folder, master_key_source, open_state_database
    from pkiconf.clock import SystemClock
    from pkiconf.errors import NotFound
    from pkiconf.policy.authorization import Action, check_may
    from pkiconf.signing.keyring import Keyring
    from pkiconf.signing.master import load_master_keys, reloader
    from pkiconf.store.archive import open_archive
    from pkiconf.store.restore import restore as read_backup

    actor = operator()
    check_may(actor, Action.RESTORE, "database")
    settings = process_settings()
    if not file.is_file():
        raise NotFound(f"there is no backup {file}")
    source = master_key_source(settings)
    keyring = Keyring(load_master_keys(source), reloader(source))
    with open_archive(file):
        pass  # what is no backup is told before anything is made
    make_state_folder(settings.state_folder)
    db = open_state_database(settings)
    try:
        report = read_backup(
            file, db, settings.state_folder,
            unseal=lambda row: unseal_row(keyring, row), actor=actor, now=SystemClock().now(),
        )  # fmt: skip
    finally:
        db.close()
    click.echo(f"Restored {file} into {db.place}. The audit log goes on at index {report.first_audit_index}.")
    _print_notes(report.notes)
    click.echo("Next: pkiconf doctor, then pkiconf plan with your declarations")


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
