"""A new issuer: a subject name with a key, the unit that serials, CRLs and OCSP hang on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.der.keys import key_bits, key_identifier, parse_public_key
from pkiconf.der.names import encode_name
from pkiconf.der.pkcs8 import encode_private_key, parse_private_key, spki_of
from pkiconf.errors import Refused, UnsupportedAlgorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.keys import KEY_ALGORITHMS, KeyAlgorithm
from pkiconf.policy.keys import check_public_key
from pkiconf.signing.local import generate
from pkiconf.store import authorities, keys
from pkiconf.store.database import Connection

CERTID_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is sealed and ready to be recorded."""

    algorithm: KeyAlgorithm
    spki: bytes
    sealed: bytes
    wrapping_key_id: str

    @property
    def spki_sha256(self) -> bytes:
        return hashlib.sha256(self.spki).digest()

    def record(self, c: Connection, now: int) -> int:
        """The key's row id. Raises Conflict if the key is in use already."""
        return keys.add_key(
            c, spki_sha256=self.spki_sha256, spki=self.spki, algorithm=self.algorithm.name, backend="local",
            sealed=self.sealed, wrapping_key_id=self.wrapping_key_id, created_at=now,
        )  # fmt: skip


def make_key(parts: Parts, algorithm: KeyAlgorithm) -> NewKey:
    pkcs8, spki = generate(algorithm)
    return _seal(parts, algorithm, pkcs8, spki)


def declared_key(parts: Parts, declared: DeclaredAuthority) -> NewKey:
    """The key of a declared authority: made here, or imported from the file it names.

    Raises Malformed or Refused for a file that holds no usable key, UnsupportedAlgorithm for a kind we do not run.
    """
    spec = declared.spec
    if spec.key.source == "generate":
        return make_key(parts, spec.key.algorithm)
    if "key.file" not in declared.files:
        raise Refused(f"authority {declared.name!r} imports its key, but names no file", "Set key.file")
    private = parse_private_key(declared.files["key.file"], declared.secrets.get("key.passphrase"))
    spki = spki_of(private)
    facts = parse_public_key(spki)
    check_public_key(spki, facts)
    algorithm = KEY_ALGORITHMS.get(str(facts))
    if algorithm is None:
        raise UnsupportedAlgorithm(
            f"the imported key of authority {declared.name!r} is {facts}", f"Use one of {', '.join(KEY_ALGORITHMS)}"
        )
    return _seal(parts, algorithm, encode_private_key(private), spki)


def _seal(parts: Parts, algorithm: KeyAlgorithm, pkcs8: bytes, spki: bytes) -> NewKey:
    sealed = parts.keyring.seal(f"key:{hashlib.sha256(spki).hexdigest()}", pkcs8)
    return NewKey(algorithm, spki, sealed.blob, sealed.wrapping_key_id)


def subject_of(declared: DeclaredAuthority) -> bytes:
    """The DER name of a declared authority; its common name defaults to its name."""
    subject = declared.spec.subject
    if subject is None:
        raise Refused(f"authority {declared.name!r} has no subject", "Set subject.common_name")
    return encode_name(subject.name())


def record_issuer(
    c: Connection, authority_id: int, generation: int, subject: bytes, key_id: int, spki: bytes, now: int
) -> int:
    """A new issuer in state `next`, findable by the CertIDs of OCSP requests. Its row id."""
    issuer_id = authorities.add_issuer(
        c, authority_id=authority_id, key_id=key_id, subject=subject, ski=key_identifier(spki),
        generation=generation, state="next", created_at=now,
    )  # fmt: skip
    record_hashes(c, issuer_id, subject, spki)
    return issuer_id


def record_hashes(c: Connection, issuer_id: int, subject: bytes, spki: bytes) -> None:
    """Index an issuer under every hash a CertID may use (RFC 6960 §4.1.1)."""
    bits = key_bits(spki)
    for name in CERTID_HASHES:
        # SHA-1 serves as a look-up key here, as the protocol demands; nothing is signed with it.
        name_hash = hashlib.new(name, subject, usedforsecurity=False).digest()
        key_hash = hashlib.new(name, bits, usedforsecurity=False).digest()
        authorities.put_issuer_hash(c, name, name_hash, key_hash, issuer_id)
