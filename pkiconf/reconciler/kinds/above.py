"""What authorities leave to what is below them, standing or about to be made: for how long, and on how many levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from pkiconf.reconciler.kinds.kind import View
from pkiconf.reconciler.state import Spec, authority_address
from pkiconf.spec.authority import AuthoritySpec

_DEEPEST: Final = 32
"""Beyond, authorities are taken to certify one another in a circle, which is refused elsewhere."""


@dataclass(frozen=True, slots=True)
class Room:
    """`levels` of authorities that may follow, as `path_length` of the authority `by` limits them."""

    levels: int
    by: str
    path_length: int


def room_below(name: str, view: View) -> Room | None:
    """None where nothing limits it. A path length counts all authorities below, not only the nearest."""
    tightest: Room | None = None
    current, depth = name, 0
    while depth < _DEEPEST:
        spec = view.find_spec(authority_address(current))
        if spec is None:
            break
        limit = spec.get("path_length")
        if limit is not None and (tightest is None or limit - depth < tightest.levels):
            tightest = Room(limit - depth, current, limit)
        current, depth = str(spec.get("issuer")), depth + 1
    return tightest


def end_of(name: str, view: View, depth: int = 0) -> float | None:
    """When an authority's certificate ends, or will when it is made as declared, in epoch seconds; None where that is
    not for this plan to know."""
    address = authority_address(name)
    standing = view.actual.objects.get(address)
    if standing is not None and standing.facts.get("not_after") is not None:
        return float(standing.facts["not_after"])
    wish, spec = view.desired.objects.get(address), view.find_spec(address)
    if spec is None or spec.get("issuer") == "external" or depth > _DEEPEST:
        return None
    if wish is not None and "certificate" in wish.marks:
        return None  # it comes with one
    own = wanted_end(spec, view)
    above = end_of(str(spec["issuer"]), view, depth + 1) if spec.get("issuer", "self") != "self" else None
    return min((end for end in (own, above) if end is not None), default=None)


def wanted_end(after: Spec, view: View) -> float | None:
    """When a certificate that is made now, as declared, would end; None for one that could not be made."""
    try:
        spec = AuthoritySpec.model_validate(after)
        wanted = spec.not_after or (spec.validity.after(spec.not_before or view.now) if spec.validity else None)
    except (ValidationError, ValueError):
        return None
    return wanted.timestamp() if wanted is not None else None
