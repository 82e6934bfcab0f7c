"""The base of everything declared: frozen, unknown keys refused, and asked what in it does not go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator


@dataclass(frozen=True, slots=True)
class Misfit:
    """Fields that are each well formed and do not go together. `fields` are dotted paths below the model;
    the problem is shown at the first."""

    fields: tuple[str, ...]
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.problem}. {self.hint}" if self.hint else self.problem


class Misfits(ValueError):
    """All misfits of one model."""

    def __init__(self, found: Iterable[Misfit]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(str(misfit) for misfit in self.found))


class Advised(ValueError):
    """A wrong value for which more is known than that it is wrong."""

    def __init__(self, problem: str, hint: str) -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(f"{problem}. {hint}" if hint else problem)


WRITTEN: Final = MappingProxyType({"written": True})  # the validation context of what comes from a file


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def misfits(self, written: bool) -> Iterator[Misfit]:
        """What does not go together in this model; kinds override it.

        `written` says that this is what an operator wrote. A resolved spec, where what is written lies over what
        stood before, may hold leftovers that were never written together; those it does not judge.
        """
        return iter(())

    @model_validator(mode="after")
    def _goes_together(self, info: ValidationInfo) -> Self:
        if found := tuple(self.misfits(info.context is WRITTEN)):
            raise Misfits(found)
        return self

    def wrote(self, field: str) -> bool:
        """Whether the field was given, rather than filled in."""
        return field in self.model_fields_set and getattr(self, field) is not None


@dataclass(frozen=True, slots=True)
class Said:
    """In an Annotated type: what an operator writes, in a few words."""

    text: str


def rfc(section: str) -> dict[str, Any]:
    """Where a field is defined, for `Field(json_schema_extra=…)`."""
    return {"rfc": section}
