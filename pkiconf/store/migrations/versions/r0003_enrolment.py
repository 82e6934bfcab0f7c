"""SCEP: secrets, challenges, transactions, grants and mail (RFC 8894 §4)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# SQLite gives AUTOINCREMENT behaviour only to INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "scep_secret",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_as", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_scep_secret_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scep_secret")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_scep_secret_template_id", "scep_secret", ["template_id", "kind"])
    op.create_index(
        "ix_scep_secret_current",
        "scep_secret",
        ["template_id", "kind"],
        unique=True,
        sqlite_where=sa.text("until_at IS NULL"),
        postgresql_where=sa.text("until_at IS NULL"),
    )
    op.create_table(
        "scep_challenge",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("bound", sa.Text(), nullable=True),
        sa.Column("grant_id", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("consumed_at", sa.BigInteger(), nullable=True),
        sa.Column("consumed_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_scep_challenge_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scep_challenge")),
        sa.UniqueConstraint("digest", name=op.f("uq_scep_challenge_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_scep_challenge_expires_at", "scep_challenge", ["expires_at"])
    op.create_index(
        "ix_scep_challenge_outstanding",
        "scep_challenge",
        ["template_id", "expires_at"],
        sqlite_where=sa.text("consumed_at IS NULL"),
        postgresql_where=sa.text("consumed_at IS NULL"),
    )
    op.create_table(
        "scep_tries",
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_scep_tries_template_id")),
        sa.PrimaryKeyConstraint("template_id", "client", name=op.f("pk_scep_tries")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scep_transaction",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("csr_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("signer_spki_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=True),
        sa.Column("issuer_id", sa.BigInteger(), nullable=True),
        sa.Column("serial", sa.LargeBinary(), nullable=True),
        sa.Column("after_issue", sa.Text(), nullable=True),
        sa.Column("csr", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_scep_transaction_template_id")),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name=op.f("fk_scep_transaction_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scep_transaction")),
        sa.UniqueConstraint("template_id", "transaction_id", "attempt", name=op.f("uq_scep_transaction_template_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_scep_transaction_request_id", "scep_transaction", ["request_id"])
    op.create_table(
        "scep_intune",
        sa.Column("issuer_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["scep_transaction.id"], name=op.f("fk_scep_intune_attempt_id")),
        sa.PrimaryKeyConstraint("issuer_id", "serial", name=op.f("pk_scep_intune")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_scep_intune_serial", "scep_intune", ["serial"])
    op.create_table(
        "enrolment_grant",
        sa.Column("request_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("deliver", sa.Text(), nullable=False),
        sa.Column("token_salt", sa.LargeBinary(), nullable=True),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("token_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.Column("fetches", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name=op.f("fk_enrolment_grant_request_id")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_enrolment_grant")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_enrolment_grant_token_sha256")),
    )
    op.create_index("ix_enrolment_grant_expires_at", "enrolment_grant", ["expires_at"])
    op.create_table(
        "mail",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("token_number", sa.Integer(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name=op.f("fk_mail_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mail_request_id", "mail", ["request_id"])
