"""Sealed things open as what they were sealed as, under the right master key, and in no other way."""

from __future__ import annotations

import hashlib
import threading

import pytest

from pkiconf.errors import Unavailable
from pkiconf.model.keys import KEY_ALGORITHMS
from pkiconf.model.secret import Secret
from pkiconf.signing.keyring import Keyring, key_identity, secret_identity
from pkiconf.signing.local import LocalSigner, generate
from pkiconf.signing.master import EnvironmentSource, MasterKeys

SOURCE = EnvironmentSource("MASTER")
OLD, NEW, OTHER = (Secret(bytes([n]) * 32) for n in (1, 2, 3))


class Source:
    """A source that changes when the test says so, and counts how often it is read."""

    def __init__(self, *keys: Secret) -> None:
        self.keys = keys
        self.reads = 0

    def __call__(self) -> MasterKeys:
        self.reads += 1
        if not self.keys:
            raise Unavailable("environment variable MASTER is not set")
        return MasterKeys(SOURCE, self.keys)


def keyring_of(*keys: Secret) -> tuple[Keyring, Source]:
    source = Source(*keys)
    return Keyring(source(), source), source


@pytest.mark.row("F31")
def test_what_was_sealed_is_opened() -> None:
    keyring, _ = keyring_of(OLD)
    for content in (b"", b"x", b"secret" * 1000):
        sealed = keyring.seal("secret:a", content)
        assert sealed.wrapping_key_id == keyring.master.current_id
        assert keyring.unseal("secret:a", sealed.blob, sealed.wrapping_key_id).reveal() == content
        assert len(content) < 4 or content not in sealed.blob


def test_no_nonce_comes_twice() -> None:
    keyring, _ = keyring_of(OLD)
    assert len({keyring.seal("secret:a", b"x").blob[1:13] for _ in range(500)}) == 500


def test_aes_256_gcm_as_documented() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    keyring, _ = keyring_of(OLD)
    sealed = keyring.seal("secret:a", b"content")
    bound = f"pkiconf sealed 1\n{sealed.wrapping_key_id}\nsecret:a".encode()
    assert sealed.blob[0] == 1
    assert AESGCM(OLD.reveal()).decrypt(sealed.blob[1:13], sealed.blob[13:], bound) == b"content"


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    keyring, _ = keyring_of(OLD)
    sealed = keyring.seal("secret:a", b"content")
    for position in range(len(sealed.blob)):
        for damaged in (
            sealed.blob[:position] + bytes([sealed.blob[position] ^ 0x40]) + sealed.blob[position + 1 :],
            sealed.blob[:position],
        ):
            with pytest.raises(Unavailable, match="does not open"):
                keyring.unseal("secret:a", damaged, sealed.wrapping_key_id)
    with pytest.raises(Unavailable, match="does not open"):
        keyring.unseal("secret:a", sealed.blob + b"\x00", sealed.wrapping_key_id)


@pytest.mark.parametrize("other", ["secret:b", "key:a", "secret:", "secret:a\n", "SECRET:A"])
def test_a_blob_does_not_open_as_something_else(other: str) -> None:
    keyring, _ = keyring_of(OLD)
    sealed = keyring.seal("secret:a", b"content")
    with pytest.raises(Unavailable, match="does not open"):
        keyring.unseal(other, sealed.blob, sealed.wrapping_key_id)


def test_a_blob_said_to_be_under_another_key_does_not_open() -> None:
    keyring, _ = keyring_of(OLD, NEW)
    sealed = keyring.seal("secret:a", b"content")
    with pytest.raises(Unavailable, match="does not open"):
        keyring.unseal("secret:a", sealed.blob, keyring.master.ids[1])


def test_a_wrong_master_key_says_so() -> None:
    right, _ = keyring_of(OLD)
    wrong, source = keyring_of(OTHER)
    sealed = right.seal("secret:a", b"content")
    with pytest.raises(Unavailable) as caught:
        wrong.unseal("secret:a", sealed.blob, sealed.wrapping_key_id)
    text = str(caught.value)
    assert f"sealed under master key {right.master.current_id}" in text
    assert f"gives {wrong.master.current_id}" in text
    assert source.reads == 2  # it looked once more


@pytest.mark.row("F31")
def test_a_running_server_follows_a_rekey() -> None:
    server, source = keyring_of(OLD)
    kept = server.seal("secret:a", b"old")
    source.keys = (NEW, OLD)
    moved = Keyring(source(), source).rewrap("secret:a", kept.blob, kept.wrapping_key_id)
    assert moved.wrapping_key_id != kept.wrapping_key_id
    assert server.unseal("secret:a", kept.blob, kept.wrapping_key_id).reveal() == b"old"
    assert server.unseal("secret:a", moved.blob, moved.wrapping_key_id).reveal() == b"old"
    reads = source.reads
    server.unseal("secret:a", moved.blob, moved.wrapping_key_id)
    assert source.reads == reads  # not again for a key that is known
    source.keys = (NEW,)
    assert server.seal("secret:a", b"x").wrapping_key_id == moved.wrapping_key_id
    with pytest.raises(Unavailable):
        server.unseal("secret:a", kept.blob, kept.wrapping_key_id)


def test_nothing_is_sealed_under_a_key_that_can_no_longer_be_had() -> None:
    keyring, source = keyring_of(OLD)
    sealed = keyring.seal("secret:a", b"content")
    source.keys = ()
    with pytest.raises(Unavailable, match="is not set"):
        keyring.seal("secret:a", b"x")
    assert keyring.unseal("secret:a", sealed.blob, sealed.wrapping_key_id).reveal() == b"content"


def sealed_key(keyring: Keyring, name: str = "ed25519") -> tuple[bytes, bytes, str]:
    pkcs8, spki = generate(KEY_ALGORITHMS[name])
    digest = hashlib.sha256(spki).digest()
    sealed = keyring.seal(key_identity(digest), pkcs8)
    return digest, sealed.blob, sealed.wrapping_key_id


def test_a_key_is_opened_once_a_process() -> None:
    keyring, _ = keyring_of(OLD)
    digest, blob, wrapping = sealed_key(keyring, "rsa-2048")
    signer = keyring.open(1, digest, "rsa-2048", blob, wrapping)
    assert hashlib.sha256(signer.public_key).digest() == digest
    assert keyring.open(1, digest, "rsa-2048", b"changed since", wrapping) is signer
    keyring.forget(digest)
    with pytest.raises(Unavailable):
        keyring.open(1, digest, "rsa-2048", b"changed since", wrapping)


def test_threads_get_the_same_signer() -> None:
    keyring, _ = keyring_of(OLD)
    digest, blob, wrapping = sealed_key(keyring)
    found: list[LocalSigner] = []
    threads = [
        threading.Thread(target=lambda: found.append(keyring.open(1, digest, "ed25519", blob, wrapping)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(signer) for signer in found}) == 1


def test_two_keys_that_changed_places_do_not_open() -> None:
    keyring, _ = keyring_of(OLD)
    one, other = sealed_key(keyring), sealed_key(keyring)
    with pytest.raises(Unavailable, match="does not open"):
        keyring.open(1, one[0], "ed25519", other[1], other[2])


def test_a_key_that_is_not_the_one_of_its_row_is_not_used() -> None:
    """Sealed rightly, by this program, under this identity: and still another key, or another kind."""
    keyring, _ = keyring_of(OLD)
    digest, _, _ = sealed_key(keyring)
    other, _ = generate(KEY_ALGORITHMS["ed25519"])
    sealed = keyring.seal(key_identity(digest), other)
    with pytest.raises(Unavailable, match="key 7: the sealed private key is not the one"):
        keyring.open(7, digest, "ed25519", sealed.blob, sealed.wrapping_key_id)
    digest, blob, wrapping = sealed_key(keyring)
    with pytest.raises(Unavailable, match="key 8: the sealed private key is not the one"):
        keyring.open(8, digest, "ed448", blob, wrapping)
    sealed = keyring.seal(key_identity(digest), b"no key at all")
    with pytest.raises(Unavailable, match="key 9: the sealed private key is not PKCS#8"):
        keyring.open(9, digest, "ed25519", sealed.blob, sealed.wrapping_key_id)


@pytest.mark.parametrize(("blob", "wrapping"), [(None, None), (None, "x"), (b"x", None)])
def test_a_destroyed_key_says_so(blob: bytes | None, wrapping: str | None) -> None:
    keyring, _ = keyring_of(OLD)
    with pytest.raises(Unavailable, match="key 3 holds no private key here"):
        keyring.open(3, b"d" * 32, "ed25519", blob, wrapping)


def test_identities() -> None:
    assert key_identity(b"\x01\xff") == "key:01ff"
    assert secret_identity("audit-mac") == "secret:audit-mac"
