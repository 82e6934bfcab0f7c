"""The JSON Schema that editors use: it accepts what we accept, and describes every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from pkiconf.spec.schema import DRAFT, json_schema

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(text: str) -> Any:
    """As an editor's language server reads it, which takes our tags for scalars."""
    reader = YAML(typ="safe")
    # YAML 1.2's core schema knows no dates: to an editor, and to us, 2035-06-30 is text.
    for tag in ("!env", "!file", "!vault", "tag:yaml.org,2002:timestamp"):
        reader.constructor.add_constructor(tag, lambda loader, node: node.value)
    return reader.load(text)


def errors(text: str) -> list[str]:
    found = jsonschema.Draft7Validator(json_schema()).iter_errors(loaded(text))
    return [".".join(map(str, error.absolute_path)) for error in found]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == DRAFT


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_examples_are_valid(path: Path) -> None:
    assert errors(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("authorites: []", ""),
        ("authorities: [{ name: ca, validity: 10 }]", "authorities"),
        ("authorities: [{ subject: {} }]", "authorities"),
        ("authorities: [{ name: Corp }]", "authorities"),
        ("authorities: [{ name: ca, key: { type: rsaa } }]", "authorities"),
        ("templates: [{ name: web }]", "templates"),
        ("templates: [{ name: web, authority: ca, extended_key_usage: { values: [serverauth] } }]", "templates"),
        ("settings: { base_url: pki.example }", "settings"),
    ],
)
def test_mistakes_are_underlined(text: str, place: str) -> None:
    assert errors(text) == [place]


def fields(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for name, field in part.get("properties", {}).items():
            yield f"{path}.{name}", field
        for key, inner in part.items():
            yield from fields(inner, f"{path}.{key}")


def test_every_field_is_described() -> None:
    schema = json_schema()
    found = dict(fields(schema))
    assert len(found) > 100
    assert [path for path, field in found.items() if not field.get("description")] == []
    for definition in schema["definitions"].values():
        assert definition.get("additionalProperties") is False or "properties" not in definition


def test_sections_of_standards_are_named() -> None:
    basic = json_schema()["definitions"]["BasicConstraintsSpec"]["properties"]
    assert basic["critical"]["description"] == "RFC 5280 demands true (RFC 5280 §4.2.1.9)"


def test_the_tags_are_told() -> None:
    assert "'!env scalar', '!file scalar', '!vault scalar'" in json_schema()["description"]


def test_the_schema_beside_the_examples_is_current() -> None:
    """Made anew with `pkiconf schema > examples/pkiconf.schema.json`."""
    assert json.loads((EXAMPLES / "pkiconf.schema.json").read_text()) == json_schema()
