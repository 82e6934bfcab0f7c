"""ACME: policies, external account bindings, accounts, orders, authorizations (RFC 8555 §7.1)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite gives AUTOINCREMENT behaviour only to INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "acme_policy",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("spec_digest", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_policy")),
        sa.UniqueConstraint("name", name=op.f("uq_acme_policy_name")),
        sa.UniqueConstraint("slug", name=op.f("uq_acme_policy_slug")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "acme_binding",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("wrapping_key_id", sa.Text(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("spec_digest", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("accounts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["acme_policy.id"], name=op.f("fk_acme_binding_policy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_binding")),
        sa.UniqueConstraint("key_id", name=op.f("uq_acme_binding_key_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_acme_binding_active",
        "acme_binding",
        ["policy_id", "name"],
        unique=True,
        sqlite_where=sa.text("lifecycle = 'active'"),
        postgresql_where=sa.text("lifecycle = 'active'"),
    )
    op.create_table(
        "acme_account",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.BigInteger(), nullable=False),
        sa.Column("binding_id", sa.BigInteger(), nullable=True),
        sa.Column("thumbprint", sa.Text(), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("contacts", sa.Text(), nullable=False),
        sa.Column("terms_agreed_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_from", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["binding_id"], ["acme_binding.id"], name=op.f("fk_acme_account_binding_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["acme_policy.id"], name=op.f("fk_acme_account_policy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_account")),
        sa.UniqueConstraint("name", name=op.f("uq_acme_account_name")),
        sa.UniqueConstraint("thumbprint", name=op.f("uq_acme_account_thumbprint")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_acme_account_binding_id", "acme_account", ["binding_id"])
    op.create_index("ix_acme_account_policy_id", "acme_account", ["policy_id"])
    op.create_table(
        "acme_order",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("template_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("identifiers", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("not_after", sa.BigInteger(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("issuer_id", sa.BigInteger(), nullable=True),
        sa.Column("serial", sa.LargeBinary(), nullable=True),
        sa.Column("spki_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["acme_account.id"], name=op.f("fk_acme_order_account_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_acme_order_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_order")),
        sa.UniqueConstraint("name", name=op.f("uq_acme_order_name")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_acme_order_account_id", "acme_order", ["account_id", "id"])
    op.create_index(
        "ix_acme_order_replaces",
        "acme_order",
        ["replaces"],
        sqlite_where=sa.text("replaces IS NOT NULL"),
        postgresql_where=sa.text("replaces IS NOT NULL"),
    )
    op.create_table(
        "acme_authorization",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("wildcard", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("offered", sa.Text(), nullable=False),
        sa.Column("accepted", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("validated_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["acme_account.id"], name=op.f("fk_acme_authorization_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_authorization")),
        sa.UniqueConstraint("name", name=op.f("uq_acme_authorization_name")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_acme_authorization_account_id", "acme_authorization", ["account_id", "value", "kind"])
    op.create_table(
        "acme_order_authorization",
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("authorization_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["authorization_id"],
            ["acme_authorization.id"],
            name=op.f("fk_acme_order_authorization_authorization_id"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["acme_order.id"], name=op.f("fk_acme_order_authorization_order_id")),
        sa.PrimaryKeyConstraint("order_id", "authorization_id", name=op.f("pk_acme_order_authorization")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_acme_order_authorization_authorization_id", "acme_order_authorization", ["authorization_id"])
    op.create_table(
        "acme_issued_name",
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["acme_order.id"], name=op.f("fk_acme_issued_name_order_id")),
        sa.PrimaryKeyConstraint("value", "at", "order_id", name=op.f("pk_acme_issued_name")),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        _create_unlogged()


def _create_unlogged() -> None:
    op.create_table(
        "acme_nonce",
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("value", name=op.f("pk_acme_nonce")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "acme_nonce_epoch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.LargeBinary(), nullable=False),
        sa.Column("floor", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_nonce_epoch")),
        prefixes=["UNLOGGED"],
    )
