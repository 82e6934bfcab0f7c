"""Subjects as operators write them: one key an attribute type, or an ordered list of relative names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field, create_model

from pkiconf.model.attributes import ATTRIBUTE_TYPES, BY_NAME, BY_OID, IA5_STRING, PRINTABLE_STRING
from pkiconf.model.names import Attribute, Name
from pkiconf.spec.errors import did_you_mean
from pkiconf.spec.misfits import Declared, Misfit
from pkiconf.spec.values import OID_PATTERN

Values = str | tuple[str, ...]

_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_COUNTRIES: Final = ("2.5.4.6", "1.3.6.1.4.1.311.60.2.1.3")

_SubjectFields = create_model(
    "_SubjectFields",
    __base__=Declared,
    **{
        row.name: (Values | None, Field(None, description=f"Attribute {row.short}, {row.oid}"))
        for row in ATTRIBUTE_TYPES
    },  # type: ignore[call-overload]
)


class SubjectSpec(_SubjectFields):
    """Attributes are encoded from the widest to the narrowest; `rdn` gives another order or other types instead."""

    rdn: tuple[dict[str, str], ...] | None = Field(
        None,
        description="Ordered relative names, each {type: value} by name, short name or OID; instead of the others",
        json_schema_extra={"rfc": "RFC 5280 §4.1.2.4"},
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        named = [row.name for row in ATTRIBUTE_TYPES if getattr(self, row.name) is not None]
        if self.rdn is not None and named:
            yield Misfit(("rdn", *named), f"rdn stands instead of {', '.join(named)}", "Remove rdn, or the others")
        for number, mapping in enumerate(self.rdn or ()):
            yield from _relative_name_misfits(f"rdn.{number}", mapping)
        for row in ATTRIBUTE_TYPES:
            for value in _values(getattr(self, row.name)):
                if wrong := value_fault(row.oid, value):
                    yield Misfit((row.name,), f"{row.name} {wrong}")

    def name(self) -> Name:
        """As an RDNSequence, in the order it will be encoded."""
        if self.rdn is not None:
            return Name(tuple(tuple(_attribute(k, v) for k, v in mapping.items()) for mapping in self.rdn))
        rdns: list[tuple[Attribute, ...]] = []
        for row in ATTRIBUTE_TYPES:
            rdns += ((Attribute(row.oid, value),) for value in _values(getattr(self, row.name)))
        return Name(tuple(rdns))


def value_fault(oid: str, value: str) -> str:
    """Why an attribute type cannot have this value (RFC 5280 Appendix A.1: characters and upper bounds), or nothing."""
    row = BY_OID.get(oid)
    if not value.strip():
        return "is empty"
    if row is None:
        return ""
    if oid in _COUNTRIES and not re.fullmatch("[A-Z]{2}", value):
        return f"{value!r} is not a country code of two capital letters such as NL (ISO 3166)"
    if row.upper_bound is not None and len(value) > row.upper_bound:
        return f"has {len(value)} characters; RFC 5280 allows {row.upper_bound}"
    if row.string_tag == PRINTABLE_STRING and not _PRINTABLE.fullmatch(value):
        return f"{value!r} holds characters that a PrintableString cannot"
    if row.string_tag == IA5_STRING and not value.isascii():
        return f"{value!r} holds characters outside ASCII"
    return ""


def _relative_name_misfits(path: str, mapping: dict[str, str]) -> Iterator[Misfit]:
    if not mapping:
        yield Misfit((path,), "a relative name is empty", "Write it as {common_name: …}")
    for spelling, value in mapping.items():
        row = BY_NAME.get(spelling.lower())
        if row is None and not OID_PATTERN.fullmatch(spelling):
            known = did_you_mean(spelling, [row.name for row in ATTRIBUTE_TYPES], "Write its dotted OID in quotes")
            yield Misfit((path,), f"{spelling!r} is neither an attribute type nor a dotted OID", known)
        elif wrong := value_fault(row.oid if row else spelling, value):
            yield Misfit((path if "." in spelling else f"{path}.{spelling}",), f"{spelling} {wrong}")


def _values(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - one of the generated fields
    return (value,) if isinstance(value, str) else value or ()


def _attribute(spelling: str, value: str) -> Attribute:
    row = BY_NAME.get(spelling.lower())
    return Attribute(row.oid if row else spelling, value)
