"""Which templates issue without anybody deciding, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unattended_ways(
    template: str, spec: Mapping[str, Any], policies: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """The ways over which `template` (`authority/name`) issues by itself, each with what opens it.

    `policies` are the ACME policies in use: name → profile → template.
    """
    if not spec.get("enabled", True):
        return ()
    return tuple(f"ACME (policy {name})" for name, offered in sorted(policies.items()) if template in offered.values())
