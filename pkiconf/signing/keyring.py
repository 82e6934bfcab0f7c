"""Secrets at rest: AES-256-GCM under a master key, each bound to what it is.

A sealed blob is version(1) ‖ nonce(12) ‖ ciphertext ‖ tag(16). The associated data names the master key and the
identity (`key:<SHA-256 of the SubjectPublicKeyInfo>`, `secret:<name>`, `eab:<key identifier>`), so a blob that was
copied into another row does not open there. Nonces are random: one master key seals far fewer than 2³² things
(NIST SP 800-38D §8.3).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkiconf.entropy import Entropy, SystemEntropy
from pkiconf.errors import Malformed, Unavailable, UnsupportedAlgorithm
from pkiconf.model.secret import Secret
from pkiconf.signing.local import LocalSigner, load_sealed
from pkiconf.signing.master import MasterKeys

_VERSION: Final = b"\x01"
_NONCE_SIZE: Final = 12
_TAG_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Sealed:
    blob: bytes
    wrapping_key_id: str


def key_identity(spki_sha256: bytes) -> str:
    return f"key:{spki_sha256.hex()}"


def binding_identity(key_id: str) -> str:
    """Of the HMAC key of an external account binding."""
    return f"eab:{key_id}"


def secret_identity(name: str) -> str:
    return f"secret:{name}"


class Keyring:
    """Seals and opens under the master keys, and keeps one signer a key for the life of the process.

    `reload` reads the master keys' source again. Safe to share between threads.
    """

    def __init__(self, master: MasterKeys, reload: Callable[[], MasterKeys], entropy: Entropy | None = None) -> None:
        self._master = master
        self._reload = reload
        self._entropy: Final[Entropy] = entropy or SystemEntropy()
        self._signers: dict[bytes, LocalSigner] = {}
        self._lock = threading.Lock()

    @property
    def master(self) -> MasterKeys:
        return self._master

    def reload(self) -> MasterKeys:
        """Read the source again and use what it holds from now on. Raises Unavailable and keeps what stood."""
        self._master = self._reload()
        return self._master

    def seal(self, identity: str, plaintext: bytes) -> Sealed:
        """Seal under the key that the source calls current at this moment.

        The source is read each time: what is sealed under a key that has just been dropped, or that can no longer be
        had, would be lost with this process. Sealing is rare. Raises Unavailable.
        """
        return self._seal(self.reload(), identity, plaintext)

    def unseal(self, identity: str, blob: bytes, wrapping_key_id: str) -> Secret:
        """What was sealed as `identity`.

        Raises Unavailable when the master key it was sealed under is not at hand (after reading the source once more),
        and when the blob is damaged or belongs to another identity.
        """
        cipher = AESGCM(self._find_master_key(wrapping_key_id).reveal())
        if blob[:1] != _VERSION or len(blob) < 1 + _NONCE_SIZE + _TAG_SIZE:
            raise _damaged(identity)
        nonce, sealed = blob[1 : 1 + _NONCE_SIZE], blob[1 + _NONCE_SIZE :]
        try:
            return Secret(cipher.decrypt(nonce, sealed, _associated_data(identity, wrapping_key_id)))
        except InvalidTag:
            raise _damaged(identity) from None

    def rewrap(self, identity: str, blob: bytes, wrapping_key_id: str) -> Sealed:
        """The same content under the master key that is current in memory. Raises Unavailable as `unseal` does."""
        return self._seal(self._master, identity, self.unseal(identity, blob, wrapping_key_id).reveal())

    def open(
        self, key_id: int, spki_sha256: bytes, algorithm: str, sealed: bytes | None, wrapping_key_id: str | None
    ) -> LocalSigner:
        """The signer of a row of `key`; loaded once a process. Raises Unavailable, naming the row.

        `algorithm` is the row's: a key of another kind than its row says is not used.
        """
        signer = self._signers.get(spki_sha256)
        if signer is not None:
            return signer
        if sealed is None or wrapping_key_id is None:
            raise Unavailable(f"key {key_id} holds no private key here", "It was destroyed, or it lives elsewhere")
        pkcs8 = self.unseal(key_identity(spki_sha256), sealed, wrapping_key_id)
        signer = _load(key_id, spki_sha256, algorithm, pkcs8)
        with self._lock:
            return self._signers.setdefault(spki_sha256, signer)

    def forget(self, spki_sha256: bytes) -> None:
        """Let go of a signer whose key was destroyed."""
        with self._lock:
            self._signers.pop(spki_sha256, None)

    def _seal(self, master: MasterKeys, identity: str, plaintext: bytes) -> Sealed:
        nonce = self._entropy.token(_NONCE_SIZE)
        wrapping_key_id = master.current_id
        cipher = AESGCM(master.current.reveal())
        sealed = cipher.encrypt(nonce, plaintext, _associated_data(identity, wrapping_key_id))
        return Sealed(_VERSION + nonce + sealed, wrapping_key_id)

    def _find_master_key(self, wrapping_key_id: str) -> Secret:
        key = self._master.find(wrapping_key_id)
        if key is None:
            # Another process may have rekeyed since; what it wrote is then in the source.
            key = self.reload().find(wrapping_key_id)
        if key is None:
            given = ", ".join(self._master.ids)
            raise Unavailable(
                f"sealed under master key {wrapping_key_id}, but {self._master.source} gives {given}",
                "Point pkiconf at the master key that belongs to this database",
            )
        return key


def _load(key_id: int, spki_sha256: bytes, algorithm: str, pkcs8: Secret) -> LocalSigner:
    try:
        signer = load_sealed(pkcs8.reveal())
    except (Malformed, UnsupportedAlgorithm) as error:
        raise Unavailable(f"key {key_id}: {error.detail}") from None
    if hashlib.sha256(signer.public_key).digest() != spki_sha256 or signer.key_algorithm.name != algorithm:
        raise Unavailable(f"key {key_id}: the sealed private key is not the one its row describes")
    return signer


def _associated_data(identity: str, wrapping_key_id: str) -> bytes:
    return f"pkiconf sealed 1\n{wrapping_key_id}\n{identity}".encode()


def _damaged(identity: str) -> Unavailable:
    return Unavailable(
        f"the sealed {identity} does not open: it was damaged, or belongs to something else",
        "Restore it from a backup",
    )
