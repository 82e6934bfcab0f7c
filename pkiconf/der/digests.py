"""Hashes as the library knows them, by the names of the model: for whoever signs, verifies, encrypts or opens."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes

from pkiconf.model.cms import Digest
from pkiconf.model.keys import Hash

HASHES: Final[Mapping[Hash, hashes.HashAlgorithm]] = MappingProxyType(
    {Hash.SHA256: hashes.SHA256(), Hash.SHA384: hashes.SHA384(), Hash.SHA512: hashes.SHA512()}
)
"""Those that certificates, CRLs and answers about them are signed with."""

DIGESTS: Final[Mapping[Digest, hashes.HashAlgorithm]] = MappingProxyType(
    {
        Digest.SHA1: hashes.SHA1(),  # noqa: S303 -- what older devices have; whether it is accepted is declared
        Digest.SHA224: hashes.SHA224(),
        Digest.SHA256: hashes.SHA256(),
        Digest.SHA384: hashes.SHA384(),
        Digest.SHA512: hashes.SHA512(),
    }
)
"""Those that CMS messages may name."""
