"""Which files are read, and their bytes: folders, symbolic links, sizes, encodings."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pkiconf.spec.errors import Location, Problem, nearest
from pkiconf.spec.misfits import Advised

LARGEST_SOURCE: Final = 8 << 20
SUFFIXES: Final = (".yaml", ".yml")


def find_sources(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    """Files as named, and of every folder each *.yaml and *.yml below it in sorted order; a file counts once however
    it is reached. Names that begin with a dot are passed over, unless they are named."""
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as ex:
            problems.append(_unreadable(path, ex))
            continue
        if not stat.S_ISDIR(mode):
            found.setdefault(path.resolve(), path)
            continue
        inside = list(_below(path, {path.resolve()}, problems))
        if not inside:
            problems.append(Problem(Location(str(path)), "the folder holds no *.yaml or *.yml file"))
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _below(folder: Path, entered: set[Path], problems: list[Problem]) -> Iterator[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as ex:
        problems.append(_unreadable(folder, ex))
        return
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        try:
            mode = path.stat().st_mode
        except OSError as ex:
            if name.endswith(SUFFIXES):
                problems.append(_unreadable(path, ex))
            continue
        if stat.S_ISREG(mode) and name.endswith(SUFFIXES):
            yield path
        elif stat.S_ISDIR(mode) and (real := path.resolve()) not in entered:
            # A link back to a folder above would otherwise be entered for ever.
            entered.add(real)
            yield from _below(path, entered, problems)


def read_source(path: Path, problems: list[Problem]) -> str | None:
    """The text of a YAML file, which must be UTF-8; None after adding to `problems`."""
    try:
        content = _read(path, LARGEST_SOURCE)
    except OSError as ex:
        problems.append(_unreadable(path, ex))
        return None
    except Advised as ex:
        problems.append(Problem(Location(str(path)), ex.problem, ex.hint))
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as ex:
        before = content[: ex.start]
        line_start = before.rfind(b"\n") + 1
        column = len(before[line_start:].decode("utf-8", "replace"))
        at = Location(str(path), before.count(b"\n") + 1, column + 1)
        problems.append(Problem(at, f"byte 0x{content[ex.start]:02x} is not UTF-8", "Save the file as UTF-8"))
        return None


def read_beside(yaml_file: str, name: str, largest: int = 1 << 20) -> bytes:
    """The content of a file named in YAML: absolute, with ~, or relative to the YAML file.

    Raises Advised when it cannot be read or is larger than `largest` octets.
    """
    path = Path(yaml_file).parent / Path(name).expanduser()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Advised(f"{name} is not a file", "Name a file")
        return _read(path, largest)
    except OSError as ex:
        problem = _unreadable(path, ex)
        raise Advised(f"{problem.problem}: {path}", problem.hint) from None
    except ValueError as ex:
        if isinstance(ex, Advised):
            raise
        raise Advised(f"{name!r} cannot be the name of a file", "") from None


def _read(path: Path, largest: int) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        size = f"{largest >> 20} MiB" if largest >> 20 else f"{largest >> 10} KiB"
        raise Advised(f"{path} is larger than {size}", "Check that it is the right file")
    return content


def _unreadable(path: Path, ex: OSError) -> Problem:
    if isinstance(ex, FileNotFoundError):
        hint = _like(path) if not path.is_symlink() else "It is a symbolic link to something that does not exist"
        return Problem(Location(str(path)), "there is no such file", hint)
    return Problem(Location(str(path)), f"cannot be read: {ex.strerror or ex}")


def _like(path: Path) -> str:
    try:
        found = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return f"There is no folder {path.parent} either"
    return f"Did you mean {path.parent / found}?" if found else ""
