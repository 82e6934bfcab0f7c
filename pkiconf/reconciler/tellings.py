"""Where credentials go that a plan will make: told once, so the place is chosen before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pkiconf.authority.telling import CredentialFile, Telling, nowhere_to_tell
from pkiconf.errors import Refused
from pkiconf.reconciler.kinds.acme_binding import makes_credentials
from pkiconf.reconciler.kinds.template_scep import makes_passphrase
from pkiconf.reconciler.state import Change, Desired


def choose_tellings(
    changes: Iterable[Change], wishes: Mapping[str, Desired], telling: Telling | None
) -> dict[str, Telling | None]:
    """Address of each object that gets a random secret → its declared file, else `telling`, else nothing."""
    found: dict[str, Telling | None] = {}
    for change in changes:
        if (makes_credentials(change) or makes_passphrase(change)) and not (change.refused or change.deferred):
            wish = wishes.get(change.address)
            found[change.address] = CredentialFile(wish.write_to) if wish and wish.write_to else telling
    return found


def check_tellings(tellings: Mapping[str, Telling | None]) -> None:
    """Raises Refused, naming everything that has nowhere to go or shares its own file with another, or what
    `CredentialFile.check` does."""
    nowhere = [address for address, chosen in tellings.items() if chosen is None]
    if nowhere:
        raise nowhere_to_tell(*nowhere)
    taken: dict[Path, str] = {}
    for address, chosen in tellings.items():
        if not isinstance(chosen, CredentialFile):
            continue
        chosen.check(address)
        other = taken.setdefault(chosen.path.resolve(), address)
        if other != address and not chosen.is_shared:
            raise Refused(f"{other} and {address} are both to be written to {chosen.path}", "Name a file for each")
