"""What a timestamping service is when little is declared of it."""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_OID, uuid5

_UUID_ARC: Final = "2.25"  # ITU-T X.667: below it, everybody's UUIDs are object identifiers


def default_policy(key_identifier: bytes) -> str:
    """The policy of an authority that declares none. RFC 3161 demands one, and few have an arc of their own: so it is
    a UUID made from the key of the authority's first generation, the same as long as the authority exists, and nobody
    else's."""
    return f"{_UUID_ARC}.{uuid5(NAMESPACE_OID, 'timestamps by ' + key_identifier.hex()).int}"
