"""What a field means, for people: `pkiconf explain templates.key_usage`, and the reference in the documentation."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import EnumType
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from pkiconf.errors import NotFound
from pkiconf.spec.declare import ACME_POLICIES, AUTHORITIES, SETTINGS, TEMPLATES
from pkiconf.spec.errors import did_you_mean
from pkiconf.spec.fields import fields_of, inner_models
from pkiconf.spec.misfits import Said

TOP_LEVEL: Final[Mapping[str, type[BaseModel]]] = MappingProxyType(
    {kind.key: kind.model for kind in (SETTINGS, AUTHORITIES, TEMPLATES, ACME_POLICIES)}
)
_SINGULAR: Final = MappingProxyType(
    {"authority": AUTHORITIES.key, "template": TEMPLATES.key, "acme_policy": ACME_POLICIES.key}
)
_SECRETS: Final = {
    f"{kind.key}.{path.replace('.*', '')}"
    for kind in (SETTINGS, AUTHORITIES, TEMPLATES, ACME_POLICIES)
    for path in kind.secrets
}
_DEFAULT: Final = re.compile(r"\.?\s*Default: (.+)$")
_WORDS: Final = MappingProxyType({str: "text", int: "a whole number", bool: "true or false"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """`default` is what holds at creation when the field is left out, `required` if it may not be; `allowed` lists
    the only values where there are few; `fields` the paths below it."""

    path: str
    meaning: str
    type: str
    default: str
    required: bool = False
    allowed: tuple[str, ...] = ()
    rfc: str = ""
    fields: tuple[str, ...] = ()


def explain(path: str) -> Explanation:
    """The field at a path such as `templates.key_usage` (`template.key_usage` and `authorities[0].name` will do).

    Raises NotFound with the nearest path.
    """
    steps = re.sub(r"\[\w*\]", "", path).strip(".").split(".")
    steps[0] = _SINGULAR.get(steps[0], steps[0])
    if steps[0] not in TOP_LEVEL:
        raise NotFound(f"{steps[0]!r} is not a top-level key", _hint(steps[0]))
    model = TOP_LEVEL[steps[0]]
    if len(steps) == 1:
        kind = "a mapping" if steps[0] == SETTINGS.key else "a list of mappings"
        return Explanation(steps[0], _sentence(model), kind, "none", fields=_paths(steps[0], model))
    for number in range(1, len(steps) - 1):
        inner = next(inner_models(_field(model, steps, number).annotation), None)
        if inner is None:
            whole = ".".join(steps[: number + 1])
            raise NotFound(f"{whole} has nothing below it", f"Did you mean {whole!r}?")
        model = inner
    return _explanation(".".join(steps), _field(model, steps, len(steps) - 1))


def field_default(path: str) -> str:
    """What holds at creation when the field at `path` is left out, in words. Raises NotFound."""
    return explain(path).default


def every_path() -> Iterator[str]:
    """All fields that can be written, in the order of the models."""
    for key, model in TOP_LEVEL.items():
        yield key
        yield from _below(key, model)


def _below(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, info in fields_of(model).items():
        yield f"{prefix}.{name}"
        for inner in inner_models(info.annotation):
            yield from _below(f"{prefix}.{name}", inner)


def _field(model: type[BaseModel], steps: list[str], number: int) -> FieldInfo:
    fields = fields_of(model)
    if steps[number] not in fields:
        above = ".".join(steps[:number])
        hint = did_you_mean(steps[number], tuple(fields)) or f"See `pkiconf explain {above}`"
        raise NotFound(f"{steps[number]!r} is not a key of {above}", hint)
    return fields[steps[number]]


def _hint(word: str) -> str:
    """Where a field of that name stands, if the top-level key was left out."""
    found = [path for path in every_path() if path.endswith(f".{word}")]
    return f"Did you mean {' or '.join(found[:3])}?" if found else did_you_mean(word, tuple(TOP_LEVEL))


def _explanation(path: str, info: FieldInfo) -> Explanation:
    described = info.description or ""
    extra = info.json_schema_extra
    section = str(extra.get("rfc", "")) if isinstance(extra, dict) else ""
    inner = next(inner_models(info.annotation), None)
    kind = (
        "a secret: !env NAME, !file PATH or !vault"
        if path in _SECRETS and not inner
        else _type_of(info.annotation, info.metadata)
    )
    return Explanation(
        path,
        _DEFAULT.sub("", described) or _sentence(inner),
        kind,
        _default_of(info, described),
        info.is_required(),
        tuple(str(value) for value in _few(info.annotation)),
        section,
        _paths(path, inner) if inner else (),
    )


def _paths(above: str, model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(f"{above}.{name}" for name in fields_of(model))


def _sentence(model: type[BaseModel] | None) -> str:
    return " ".join((model.__doc__ or "").split()).removesuffix(".") if model else ""


def _default_of(info: FieldInfo, described: str) -> str:
    if info.is_required():
        return ""
    if stated := _DEFAULT.search(described):
        return stated[1]
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        written = default.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        return _show(written) if written else "as its fields say"
    return _show(TypeAdapter(Any).dump_python(default, mode="json"))


def _show(value: object) -> str:
    if value is None or value in ("", [], ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {_show(inner)}" for key, inner in value.items()) + " }"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _few(annotation: object) -> Iterator[object]:
    """The values of the field itself or of its items, where only these are allowed."""
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    elif isinstance(annotation, EnumType):
        yield from annotation
    elif not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        for argument in typing.get_args(annotation):
            yield from _few(argument)


def _type_of(annotation: Any, metadata: Any = ()) -> str:  # noqa: ANN401 - any annotation there is
    said = next((item.text for item in metadata if isinstance(item, Said)), None)
    if said:
        return said
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_of(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_type_of(member) for member in arguments if member is not types.NoneType))
    if origin is tuple:
        return f"a list, each {_type_of(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a mapping of text to {_type_of(arguments[1])}"
    if origin is typing.Literal or isinstance(annotation, EnumType):
        return "one of " + ", ".join(str(value) for value in _few(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a mapping"
    return _WORDS[annotation]
