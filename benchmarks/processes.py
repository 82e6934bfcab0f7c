"""Process trees seen from outside: the time they have used, the memory they hold."""

from __future__ import annotations

import os
from pathlib import Path


def tree(root: int) -> set[int]:
    """A process and all its living descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found, grown = {root}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def tree_cpu(root: int) -> float:
    """User and system seconds of a process and all its descendants, so far; those of children that have ended too."""
    return sum(cpu(process) for process in tree(root))


def cpu(process: int) -> float:
    return sum(map(int, _stat(process)[11:15])) / os.sysconf("SC_CLK_TCK")


def tree_memory(root: int) -> float:
    """Megabytes, with what processes share counted once (PSS)."""
    total = 0
    for process in tree(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def _stat(process: int) -> list[str]:
    """The fields after the name; empty for a process that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
