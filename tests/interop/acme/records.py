"""TXT records that strangers' hooks write: a file for each name, one record a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class Records(Mapping[str, list[str]]):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text().split()
        except OSError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (file.name for file in self.folder.iterdir())

    def __len__(self) -> int:
        return sum(1 for _ in self)
