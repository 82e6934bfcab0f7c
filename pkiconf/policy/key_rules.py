"""Which keys a template takes, and which usages a kind of key can carry. Whether a key is any good: see `keys`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.keys import KeyType
from pkiconf.model.request import PublicKeyFacts
from pkiconf.model.usages import KeyUsage

_SIGNING: Final = frozenset(
    {KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION, KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN}
)

# RFC 3279 §2.3.1 for RSA, RFC 8813 §3 for EC (no encipherment), RFC 8410 §5 for Ed25519 and Ed448,
# RFC 9881 §5 for ML-DSA (signatures only).
USAGES: Final[Mapping[KeyType, frozenset[KeyUsage]]] = {
    KeyType.RSA: _SIGNING | {KeyUsage.KEY_ENCIPHERMENT, KeyUsage.DATA_ENCIPHERMENT},
    KeyType.EC: _SIGNING | {KeyUsage.KEY_AGREEMENT, KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY},
    KeyType.ED25519: _SIGNING,
    KeyType.ED448: _SIGNING,
    KeyType.ML_DSA: _SIGNING,
}


def usable(usages: Iterable[KeyUsage], key_type: KeyType) -> tuple[KeyUsage, ...]:
    """`usages` without those that keys of this type cannot carry."""
    return tuple(usage for usage in usages if usage in USAGES[key_type])


def check_allowed_key(key: PublicKeyFacts, allowed: Collection[str] | None) -> None:
    """Raise Refused unless the template takes this kind of key: `rsa`, `ec`, `ml-dsa` stand for any key of the
    type; `rsa-3072`, `ec-p256`, `ml-dsa-65` for exactly that one; None for every key."""
    if allowed is not None and key.type.value not in allowed and str(key) not in allowed:
        raise Refused(f"the template takes no key of type {key}", f"Use one of {', '.join(sorted(allowed))}")
