"""Names of accounts, orders and authorizations, as they stand in URLs; and tokens."""

from __future__ import annotations

import base64
from typing import Final

from pkiconf.entropy import Entropy

_TIME: Final = 4
_RANDOM: Final = 14
_TOKEN: Final = 32  # 256 bits; at least 128 are asked for (RFC 8555 §8.3)


def make_name(entropy: Entropy, now: int) -> str:
    """A name that nobody can guess: 112 random bits in base64url, behind the second (epoch) in which it was made, so
    that what is made together lies together in an index."""
    return _text((now & 0xFFFFFFFF).to_bytes(_TIME) + entropy.token(_RANDOM))


def make_token(entropy: Entropy) -> str:
    """What a client proves its key with (§8.1)."""
    return _text(entropy.token(_TOKEN))


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
