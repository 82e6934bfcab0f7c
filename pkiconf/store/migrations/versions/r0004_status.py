"""Timestamps, certificate transparency, and status answers made ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _transparency()
    _timestamps()


def _transparency() -> None:
    """Precertificates and what logs promised for them (RFC 6962)."""
    op.create_table(
        "precertificate",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("tbs", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["issuer_id", "serial"],
            ["certificate.issuer_id", "certificate.serial"],
            name=op.f("fk_precertificate_issuer_id"),
        ),
        sa.PrimaryKeyConstraint("issuer_id", "serial", name=op.f("pk_precertificate")),
    )
    op.create_table(
        "certificate_timestamp",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("log_id", sa.LargeBinary(), nullable=False),
        sa.Column("sct", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_id", "serial"],
            ["certificate.issuer_id", "certificate.serial"],
            name=op.f("fk_certificate_timestamp_issuer_id"),
        ),
        sa.PrimaryKeyConstraint("issuer_id", "serial", "log_id", name=op.f("pk_certificate_timestamp")),
    )


def _timestamps() -> None:
    """What was stamped (RFC 3161)."""
    op.create_table(
        "timestamp_token",
        sa.Column("authority_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("authority_id", "serial", name=op.f("pk_timestamp_token")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "timestamp_count",
        sa.Column("authority_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authority_id", "day", name=op.f("pk_timestamp_count")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "timestamp_clock",
        sa.Column("authority_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authority_id", name=op.f("pk_timestamp_clock")),
    )
