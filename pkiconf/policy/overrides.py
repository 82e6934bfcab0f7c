"""What a person changes of a request before it is signed, folded into what the template is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pkiconf.errors import Malformed, Refused
from pkiconf.model.attributes import ATTRIBUTE_TYPES, BY_NAME, BY_OID
from pkiconf.model.names import NAME_TYPES, URI, Attribute, DNSName, GeneralName, IPAddress, Name, RFC822Name
from pkiconf.model.request import CertificateRequest, Overrides, Wanted

_RANK: Final[Mapping[str, int]] = {row.oid: rank for rank, row in enumerate(ATTRIBUTE_TYPES)}

_NONE: Final = Overrides()

Rdn = tuple[Attribute, ...]


def apply_overrides(request: CertificateRequest | Wanted, overrides: Overrides | None = None) -> Wanted:
    """The request as it shall be judged. The CSR itself is kept as it came; the key is always its own.

    Raises Refused for an override that contradicts itself or that removes what was never asked for,
    since that is a typing error which would otherwise issue the wrong name.
    """
    if overrides is None or overrides == _NONE:
        sans = unique_names(request.sans)
        return Wanted(request.subject, request.spki, request.key, sans, request.extensions, _NONE)
    check_overrides(overrides)
    return Wanted(
        subject=set_attributes(request.subject, overrides.set_subject),
        spki=request.spki,
        key=request.key,
        sans=_change_sans(request.sans, overrides),
        extensions=request.extensions,
        overrides=overrides,
    )


def parse_subject_override(text: str) -> Attribute:
    """`subject.O=Example Corp`, also without `subject.` and with a dotted OID; an empty value removes the attribute.

    Raises Malformed.
    """
    spelling, equals, value = text.partition("=")
    spelling = spelling.strip().removeprefix("subject.")
    known = BY_NAME.get(spelling.lower())
    if not equals or (known is None and spelling not in BY_OID):
        raise Malformed(
            f"{text!r} sets no subject attribute", "Write subject.O=Example Corp, with a type such as CN, O, OU or C"
        )
    return Attribute(known.oid if known else spelling, value.strip())


def check_overrides(overrides: Overrides) -> None:
    """Raise Refused for a validity that contradicts itself."""
    if overrides.days is not None and overrides.not_after is not None:
        raise Refused("a validity in days and an end were both given", "Give one of them")
    if overrides.days is not None and overrides.days < 1:
        raise Refused(f"a validity of {overrides.days} days is too short", "Give at least one day")
    for moment in (overrides.not_before, overrides.not_after):
        if moment is not None and moment.tzinfo is None:
            raise Refused(f"{moment.isoformat()} has no time zone", "Write it with Z or an offset")
    if overrides.not_before and overrides.not_after and overrides.not_after <= overrides.not_before:
        raise Refused(f"the end, {overrides.not_after:%Y-%m-%dT%H:%M:%SZ}, does not lie after the start")


def set_attributes(subject: Name, changes: Iterable[Attribute]) -> Name:
    """`subject` with every value of the changed types replaced; an attribute with an empty value removes its type.

    New values stand where the old ones stood, or else where the type belongs between wide and narrow ones.
    """
    wanted: dict[str, list[Attribute]] = {}
    for change in changes:
        wanted.setdefault(change.oid, []).append(change)
    rdns = list(subject.rdns)
    for oid, attributes in wanted.items():
        rdns = _replace(rdns, oid, [attribute for attribute in attributes if attribute.value])
    return Name(tuple(rdns))


def _replace(rdns: list[Rdn], oid: str, values: list[Attribute]) -> list[Rdn]:
    places = [at for at, rdn in enumerate(rdns) if any(attribute.oid == oid for attribute in rdn)]
    if not places and not values:
        row = BY_OID.get(oid)
        raise Refused(f"the subject has no {row.short if row else oid} to remove")
    at = places[0] if places else _place_for(rdns, oid)
    kept = [tuple(attribute for attribute in rdn if attribute.oid != oid) for rdn in rdns]
    kept[at:at] = [(attribute,) for attribute in values]
    return [rdn for rdn in kept if rdn]


def _place_for(rdns: list[Rdn], oid: str) -> int:
    rank = _RANK.get(oid, len(_RANK))
    for at, rdn in enumerate(rdns):
        if min(_RANK.get(attribute.oid, len(_RANK)) for attribute in rdn) > rank:
            return at
    return len(rdns)


def _change_sans(asked: tuple[GeneralName, ...], overrides: Overrides) -> tuple[GeneralName, ...]:
    removed = {comparable(name) for name in overrides.remove_sans}
    for name in overrides.remove_sans:
        if comparable(name) not in {comparable(other) for other in asked}:
            raise Refused(f"{describe(name)} cannot be removed: it is not among the requested names")
    kept = (name for name in asked if comparable(name) not in removed)
    return unique_names((*kept, *overrides.add_sans))


def unique_names(names: Iterable[GeneralName]) -> tuple[GeneralName, ...]:
    """In order, each once; DNS names in lower case, since that is how everybody compares them (RFC 4343)."""
    seen: dict[object, GeneralName] = {}
    for name in names:
        seen.setdefault(comparable(name), _lower(name))
    return tuple(seen.values())


def _lower(name: GeneralName) -> GeneralName:
    return DNSName(name.value.lower()) if isinstance(name, DNSName) and not name.value.islower() else name


def comparable(name: GeneralName) -> object:
    """Equal for names that mean the same: case of DNS names and of a mailbox's host does not count."""
    if isinstance(name, DNSName):
        return DNSName, name.value.lower()
    if isinstance(name, RFC822Name):
        local, at, host = name.value.rpartition("@")
        return RFC822Name, local + at + host.lower()
    return name


def describe(name: GeneralName) -> str:
    """A name as messages show it: `dns:web.corp.example`; only the kind where the value is a structure."""
    kind = NAME_TYPES[type(name)]
    return f"{kind}:{name.value}" if isinstance(name, DNSName | IPAddress | RFC822Name | URI) else str(kind)
