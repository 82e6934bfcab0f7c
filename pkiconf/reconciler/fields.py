"""Specs as trees of fields: compare two, describe a difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkiconf.model.durations import Duration

MARKED: Final = "hmac:"  # how the mark begins that stands in a secret's place: a keyed hash, never the secret
_LONGEST_VALUE: Final = 60


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`path` is dotted from the object's top. Values are JSON-able; None stands for none and for absent."""

    path: str
    before: Any
    after: Any

    @property
    def top(self) -> str:
        return self.path.split(".", 1)[0]

    def within(self, *paths: str) -> bool:
        """Whether this field is one of `paths` or lies below one."""
        return any(self.path == path or self.path.startswith(path + ".") for path in paths)

    def __str__(self) -> str:
        if _is_secret(self.before) or _is_secret(self.after):
            return f"{self.path}: changed (secret)"
        return f"{self.path}: {show(self.before)} → {show(self.after)}"


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    return tuple(_changes("", before, after))


def _changes(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldChange]:
    for key in (*before, *(key for key in after if key not in before)):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            yield from _nested(f"{prefix}{key}", old, new)
        elif not _same(old, new):
            yield FieldChange(f"{prefix}{key}", old, new)


def _nested(path: str, old: object, new: object) -> Iterator[FieldChange]:
    if old is not None and new is not None and not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield FieldChange(path, old, new)
        return
    below = list(_changes(path + ".", _mapping(old), _mapping(new)))
    if not below and (old is None or new is None):
        # An empty mapping may mean the opposite of none: `allow: {}` allows nothing, no `allow` anything.
        below = [FieldChange(path, old, new)]
    yield from below


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _same(old: object, new: object) -> bool:
    """Also equal: one thing or none written as a list or not, and two spellings of one length of time."""
    if isinstance(old, list | tuple) or isinstance(new, list | tuple):
        return _listed(old) == _listed(new)
    if isinstance(old, str) and isinstance(new, str):
        return _seconds(old) is not None and _seconds(old) == _seconds(new)
    return False


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _seconds(text: str) -> int | None:
    if not text[:1].isdigit():
        return None
    try:
        duration = Duration.parse(text)
    except ValueError:
        return None
    # A calendar year is no fixed number of days: only years equal years.
    return -duration.count if duration.unit == "y" else duration.seconds


def show(value: object) -> str:
    """One value on one line, shortened; secrets show that they are there and nothing else."""
    if value is None or value == [] or value == ():
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if _is_secret(value):
        return "(secret)"
    if isinstance(value, list | tuple):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items() if item is not None) + "}"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that has a value, dotted, in the order of the spec."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif value not in (None, "", [], ()):
            yield f"{prefix}{key}", value


def describe(changes: Iterable[FieldChange]) -> str:
    return "; ".join(str(change) for change in changes)


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and value.startswith(MARKED)
