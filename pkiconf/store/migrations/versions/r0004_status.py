"""Timestamps, certificate transparency, and status answers made ahead."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Its tables come with what they are for."""
