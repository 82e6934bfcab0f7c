"""Fills the last column of docs/features.md: which tests prove a row. Run `python -m docs.features`.

A test says so itself, with `@pytest.mark.row("F37")`; a case in a data file (`tests/**/*.yaml`) says it with `row` or
`rows`. Both are read without importing a test, so this takes a moment, not a minute.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "features.md"
NUMBER: Final = re.compile(r"[FDN]\d+")
_LINE: Final = re.compile(r"\| (?P<number>[FDN]\d+) \| (?P<can>.*?) \| (?P<where>.*?) \| (?P<tests>.*?) ?\|")

Markers = dict[str, set[str]]


class Row(NamedTuple):
    """One line of the page; `tests` are names such as `tests/spec/test_vault.py::test_it`."""

    number: str
    can: str
    where: str
    tests: tuple[str, ...]


def rows(text: str) -> Iterator[Row]:
    """The rows that the page claims, in its order."""
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            yield Row(found["number"], found["can"], found["where"], tuple(_names(found["tests"])))


def collect(tests: Path = ROOT / "tests") -> Mapping[str, set[str]]:
    """Row → the tests that carry it."""
    found: Markers = defaultdict(set)
    for path in sorted(tests.rglob("test_*.py")):
        _read_module(path, path.relative_to(tests.parent).as_posix(), found)
    for path in sorted(tests.rglob("*.yaml")):
        place = path.relative_to(tests.parent).as_posix()
        for case, numbers in _cases(YAML(typ="safe").load(path)):
            for number in numbers:
                found[number].add(f"{place}::{case}" if case else place)
    return found


def fill(text: str, markers: Mapping[str, set[str]]) -> str:
    """The page with its last column made anew."""
    lines = []
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            tests = _grouped(markers.get(found["number"], set()))
            line = f"| {found['number']} | {found['can']} | {found['where']} | {tests} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _grouped(names: set[str]) -> str:
    """`file: one, two` for each file."""
    by_file: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        file, _, test = name.partition("::")
        by_file[file.removeprefix("tests/")].append(test.replace("|", "/"))
    return "; ".join(f"`{file}`" + (f": {', '.join(tests)}" if any(tests) else "") for file, tests in by_file.items())


def _names(column: str) -> Iterator[str]:
    for group in filter(None, column.split("; ")):
        file, _, tests = group.partition(": ")
        for test in tests.split(", "):
            yield f"tests/{file.strip('`')}" + (f"::{test}" if test else "")


def _read_module(path: Path, place: str, found: Markers) -> None:
    """Markers stand in a test's decorators, or in a list of cases that a decorator names."""
    tree = ast.parse(path.read_text())
    listed = {
        target.id: set(_marked(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    everywhere = listed.get("pytestmark", set())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            numbers = set(everywhere)
            for decorator in node.decorator_list:
                numbers |= set(_marked(decorator))
                for name in ast.walk(decorator):
                    numbers |= listed.get(name.id, set()) if isinstance(name, ast.Name) else set()
            for number in numbers:
                found[number].add(f"{place}::{node.name}")


def _marked(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and _is_row(call.func):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def _is_row(function: ast.expr) -> bool:
    return getattr(function, "attr", getattr(function, "id", "")) == "row"


def _cases(value: Any) -> Iterator[tuple[str, list[str]]]:  # noqa: ANN401 - any YAML there is
    if isinstance(value, list):
        for item in value:
            yield from _cases(item)
    elif isinstance(value, dict):
        told = value.get("row", value.get("rows"))
        numbers = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        if numbers and all(isinstance(number, str) and NUMBER.fullmatch(number) for number in numbers):
            yield str(value.get("about", "")).replace(", ", " ").replace("; ", " ").replace(": ", " "), numbers


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(), collect()))
