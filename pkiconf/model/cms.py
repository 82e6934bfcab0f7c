"""What CMS messages are made with (RFC 5652, RFC 3370, RFC 3565, RFC 5754)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Digest(StrEnum):
    """Named as hashlib names them. SHA-1 is what older devices have; MD5 is not here."""

    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


DIGEST_OIDS: Final[Mapping[str, Digest]] = MappingProxyType(
    {
        "1.3.14.3.2.26": Digest.SHA1,
        "2.16.840.1.101.3.4.2.4": Digest.SHA224,
        "2.16.840.1.101.3.4.2.1": Digest.SHA256,
        "2.16.840.1.101.3.4.2.2": Digest.SHA384,
        "2.16.840.1.101.3.4.2.3": Digest.SHA512,
    }
)


@dataclass(frozen=True, slots=True)
class ContentCipher:
    """A block cipher in CBC mode; sizes in octets."""

    name: str
    oid: str
    key_size: int
    block_size: int


AES_128_CBC: Final = ContentCipher("AES-128-CBC", "2.16.840.1.101.3.4.1.2", 16, 16)
AES_192_CBC: Final = ContentCipher("AES-192-CBC", "2.16.840.1.101.3.4.1.22", 24, 16)
AES_256_CBC: Final = ContentCipher("AES-256-CBC", "2.16.840.1.101.3.4.1.42", 32, 16)
DES3_CBC: Final = ContentCipher("3DES-CBC", "1.2.840.113549.3.7", 24, 8)
DES_CBC: Final = ContentCipher("DES-CBC", "1.3.14.3.2.7", 8, 8)
"""Broken by anybody in a day: only ever opened, and only where that was declared."""

CONTENT_CIPHERS: Final[Mapping[str, ContentCipher]] = MappingProxyType(
    {cipher.oid: cipher for cipher in (AES_128_CBC, AES_192_CBC, AES_256_CBC, DES3_CBC, DES_CBC)}
)


@dataclass(frozen=True, slots=True)
class KeyTransport:
    """How RSA hides a content key: PKCS#1 v1.5, or OAEP with a hash and its mask's (RFC 8017 §7, RFC 4055 §4.1)."""

    oaep: Digest | None = None
    mask: Digest | None = None


PKCS1_V15: Final = KeyTransport()
