"""What a YAML file says, each part with its place: the form between the parser and the models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from pkiconf.spec.errors import Location

# YAML 1.2.2 §10.3.2, the core schema: `no`, `on` and 2031-12-31 are text; 1.10 is a number.
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_BASED: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)

Plain = str | int | float | bool | None


class Node:
    """Base of the three. `weight` counts the nodes in it, aliases followed."""

    __slots__ = ("column", "file", "line", "weight")

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.weight = 1

    @property
    def at(self) -> Location:
        return Location(self.file, self.line + 1, self.column + 1)


class Scalar(Node):
    """`plain` if written without quotes; `tag` is None, `!env`, `!file` or `!vault`."""

    __slots__ = ("plain", "tag", "text")

    def __init__(self, file: str, line: int, column: int, text: str, plain: bool, tag: str | None = None) -> None:
        super().__init__(file, line, column)
        self.text = text
        self.plain = plain
        self.tag = tag

    def value(self) -> Plain:
        if not self.plain:
            return self.text
        return resolve_plain(self.text)


class Items(Node):
    """A YAML sequence."""

    __slots__ = ("items",)

    def __init__(self, file: str, line: int, column: int, items: list[Node] | None = None) -> None:
        super().__init__(file, line, column)
        self.items: list[Node] = items if items is not None else []


class Mapping(Node):
    """A YAML mapping; keys are text, each with its own place."""

    __slots__ = ("entries",)

    def __init__(self, file: str, line: int, column: int) -> None:
        super().__init__(file, line, column)
        self.entries: dict[str, tuple[Scalar, Node]] = {}

    def get(self, key: str) -> Node | None:
        found = self.entries.get(key)
        return found[1] if found else None

    def __iter__(self) -> Iterator[tuple[str, Scalar, Node]]:
        for key, (key_node, node) in self.entries.items():
            yield key, key_node, node


def resolve_plain(text: str) -> Plain:
    """The value of an unquoted scalar under the core schema."""
    if not text or text[0] not in "0123456789+-.tTfFnN~":
        return text or None
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(
            text.replace(".inf", "inf")
            .replace(".Inf", "inf")
            .replace(".INF", "inf")
            .replace(".nan", "nan")
            .replace(".NaN", "nan")
            .replace(".NAN", "nan")
        )
    return text


def find(node: Node, path: Sequence[str | int]) -> tuple[Node, tuple[str | int, ...]]:
    """The deepest node along `path` that exists, and the steps that led to it; steps that lead nowhere are skipped."""
    taken: list[str | int] = []
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            node = node.entries[step][1]
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            continue
        taken.append(step)
    return node, tuple(taken)


@lru_cache(maxsize=1024)
def steps(path: str) -> tuple[str | int, ...]:
    """`rdn.0.common_name` as steps for `find`."""
    return tuple(int(step) if step.isdecimal() else step for step in path.split("."))


def to_data(node: Node, tagged: list[Scalar]) -> object:
    """Plain Python values, as a JSON document would hold them. Scalars with a tag are also added to `tagged`."""
    if isinstance(node, Scalar):
        if node.tag is not None:
            tagged.append(node)
        return node.value()
    if isinstance(node, Items):
        return [to_data(item, tagged) for item in node.items]
    assert isinstance(node, Mapping)
    return {key: to_data(value, tagged) for key, (_, value) in node.entries.items()}
