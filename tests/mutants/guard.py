"""One guard: a line that refuses, or a constant that orders, for a reason. Without it code runs on; a test tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """`text` stands once in `file`; with `without` in its place the guard is gone. `tests` are pytest's selection."""

    name: str
    file: str
    text: str
    without: str
    tests: tuple[str, ...]


def guards(file: str, tests: tuple[str, ...], *rows: tuple[str, str] | tuple[str, str, str]) -> tuple[Guard, ...]:
    """Rows are name and text, and what stands in its place: without that, the text is an `if` that never holds."""
    return tuple(
        Guard(row[0], file, row[1], row[2] if len(row) == 3 else f"{row[1].partition('if ')[0]}if False:", tests)
        for row in rows
    )
