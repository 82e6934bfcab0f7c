"""Problems in what operators wrote: where, what, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pkiconf.errors import PkiconfError


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file as an editor counts it: lines and columns start at 1; line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`problem` says what is wrong, `hint` what to write instead (may be empty). Neither holds a secret."""

    at: Location
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.at}  {self.problem}. {self.hint}" if self.hint else f"{self.at}  {self.problem}"


class SpecErrors(PkiconfError):
    """Everything that is wrong with the declaration, in the order of the files; never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known spelling most like `word`, ignoring case and the difference between - and _; None if none is near."""
    spellings: dict[str, str] = {}
    for spelling in known:
        spellings.setdefault(_folded(spelling), spelling)
    found = difflib.get_close_matches(_folded(word), spellings, n=1, cutoff=0.7)
    return spellings[found[0]] if found else None


def _folded(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def did_you_mean(word: str, known: Sequence[str], otherwise: str = "") -> str:
    """A hint: the nearest spelling, else the whole list if it is short, else `otherwise`."""
    found = nearest(word, known)
    if found is not None:
        return f"Did you mean {found!r}?"
    if known and not otherwise and len(known) <= 12:
        return f"Known: {', '.join(known)}"
    return otherwise
