"""The fields of the models: looked up by the path that an operator would write."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from enum import Enum, EnumType
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


def fields_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """A model's fields by the key an operator writes."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def inner_models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a field's annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from inner_models(argument)


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that a mapping at `path` is read into."""
    for step in path:
        if isinstance(step, int):
            continue
        info = fields_of(model).get(step)
        inner = next(inner_models(info.annotation), None) if info else None
        if inner is None:
            return None
        model = inner
    return model


def allowed_at(model: type[BaseModel], path: Path) -> tuple[Any, ...]:
    """The values a field at `path` is limited to; empty if it is not."""
    names = [step for step in path if isinstance(step, str)]
    owner = model_at(model, tuple(names[:-1]))
    info = fields_of(owner).get(names[-1]) if owner and names else None
    return tuple(dict.fromkeys(_choices(info.annotation))) if info else ()


def _choices(annotation: object) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    elif isinstance(annotation, EnumType):
        yield from (str(value) for value in cast(type[Enum], annotation))
    else:
        for argument in typing.get_args(annotation):
            yield from _choices(argument)
