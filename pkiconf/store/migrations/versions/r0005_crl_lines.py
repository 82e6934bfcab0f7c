"""The lines of a CRL stand in the index that finds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_REVOKED = "status IN ('revoked', 'held', 'abandoned')"


def upgrade() -> None:
    op.drop_index("ix_certificate_revoked", "certificate")
    op.create_index(
        "ix_certificate_revoked",
        "certificate",
        ["issuer_id", "crl_shard", "serial", "status", "revoked_at", "reason", "invalidity_at", "not_after"],
        sqlite_where=sa.text(_REVOKED),
        postgresql_where=sa.text(_REVOKED),
    )
