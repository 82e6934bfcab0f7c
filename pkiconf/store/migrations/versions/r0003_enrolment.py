"""SCEP: challenges, transactions, grants and mail (RFC 8894 §4)."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Its tables come with what they are for."""
