"""Which templates issue without anybody deciding, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def unattended_ways(
    template: str, spec: Mapping[str, Any], policies: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """The ways over which `template` (`authority/name`) issues by itself, each with what opens it.

    `policies` are the ACME policies in use: name → profile → template.
    """
    if not spec.get("enabled", True):
        return ()
    return (
        *(f"ACME (policy {name})" for name, offered in sorted(policies.items()) if template in offered.values()),
        *_over_scep(spec.get("scep") or {}),
    )


def _over_scep(scep: Mapping[str, Any]) -> Iterator[str]:
    if not scep.get("enabled"):
        return
    ndes, renewal = scep.get("ndes") or {}, scep.get("renewal") or {}
    ways = {
        "passphrase": scep.get("static_passphrase"),
        "challenges": scep.get("challenges") or ndes.get("enabled"),
        "Intune": scep.get("intune"),
        "without proof": scep.get("unproved") == "issue",
    }
    open_ways = [] if scep.get("approval") else [way for way, is_open in ways.items() if is_open]
    if renewal.get("enabled"):
        open_ways.append("renewal")
    if open_ways:
        yield f"SCEP ({', '.join(open_ways)})"
