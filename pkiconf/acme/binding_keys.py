"""The key of an external account binding: made or declared, sealed, and told once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkiconf.acme.credentials import Credentials
from pkiconf.authority.telling import Telling, nowhere_to_tell
from pkiconf.entropy import Entropy
from pkiconf.errors import Refused
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme_urls import URLs
from pkiconf.model.secret import Secret
from pkiconf.signing.keyring import Sealed, binding_identity
from pkiconf.spec.acme import HMAC_KEY_OCTETS, BindingSpec, encode_hmac_key

_KEY_ID_OCTETS: Final = 8


@dataclass(frozen=True, slots=True)
class FreshKey:
    """Sealed, and about to be stored; `told` is None for one that its owner has already."""

    key_id: str
    sealed: Sealed
    told: Credentials | None

    def show(self, telling: Telling | None) -> None:
        if telling is not None and self.told is not None:
            telling.show(self.told)


def fresh_key(parts: Parts, address: str, wish: BindingSpec, key: Secret | None, telling: Telling | None) -> FreshKey:
    """A key sealed and, if it is a random one, kept where it is told."""
    if key is not None:
        key_id = str(wish.key_id)
        return FreshKey(key_id, parts.keyring.seal(binding_identity(key_id), key.reveal()), None)
    if wish.hmac_key is not None:
        raise Refused(f"the HMAC key of {address} is declared, but was not read", "Apply the YAML files themselves")
    if telling is None:
        raise nowhere_to_tell(address)
    key_id, octets = parts.entropy.token(_KEY_ID_OCTETS).hex(), _random_key(parts.entropy)
    settings = parts.db.read(load_settings)
    told = Credentials(address, URLs(settings.enrolment_url).directory(), key_id, encode_hmac_key(octets))
    sealed = parts.keyring.seal(binding_identity(key_id), octets.reveal())
    telling.keep(told)
    return FreshKey(key_id, sealed, told)


def _random_key(entropy: Entropy) -> Secret:
    """Again, if its text would begin with a hyphen: clients would take it for an option of theirs."""
    while True:
        octets = Secret(entropy.token(HMAC_KEY_OCTETS))
        if not encode_hmac_key(octets).reveal().startswith(b"-"):
            return octets
