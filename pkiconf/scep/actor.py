"""Who acts when a device enrols."""

from __future__ import annotations

from pkiconf.model.actor import Actor
from pkiconf.model.scep import ProofMethod
from pkiconf.scep.places import Place


def device_actor(place: Place, method: ProofMethod) -> Actor:
    """Whoever holds what the proof says: a device has no name that can be believed before."""
    return Actor("scep", place.address.partition("/")[2], method.value)
