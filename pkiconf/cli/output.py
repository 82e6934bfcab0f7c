"""Printing: tables that a person reads and a pipe can cut, JSON for programs, files written whole."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from pkiconf.errors import Conflict, Malformed, Unavailable

_LARGEST_INPUT: Final = 256 << 20
"""Octets: a CRL of a million lines has 40 MiB. A device has no end."""

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


def print_json(value: Any) -> None:  # noqa: ANN401
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "none") -> None:
    """Aligned columns; with colours and borders only on a terminal."""
    if not rows:
        click.echo(empty)
        return
    texts = [[str(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold", box=None, pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(column, no_wrap=number == 0)  # what names a row is copied from here
        for row in texts:
            table.add_row(*(Text(value) for value in row))
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in [list(columns), *texts]) for i in range(len(columns))]
    for row in [list(columns), *texts]:
        click.echo("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    """One `name: value` a line; a list stands one item a line below its name."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            for number, item in enumerate(value or ["none"]):
                label = f"{name}:" if number == 0 else ""
                click.echo(f"{label.ljust(width + 2)}{item}")
        else:
            click.echo(f"{f'{name}:'.ljust(width + 2)}{value}")


def counted(number: int, thing: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def write_out(data: bytes, out: Path | None, *, private: bool = False) -> None:
    """To a file, whole or not at all, or to standard output. Raises Unavailable."""
    write_pieces(lambda write: write(data), out, private=private)


def write_pieces(fill: Callable[[Callable[[bytes], object]], T], out: Path | None, *, private: bool = False) -> T:
    """What `fill` returns, having given its octets piece by piece to a file or to standard output.

    A file is complete or not there; a device or a pipe is written to, never replaced. Raises Unavailable.
    """
    if out is None or str(out) == "-":
        result = fill(sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
        return result
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as device:
                return fill(device.write)
        # A link keeps pointing where it points.
        return _replace(fill, out.resolve(), 0o600 if private else 0o644)
    except OSError as ex:
        raise Unavailable(f"{out} cannot be written: {ex.strerror}") from ex


def _replace(fill: Callable[[Callable[[bytes], object]], T], target: Path, mode: int) -> T:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            result = fill(file.write)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return result


def create_out(data: bytes, out: Path) -> None:
    """A new file that only its owner can read, whole or not at all, or standard output.

    Raises Conflict when the file exists, Unavailable.
    """
    if str(out) == "-":
        write_out(data, None)
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    write_out(data, temporary, private=True)
    try:
        os.link(temporary, out)  # unlike a rename, it never replaces
    except FileExistsError:
        raise Conflict(f"{out} exists already", "Name another file; nothing is overwritten") from None
    except OSError as ex:
        raise Unavailable(f"{out} cannot be written: {ex.strerror}") from ex
    finally:
        temporary.unlink(missing_ok=True)


def read_in(path: Path) -> bytes:
    """A file's contents; `-` is standard input. Raises Unavailable, and Malformed for more than any of ours holds."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_LARGEST_INPUT + 1)
        else:
            with path.open("rb") as source:
                data = source.read(_LARGEST_INPUT + 1)
    except OSError as ex:
        raise Unavailable(f"{path} cannot be read: {ex.strerror}") from ex
    if len(data) > _LARGEST_INPUT:
        raise Malformed(f"{path} holds more than {_LARGEST_INPUT >> 20} MiB", "Name another file")
    return data
