"""What the tables say of themselves, beyond what a migration's comparison looks at."""

from __future__ import annotations

from pathlib import Path

from pkiconf.steps import Step
from pkiconf.store.database import open_database
from pkiconf.store.tables import metadata


def test_partial_indexes_are_partial_on_postgresql_too(empty_postgres_url: str) -> None:
    """The option is given only when tables are made there, so that nobody else imports that dialect."""
    db = open_database(empty_postgres_url, Path())
    db.write(Step.MIGRATE, metadata.create_all)
    query = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%% WHERE %%'"
    found = {str(name) for (name,) in db.read(lambda c: c.exec_driver_sql(query).all())}
    db.close()
    assert found == {
        "ix_acme_binding_active",
        "ix_acme_order_replaces",
        "ix_ca_certificate_preferred",
        "ix_certificate_changed",
        "ix_certificate_reserved",
        "ix_certificate_revoked",
        "ix_scep_challenge_outstanding",
        "ix_scep_secret_current",
    }
