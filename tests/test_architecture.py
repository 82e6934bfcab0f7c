"""The house stays as it is drawn: imports go down, rooms say what they are for, files can be read in one go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tools import accepted, run_tool

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pkiconf"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 300

LONGER = {
    "store/tables.py": "every table on one page, so that the whole schema can be read at once",
    "store/migrations/versions/r0001_initial.py": "written out: what a revision does never changes",
    "store/certificates.py": "the statements of one row, reserved to revoked",
}
"""Files that are longer, each with its reason."""

FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_imports_only_go_down() -> None:
    """The contracts of pyproject.toml: floors, and one library one room."""
    said = accepted(run_tool("lint-imports", "--config", ROOT / "pyproject.toml", "--no-cache"))
    assert "0 broken" in said


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if name_of(path) in LONGER:
        assert lines > LONGEST, f"{name_of(path)} is short again: take it from the list"
    else:
        assert lines <= LONGEST, f"{name_of(path)} has {lines} lines; split it where it has two subjects"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said, f"{name_of(path)} has no docstring"
    assert len(said.split()) >= 2, said


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_a_subject(path: Path) -> None:
    assert not {*path.with_suffix("").parts} & FORBIDDEN, f"{name_of(path)}: what is the missing concept?"


def test_every_package_is_one() -> None:
    for folder in (path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py"))):
        assert (folder / "__init__.py").exists(), folder


def test_every_floor_is_in_the_picture() -> None:
    """docs/architecture.md names each room of the house."""
    picture = (ROOT / "docs" / "architecture.md").read_text()
    for path in PACKAGE.iterdir():
        if path.name.startswith("_") or not (path.is_dir() or path.suffix == ".py"):
            continue
        assert path.stem in picture, f"docs/architecture.md does not show {path.name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX", "HACK", "NotImplementedError"):
        assert word not in text, f"{name_of(path)}: {word}"
