"""`moved:` gives a standing object another name; its slug, and so its URLs, stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pkiconf.reconciler.state import (
    Actual,
    ActualState,
    Desired,
    DesiredState,
    Finding,
    Severity,
    authority_address,
    binding_address,
    kind_of,
    name_of,
    policy_of,
    template_address,
)


@dataclass(frozen=True, slots=True)
class Moves:
    """`addresses` maps old addresses of declared moves to new ones; `refused` says why one cannot be made."""

    addresses: Mapping[str, str]
    refused: Mapping[str, str]
    findings: tuple[Finding, ...]

    def old_address(self, new: str) -> str | None:
        return next((old for old, moved in self.addresses.items() if moved == new), None)

    def renamed(self, actual: ActualState) -> ActualState:
        """The world under the names it is about to have, so that the rest of a comparison sees no move at all."""
        if not self.addresses:
            return actual
        rows = (self._renamed_row(row) for row in actual.objects.values())
        return ActualState({row.address: row for row in rows}, actual.buried)

    def _renamed_row(self, row: Actual) -> Actual:
        if kind_of(row.address) == "authority":
            issuer = self._authority(str(row.spec.get("issuer", "self")))
            address = self.addresses.get(row.address, row.address)
            return replace(row, address=address, spec={**row.spec, "issuer": issuer, **_named(row, address)})
        if kind_of(row.address) == "template":
            kept = template_address(self._authority(row.address.split("/")[1]), name_of(row.address))
            address = self.addresses.get(row.address, kept)
            return replace(row, address=address, spec={**row.spec, **_named(row, address)})
        if kind_of(row.address) == "acme-policy":
            address = self.addresses.get(row.address, row.address)
            profiles = {name: self._template(reference) for name, reference in row.spec["profiles"].items()}
            return replace(row, address=address, spec={**row.spec, "profiles": profiles, **_named(row, address)})
        if kind_of(row.address) == "eab":
            policy = self.addresses.get(policy_of(row.address), policy_of(row.address))
            return replace(row, address=binding_address(name_of(policy), name_of(row.address)))
        return row

    def _template(self, reference: str) -> str:
        """`authority/template` as it is about to be called."""
        authority, _, name = reference.partition("/")
        kept = template_address(self._authority(authority), name)
        return self.addresses.get(template_address(authority, name), kept).removeprefix("template/")

    def _authority(self, name: str) -> str:
        return name_of(self.addresses.get(authority_address(name), name))


def _named(row: Actual, address: str) -> dict[str, str]:
    """The name that goes with a move; a row that is not moved keeps the name it tells of, right or wrong."""
    return {"name": name_of(address)} if name_of(address) != name_of(row.address) else {}


def find_moves(desired: DesiredState, actual: ActualState) -> Moves:
    addresses: dict[str, str] = {}
    refused: dict[str, str] = {}
    findings: list[Finding] = []
    for wish in _moving(desired):
        old = _standing_address(str(wish.moved_from), desired, actual)
        if old is None:
            continue  # done long ago, or a fresh database
        if _standing_address(wish.address, desired, actual) is not None:
            findings.append(_stale(wish, old))
        elif old in desired.objects:
            refused[wish.address] = f"moved names {old}, which is declared too; remove one of the two"
        elif old in addresses:
            refused[wish.address] = f"moved names {old}, which already moves to {addresses[old]}"
        else:
            addresses[old] = wish.address
    return Moves(addresses, refused, tuple(findings))


def _moving(desired: DesiredState) -> Iterator[Desired]:
    # Authorities come first, so that a template can be found under the name its authority still has.
    wishes = [wish for wish in desired.objects.values() if wish.moved_from and not wish.absent]
    return iter(sorted(wishes, key=lambda wish: kind_of(wish.address)))


def _standing_address(address: str, desired: DesiredState, actual: ActualState) -> str | None:
    """Where the object with this address stands now: a template may still stand under its authority's old name."""
    if address in actual.objects:
        return address
    if kind_of(address) != "template":
        return None
    _, authority, name = address.split("/")
    wish = desired.objects.get(authority_address(authority))
    if wish is None or wish.moved_from is None or wish.address in actual.objects:
        return None
    before = template_address(name_of(wish.moved_from), name)
    return before if before in actual.objects else None


def _stale(wish: Desired, old: str) -> Finding:
    message = f"moved names {old}, which stands beside it; nothing is renamed, and `moved` can be removed"
    return Finding(wish.address, Severity.WARNING, message, wish.at)
