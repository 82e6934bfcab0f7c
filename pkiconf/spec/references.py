"""Declared things against each other: names, `moved`, issuers, authorities of templates.

Everything here is read from the nodes, so that a thing with a wrong field can still be referred to and does not
drag others down with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pkiconf.spec.errors import Location, Problem, did_you_mean
from pkiconf.spec.nodes import Mapping, Node, Scalar, find, steps

NO_NAMES: Final = ("self", "external")
_HASHLESS: Final = ("ed25519", "ed448", "ml-dsa")


class Named:
    """A declared thing as far as others refer to it."""

    def __init__(self, node: Mapping) -> None:
        self.node = node
        self.name = self.text("name")
        self.absent = self.text("state") == "absent"

    def text(self, path: str) -> str | None:
        found = self.at_path(path)
        value = found.value() if isinstance(found, Scalar) else None
        return value if isinstance(value, str) else None

    def number(self, path: str) -> int | None:
        found = self.at_path(path)
        value = found.value() if isinstance(found, Scalar) else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def at_path(self, path: str) -> Node | None:
        found, taken = find(self.node, steps(path))
        return found if taken == steps(path) else None

    def at(self, path: str) -> Location:
        return (self.at_path(path) or self.node).at

    @property
    def authority(self) -> str | None:
        return self.text("authority")

    @property
    def full_name(self) -> str:
        return f"{self.authority}/{self.name}"

    @property
    def issuer(self) -> str | None:
        """The declared authority that signs it; None for self and external."""
        issuer = self.text("issuer")
        return None if issuer in NO_NAMES else issuer


def check_references(authorities: Sequence[Mapping], templates: Sequence[Mapping]) -> Iterator[Problem]:
    """Every way in which things that are each right contradict each other."""
    cas = [named for node in authorities if (named := Named(node)).name]
    issued = [named for node in templates if (named := Named(node)).name and named.authority]
    by_name: dict[str, Named] = {}
    for ca in cas:
        by_name.setdefault(ca.name or "", ca)
    yield from named_twice("authority", [(ca.name or "", ca) for ca in cas])
    yield from named_twice("template", [(template.full_name, template) for template in issued])
    for ca in cas:
        yield from _authority(ca, by_name)
    yield from _circles(cas, by_name)
    yield from _path_lengths(cas, by_name)
    for template in issued:
        yield from _template(template, by_name)


def named_twice(noun: str, things: Sequence[tuple[str, Named]]) -> Iterator[Problem]:
    """A name stands once, and a former name is nobody's name now and moves to one thing only."""
    first: dict[str, Named] = {}
    for name, thing in things:
        if name in first:
            before = first[name].at("name")
            yield Problem(thing.at("name"), f"{noun} {name!r} is declared twice, first at {before}", "Keep one of them")
        first.setdefault(name, thing)
    movers: dict[str, Named] = {}
    for name, thing in things:
        former = thing.text("moved")
        if former is None:
            continue
        if noun == "template" and "/" not in former:
            former = f"{thing.authority}/{former}"
        at, says = thing.at("moved"), f"{noun} {name!r} says it moved from {former!r}"
        if former == name:
            yield Problem(at, f"{says}, which is its name now", "Write its former name, or remove moved")
        elif former in first:
            hint = f"Remove the {noun} {former!r}, or remove moved"
            yield Problem(at, f"{says}, which is still declared at {first[former].at('name')}", hint)
        elif former in movers:
            yield Problem(at, f"{says}, and so does the one at {movers[former].at('moved')}", "Keep one of them")
        movers.setdefault(former, thing)


def _authority(ca: Named, by_name: dict[str, Named]) -> Iterator[Problem]:
    if ca.name in NO_NAMES:
        meaning = f"an authority cannot be named {ca.name!r}, which means something else as an issuer"
        yield Problem(ca.at("name"), meaning, "Choose another name")
    issuer = ca.issuer
    if issuer is None or ca.absent:
        return
    at, says = ca.at("issuer"), f"authority {ca.name!r} names issuer {issuer!r}"
    if issuer == ca.name:
        yield Problem(at, f"authority {ca.name!r} names itself as its issuer", "Write self, or leave issuer out")
    elif issuer not in by_name:
        yield Problem(at, f"{says}, which is not declared", did_you_mean(issuer, (*NO_NAMES, *by_name)))
    elif by_name[issuer].absent:
        hint = f"Declare {ca.name} absent too, or give it another issuer"
        yield Problem(at, f"{says}, which is declared absent", hint)


def _template(template: Named, by_name: dict[str, Named]) -> Iterator[Problem]:
    authority = template.authority or ""
    at, says = template.at("authority"), f"template {template.name!r} names authority {authority!r}"
    ca = by_name.get(authority)
    if template.absent:
        return
    if ca is None:
        yield Problem(at, f"{says}, which is not declared", did_you_mean(authority, tuple(by_name)))
    elif ca.absent:
        hint = "Declare the template absent too, or give it another authority"
        yield Problem(at, f"{says}, which is declared absent", hint)
    elif template.text("signature_hash") and (key_type := ca.text("key.type")) in _HASHLESS:
        chosen = (
            f"template {template.name!r} chooses a signature_hash, but the key of {authority!r} is of type {key_type}"
        )
        yield Problem(template.at("signature_hash"), f"{chosen}, which fixes its own hash", "Remove signature_hash")


def _circles(cas: Sequence[Named], by_name: dict[str, Named]) -> Iterator[Problem]:
    reported: set[str] = set()
    for ca in cas:
        chain: list[str] = []
        above: Named | None = ca
        while above is not None and above.name not in chain:
            chain.append(above.name or "")
            above = by_name.get(above.issuer or "")
        if above is None or len(chain) == 1 or chain[0] != above.name or reported & set(chain):
            continue
        reported |= set(chain)
        circle = " → ".join([*chain, chain[0]])
        yield Problem(
            ca.at("issuer"), f"authorities issue each other in a circle: {circle}", "Make one of them issuer: self"
        )


def _path_lengths(cas: Sequence[Named], by_name: dict[str, Named]) -> Iterator[Problem]:
    """RFC 5280 §4.2.1.9: how many subordinate authorities may follow. Only written limits are judged."""
    below: dict[str, tuple[int, Named]] = {}
    for ca in cas:
        depth, above, seen = 1, by_name.get(ca.issuer or ""), {ca.name}
        while above is not None and above.name not in seen and not ca.absent:
            seen.add(above.name)
            if depth > below.get(above.name or "", (-1, ca))[0]:
                below[above.name or ""] = (depth, ca)
            depth, above = depth + 1, by_name.get(above.issuer or "")
    for name, (depth, lowest) in below.items():
        allowed = by_name[name].number("path_length")
        if allowed is not None and allowed < depth:
            said = f"authority {name!r} has path_length {allowed}, but {lowest.name!r} needs {depth}"
            yield Problem(by_name[name].at("path_length"), said, f"Write path_length: {depth}, or shorten the chain")
