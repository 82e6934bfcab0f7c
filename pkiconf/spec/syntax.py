"""What a YAML parser says of text that is no YAML, in the words of whoever wrote it."""

from __future__ import annotations

import re
from typing import Final

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pkiconf.spec.errors import Location, Problem

_INDENTATION: Final = "the indentation of this line fits none of the lines above it"
_AS_ABOVE: Final = "Indent it as far as the keys, or the dashes, that it belongs to"
_IN_QUOTES: Final = "Put the value in quotes"

# The first that is found in what the parser says. Two parsers have their say, in slightly different words.
_MEANINGS: Final = tuple(
    (re.compile(pattern), problem, hint)
    for pattern, problem, hint in (
        (r"expected <block end>, but found '<scalar>'", "something follows a value that had ended", _IN_QUOTES),
        (r"expected <block end>|did not find expected key|expected '<document start>'", _INDENTATION, _AS_ABOVE),
        (r"did not find expected '-' indicator|block sequence entries are not allowed", _INDENTATION, _AS_ABOVE),
        (
            r"mapping values are not allowed",
            "a key with its colon stands where a value had begun",
            "Check the indentation; a value that holds ': ' needs quotes",
        ),
        (r"flow sequence", "a list that begins with [ is not closed, or lacks a comma", "Write it as [one, two]"),
        (r"flow mapping", "a mapping that begins with { is not closed, or lacks a comma", "Write it as { a: 1, b: 2 }"),
        (r"quoted scalar", "a quote is opened and not closed", "Close it on the same line"),
        (r"cannot start any token", "no value can begin with this character", _IN_QUOTES),
        (r"expected the node content|did not find expected node", "no value can begin with this character", _IN_QUOTES),
        (r"scanning an (alias|anchor)", "a name is missing behind * or &", _IN_QUOTES),
        (r"could not find expected ':'", "a key has no colon", "Write key: value"),
    )
)


def syntax_problem(error: YAMLError, text: str, file: str) -> Problem:
    """`error` is what a parser raised for `text`. What is not known here is told as the parser tells it."""
    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    if mark is None:
        return Problem(Location(file), f"not YAML: {str(error).splitlines()[0]}")
    said = " ".join(str(part) for part in (error.context, error.problem) if part)  # type: ignore[attr-defined]
    lines = text.splitlines()
    problem, hint = _meaning(said, lines[mark.line] if mark.line < len(lines) else "", mark.column)
    return Problem(Location(file, mark.line + 1, mark.column + 1), f"not YAML: {problem}", hint)


def _meaning(said: str, line: str, column: int) -> tuple[str, str]:
    if line[column : column + 1] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab stands where YAML wants spaces", "Indent with spaces"
    return next(((problem, hint) for sign, problem, hint in _MEANINGS if sign.search(said)), (said, ""))
