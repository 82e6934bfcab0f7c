"""Subjects as operators write them: one key an attribute type, or an ordered list of relative names."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model, model_validator

from pkiconf.model.attributes import ATTRIBUTE_TYPES, BY_NAME
from pkiconf.model.names import Attribute, Name
from pkiconf.spec.values import OID_PATTERN, Declared

Values = str | tuple[str, ...]

_SubjectFields = create_model(
    "_SubjectFields",
    __base__=Declared,
    **{row.name: (Values | None, Field(None, description=f"{row.short} ({row.oid})")) for row in ATTRIBUTE_TYPES},  # type: ignore[call-overload]
)


class SubjectSpec(_SubjectFields):
    """Attributes are encoded from the widest to the narrowest; `rdn` gives another order or other types instead."""

    rdn: tuple[dict[str, str], ...] | None = Field(
        None, description="Ordered relative names, each {type: value} by name, short name or OID; instead of the others"
    )

    @model_validator(mode="after")
    def _one_way_of_writing(self) -> SubjectSpec:
        named = [row.name for row in ATTRIBUTE_TYPES if getattr(self, row.name) is not None]
        if self.rdn is not None and named:
            raise ValueError(f"rdn stands instead of the named attributes; remove {', '.join(named)} or rdn")
        for mapping in self.rdn or ():
            for spelling in mapping:
                if spelling.lower() not in BY_NAME and not OID_PATTERN.fullmatch(spelling):
                    raise ValueError(f"{spelling!r} is neither an attribute type nor a dotted OID")
        return self

    def name(self) -> Name:
        if self.rdn is not None:
            return Name(tuple(tuple(_attribute(k, v) for k, v in mapping.items()) for mapping in self.rdn))
        rdns: list[tuple[Attribute, ...]] = []
        for row in ATTRIBUTE_TYPES:
            value: Any = getattr(self, row.name)
            for single in (value,) if isinstance(value, str) else value or ():
                rdns.append((Attribute(row.oid, single),))
        return Name(tuple(rdns))


def _attribute(spelling: str, value: str) -> Attribute:
    row = BY_NAME.get(spelling.lower())
    return Attribute(row.oid if row else spelling, value)
