"""`pkiconf db …`: the database's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pkiconf.cli.context import operator, process_settings
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json

if TYPE_CHECKING:
    from pkiconf.store.database import Database


@click.group(cls=SuggestingGroup)
def group() -> None:
    """The database's schema. `apply` and `up` bring it up to date by themselves; other commands ask for it."""


@group.command()
@as_json
def status(as_json: bool) -> int:
    """Show where the database is and which schema it has. Exit status 2: it can be upgraded."""
    from pkiconf.store.migrate import REVISIONS, Schema, current_revision, schema_of

    db = _open()
    try:
        schema = schema_of(db)
        fields = {
            "database": db.place,
            "kind": db.dialect,
            "schema": current_revision(db),
            "wanted": REVISIONS[-1],
            "state": schema.value,
        }
    finally:
        db.close()
    (print_json if as_json else print_fields)(fields)
    if schema is Schema.NEWER:
        return ExitCode.ERROR
    return ExitCode.DONE if schema is Schema.CURRENT else ExitCode.CHANGES


@group.command()
def upgrade() -> None:
    """Bring the schema to this program's, all or nothing. Make a backup first."""
    from pkiconf.policy.authorization import Action, check_may
    from pkiconf.store.migrate import REVISIONS
    from pkiconf.store.migrate import upgrade as run

    check_may(operator(), Action.UPGRADE, "database")
    db = _open()
    try:
        changed = run(db)
    finally:
        db.close()
    click.echo(f"The database {'now' if changed else 'already'} has schema {REVISIONS[-1]} ({db.place}).")


def _open() -> Database:
    """What there is; a file that is missing is not made."""
    from pkiconf.bootstrap import missing_database, open_state_database
    from pkiconf.errors import NotFound

    settings = process_settings()
    if missing := missing_database(settings):
        hint = "Run `pkiconf apply` or `pkiconf up` first, or name another --state"
        raise NotFound(f"there is no database at {missing}", hint)
    return open_state_database(settings)
