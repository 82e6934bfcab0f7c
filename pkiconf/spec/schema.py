"""The vocabulary as a JSON Schema, for editors and for the documentation."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from pkiconf.spec.declare import ACME_POLICIES, AUTHORITIES, SETTINGS, TEMPLATES
from pkiconf.spec.secrets import TAGS

Schema = dict[str, Any]

# The draft that YAML language servers know best; nothing newer is needed.
DRAFT: Final = "http://json-schema.org/draft-07/schema#"

_REFERENCE: Final = "#/definitions/"

DESCRIPTION: Final = (
    "What a file for pkiconf may hold. Any number of files and folders are merged; the order never matters. "
    "Secrets are written as !env NAME, !file PATH or !vault followed by ansible-vault text; tell the editor about "
    f"these tags with yaml.customTags: {[f'{tag} scalar' for tag in TAGS]}."
)


def json_schema() -> Schema:
    """Draft 7, each field with its description and where it is defined."""
    kinds = (SETTINGS, AUTHORITIES, TEMPLATES, ACME_POLICIES)
    references, definitions = models_json_schema(
        [(kind.model, "validation") for kind in kinds], ref_template=_REFERENCE + "{model}"
    )
    of = {kind.key: references[(kind.model, "validation")] for kind in kinds}
    return {
        "$schema": DRAFT,
        "title": "pkiconf",
        "description": DESCRIPTION,
        "type": "object",
        "additionalProperties": False,
        "properties": {
            SETTINGS.key: _listed(of[SETTINGS.key], "What is wished of the whole PKI", is_list=False),
            AUTHORITIES.key: _listed(of[AUTHORITIES.key], "Certificate authorities we run"),
            TEMPLATES.key: _listed(of[TEMPLATES.key], "What authorities issue"),
            ACME_POLICIES.key: _listed(of[ACME_POLICIES.key], "Who may get what over ACME"),
        },
        "definitions": _tidied(_needed(definitions["$defs"])),
    }


def _needed(definitions: Schema) -> Schema:
    """Without definitions of values that are written in another form, such as durations as text."""
    text = json.dumps(definitions)
    named = {kind.model.__name__ for kind in (SETTINGS, AUTHORITIES, TEMPLATES, ACME_POLICIES)}
    return {name: part for name, part in definitions.items() if name in named or f'"{_REFERENCE}{name}"' in text}


def _listed(reference: Schema, description: str, is_list: bool = True) -> Schema:
    wanted = {"type": "array", "items": reference} if is_list else reference
    return {"description": description, "anyOf": [wanted, {"type": "null"}]}


def _tidied(part: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Without titles that only repeat the key, and with the section that defines a field in its description."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidied(value) for key, value in part.items() if not (key == "title" and isinstance(value, str))}
    section = tidy.pop("rfc", None)
    if isinstance(section, str):
        described = tidy.get("description", "")
        tidy["description"] = f"{described} ({section})" if described else section
    return tidy
