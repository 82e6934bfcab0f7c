"""What the models refuse, said with the place in the file and the nearest valid spelling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pkiconf.model.attributes import BY_NAME
from pkiconf.model.keys import Hash
from pkiconf.spec.errors import Problem, did_you_mean, nearest
from pkiconf.spec.fields import Path, allowed_at, fields_of, inner_models, model_at
from pkiconf.spec.misfits import WRITTEN, Advised, Misfits
from pkiconf.spec.nodes import Items, Mapping, Node, Scalar, find, steps
from pkiconf.spec.subject import SubjectSpec

M = TypeVar("M", bound=BaseModel)

_ROUNDS: Final = 12
_WANTED: Final = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false", "bool_parsing": "true or false", "tuple_type": "a list", "list_type": "a list",
    "model_type": "a mapping", "model_attributes_type": "a mapping", "dict_type": "a mapping",
}  # fmt: skip
_LISTED: Final = ("literal_error", "enum")
_BROKEN_HASHES: Final = {"sha1": "SHA-1", "md5": "MD5"}
# YAML 1.1 booleans, which 1.2 reads as text.
_FORMER_BOOLEANS: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def validate(model: type[M], data: dict[str, Any], node: Node, subject: str, problems: list[Problem]) -> M | None:
    """A value of `model`, or None after adding every problem. `subject` names the declared thing in messages.

    A model's own checks run only once its fields are right, so what is wrong is taken out and the rest is tried
    again: one run then shows all problems. A check that involves something taken out is not believed.
    """
    removed: list[Path] = []
    for _ in range(_ROUNDS):
        try:
            # JSON mode, strict: text is no number and a number no text, but a list may become a tuple.
            spec = model.model_validate_json(json.dumps(data), strict=True, context=WRITTEN)
        except ValidationError as ex:
            found = _Refusals(model, node, subject, removed)
            found.read(ex)
            problems += found.problems
            if not found.paths:
                return None
            removed += found.paths
            for path in found.paths:
                _remove(data, path)
        else:
            return None if removed else spec
    return None


class _Refusals:
    """One round's errors of pydantic, as problems and as the paths to take out before the next."""

    def __init__(self, model: type[BaseModel], node: Node, subject: str, removed: list[Path]) -> None:
        self.model = model
        self.node = node
        self.subject = subject
        self.removed = removed
        self.problems: list[Problem] = []
        self.paths: list[Path] = []

    def read(self, ex: ValidationError) -> None:
        types_wanted: dict[Path, tuple[Node, list[str]]] = {}
        errors = ex.errors(include_url=False)
        located = [(error, *find(self.node, _place(error))) for error in errors]
        for error, node, path in located:
            if error["type"] in _WANTED:
                # A union refuses once per member: where one member got further in, the others say nothing new.
                if not any(other[: len(path)] == path and len(other) > len(path) for _, _, other in located):
                    types_wanted.setdefault(path, (node, []))[1].append(_WANTED[error["type"]])
            elif error["type"] in _LISTED and any(
                other == path and e["type"] == "value_error" for e, _, other in located
            ):
                pass  # one of a few words, or something else: what the other says is the better explanation
            else:
                self.one(error, node, path)
        for path, (node, wanted) in types_wanted.items():
            self.wrong_type(node, path, wanted)

    def one(self, error: ErrorDetails, node: Node, path: Path) -> None:
        kind, context = error["type"], error.get("ctx", {})
        inner = context.get("error")
        if kind == "missing":
            self.missing(str(error["loc"][-1]), node, path)
        elif kind == "extra_forbidden":
            self.unknown_key(path)
        elif isinstance(inner, Misfits):
            self.misfits(inner, path)
        elif kind in _LISTED:
            self.not_one_of(node, path)
        elif isinstance(inner, Advised):
            self.add(node, path, f"{_dotted(path)}: {inner.problem}", inner.hint)
        elif inner is not None:
            self.add(node, path, f"{_dotted(path)}: {inner}")
        else:
            said = error["msg"]
            self.add(node, path, f"{_dotted(path)}: {said[0].lower()}{said[1:]}")

    def add(self, node: Node, path: Path, problem: str, hint: str = "") -> None:
        self.problems.append(Problem(node.at, f"{self.subject}: {problem}", hint))
        self.paths.append(path)

    def missing(self, field: str, node: Node, path: Path) -> None:
        if (*path, field) in self.removed:
            return
        where = f" in {_dotted(path)}" if path else ""
        self.problems.append(Problem(node.at, f"{self.subject}: {field} is missing{where}"))
        self.paths.append((*path, field))

    def unknown_key(self, path: Path) -> None:
        parent, above = find(self.node, path[:-1])
        key = str(path[-1])
        at = parent.entries[key][0] if isinstance(parent, Mapping) else parent
        where = _dotted(above) or self.subject
        model = model_at(self.model, above)
        hint = _key_hint(key, model) if model else ""
        self.problems.append(Problem(at.at, f"{self.subject}: {key!r} is not a key of {where}", hint))
        self.paths.append(path)

    def misfits(self, found: Misfits, path: Path) -> None:
        for misfit in found.found:
            involved = [(*path, *steps(field)) for field in misfit.fields]
            if not any(_overlap(one, gone) for one in involved for gone in self.removed):
                node, _ = find(self.node, involved[0])
                self.problems.append(Problem(node.at, f"{self.subject}: {misfit.problem}", misfit.hint))
        if path:
            self.paths.append(path)

    def not_one_of(self, node: Node, path: Path) -> None:
        allowed = [str(value) for value in allowed_at(self.model, path)]
        value = node.text if isinstance(node, Scalar) else "this"
        if _dotted(path) in {_dotted(other) for other in self.paths}:
            return
        near = nearest(value, allowed)
        hint = f"Did you mean {near}?" if near and near != value else ""
        broken = _BROKEN_HASHES.get(value.lower().replace("-", ""))
        if broken and Hash.SHA256 in allowed:
            hint = f"{broken} is not allowed: others forge what it signs. Write {Hash.SHA256}, or leave the field out"
        if near == value:
            hint = (
                f"Write {value} without quotes" if isinstance(node, Scalar) and not node.plain else f"Write '{value}'"
            )
        self.add(node, path, f"{_dotted(path)} cannot be {value!r}; it is one of {', '.join(allowed)}", hint)

    def wrong_type(self, node: Node, path: Path, wanted: Iterable[str]) -> None:
        words = list(dict.fromkeys(wanted))
        hint = self.known_keys(path) if "a mapping" in words else ""
        if isinstance(node, Scalar):
            if "text" in words and node.plain and node.value() is not None:
                hint = f"Put it in quotes: '{node.text}'"
            elif "true or false" in words and node.text.lower() in _FORMER_BOOLEANS:
                hint = f"Write {_FORMER_BOOLEANS[node.text.lower()]}; {node.text} is text in YAML 1.2"
            elif "a list" in words and node.value() is not None:
                hint = f"Write [{node.text}]"
            elif "a whole number" in words and not node.plain and node.text.isdecimal():
                hint = f"Write {node.text} without quotes"
        self.add(node, path, f"{_dotted(path)} wants {' or '.join(words)}, not {describe(node)}", hint)

    def known_keys(self, path: Path) -> str:
        model = model_at(self.model, path)
        return f"Its keys: {', '.join(fields_of(model))}" if model else ""


def _place(error: ErrorDetails) -> Path:
    """Where to look for what is wrong; for something missing, one above."""
    return error["loc"][:-1] if error["type"] == "missing" else error["loc"]


def describe(node: Node) -> str:
    """What stands there, for messages; secrets never get here."""
    if isinstance(node, Items):
        return "a list"
    if not isinstance(node, Scalar):
        return "a mapping"
    value = node.value()
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {node.text}"
    return f"the number {node.text}" if isinstance(value, (int, float)) else f"the text {node.text[:60]!r}"


def _key_hint(key: str, model: type[BaseModel]) -> str:
    fields = fields_of(model)
    if issubclass(model, SubjectSpec) and key.lower() in BY_NAME:
        return f"Did you mean {BY_NAME[key.lower()].name!r}?"
    near = nearest(key, fields)
    if near is not None:
        return f"Did you mean {near!r}?"
    for name, info in fields.items():
        for inner in inner_models(info.annotation):
            if key in fields_of(inner):
                return f"Did you mean {name}.{key}?"
    return did_you_mean(key, tuple(fields))


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _overlap(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _remove(data: object, path: Path) -> None:
    """Take out the nearest mapping key at or above `path`; a list goes as a whole, so that no index moves."""
    keys = path[: next((i for i, step in enumerate(path) if isinstance(step, int)), len(path))]
    for step in keys[:-1]:
        data = data.get(step) if isinstance(data, dict) else None
    if isinstance(data, dict) and keys:
        data.pop(keys[-1], None)
