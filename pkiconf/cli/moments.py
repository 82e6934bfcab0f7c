"""Points in time as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

import click


def moment(text: str | None, option: str) -> datetime | None:
    """ISO 8601; without an offset it is UTC."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{option} {text!r}: write a time such as 2027-01-31 or 2027-01-31T08:00") from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
