"""Who acts when a device enrols."""

from __future__ import annotations

from functools import lru_cache

from pkiconf.model.actor import Actor
from pkiconf.model.scep import ProofMethod
from pkiconf.scep.places import Place


def device_actor(place: Place, method: ProofMethod) -> Actor:
    """Whoever holds what the proof says: a device has no name that can be believed before."""
    return _actor(place.address, method)


@lru_cache(maxsize=256)
def _actor(address: str, method: ProofMethod) -> Actor:
    return Actor("scep", address.partition("/")[2], method.value)
