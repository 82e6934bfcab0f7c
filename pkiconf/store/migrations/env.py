"""Run by Alembic: migrates over the connection, and in the transaction, that `migrate.upgrade` hands in."""

from __future__ import annotations

from alembic import context

from pkiconf.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters few things in place: a new table takes the old one's rows instead
)
with context.begin_transaction():
    context.run_migrations()
