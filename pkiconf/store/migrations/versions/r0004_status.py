"""Timestamps, certificate transparency, and status answers made ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _transparency()
    _timestamps()
    _crls()
    _ocsp()


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


def _crls() -> None:
    op.add_column("certificate", sa.Column("changed_epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "ix_certificate_changed",
        "certificate",
        ["issuer_id", "crl_shard", "changed_epoch"],
        sqlite_where=sa.text("changed_epoch > 0"),
        postgresql_where=sa.text("changed_epoch > 0"),
    )
    op.add_column("crl", sa.Column("base_number", sa.BigInteger(), nullable=True))
    op.create_table(
        "crl_partition",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("added_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuer.id"], name=op.f("fk_crl_partition_issuer_id")),
        sa.PrimaryKeyConstraint("issuer_id", "shard", "url", name=op.f("pk_crl_partition")),
    )
    op.create_table(
        "crl_withheld",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("delta", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuer.id"], name=op.f("fk_crl_withheld_issuer_id")),
        sa.PrimaryKeyConstraint("issuer_id", "shard", "delta", name=op.f("pk_crl_withheld")),
    )


def _ocsp() -> None:
    op.create_table(
        "ocsp_answer",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("hash_algorithm", sa.Text(), nullable=False),
        sa.Column("changed_epoch", sa.BigInteger(), nullable=False),
        sa.Column("responder_serial", sa.LargeBinary(), nullable=False),
        sa.Column("produced_at", sa.BigInteger(), nullable=False),
        sa.Column("next_update", sa.BigInteger(), nullable=False),
        sa.Column("response_data", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_id", "serial"],
            ["certificate.issuer_id", "certificate.serial"],
            name=op.f("fk_ocsp_answer_issuer_id"),
        ),
        sa.PrimaryKeyConstraint("issuer_id", "serial", "hash_algorithm", name=op.f("pk_ocsp_answer")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ocsp_answer_produced_at", "ocsp_answer", ["issuer_id", "produced_at"])
