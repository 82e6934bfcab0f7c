"""Which keys a template takes, and which usages a kind of key can carry. Whether a key is any good: see `keys`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.keys import KEY_ALGORITHMS, KeyType
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

_RSA_SIZE: Final = re.compile(r"rsa-[1-9]\d{3,4}")


def usable(usages: Iterable[KeyUsage], key_type: KeyType) -> tuple[KeyUsage, ...]:
    """`usages` without those that keys of this type cannot carry."""
    return tuple(usage for usage in usages if usage in USAGES[key_type])


def compile_allowed_keys(entries: Collection[str] | None) -> frozenset[str] | None:
    """`rsa`, `ec`, `ml-dsa` stand for any key of the type; `rsa-3072`, `ec-p256`, `ml-dsa-65` for exactly that one;
    None for every key. Raises Refused for an entry that no key has."""
    known = [*KeyType, *KEY_ALGORITHMS]
    for entry in entries or ():
        if entry not in known and not _RSA_SIZE.fullmatch(entry):
            close = difflib.get_close_matches(entry, known, 1)
            raise Refused(
                f"allowed_keys: {entry!r} is no kind of key",
                f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(known)}",
            )
    return None if entries is None else frozenset(entries)


def check_allowed_key(key: PublicKeyFacts, allowed: frozenset[str] | None) -> None:
    """Raise Refused unless the template takes this kind of key."""
    if allowed is not None and key.type.value not in allowed and str(key) not in allowed:
        raise Refused(f"the template takes no key of type {key}", f"Use one of {', '.join(sorted(allowed))}")
