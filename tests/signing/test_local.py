"""Every key with every algorithm it has, judged by others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from pkiconf.errors import Malformed, NotSigned, UnsupportedAlgorithm
from pkiconf.model.keys import (
    KEY_ALGORITHMS,
    SIGNATURE_ALGORITHMS,
    Hash,
    KeyAlgorithm,
    KeyType,
    Padding,
    SignatureAlgorithm,
    signature_algorithms_for,
)
from pkiconf.signing.local import LocalSigner, generate, key_algorithm_of, load_sealed
from pkiconf.signing.signer import Kind, Signer, SigningOrder
from tests.tools import accepted, run_tool

MESSAGE = b"to be signed"
PAIRS = [(key, algorithm) for key in KEY_ALGORITHMS.values() for algorithm in signature_algorithms_for(key)]
HASHES = {Hash.SHA256: hashes.SHA256(), Hash.SHA384: hashes.SHA384(), Hash.SHA512: hashes.SHA512()}
_SIGNERS: dict[str, LocalSigner] = {}


def signer_of(key: KeyAlgorithm) -> LocalSigner:
    if key.name not in _SIGNERS:
        _SIGNERS[key.name] = load_sealed(generate(key)[0])
    return _SIGNERS[key.name]


def order(algorithm: SignatureAlgorithm, tbs: bytes = MESSAGE) -> SigningOrder:
    return SigningOrder(UUID(int=1), Kind.CERTIFICATE, tbs, algorithm, datetime(2030, 1, 1, tzinfo=UTC))


def verify(spki: bytes, algorithm: SignatureAlgorithm, signature: bytes, message: bytes) -> None:
    key = load_der_public_key(spki)
    if isinstance(key, rsa.RSAPublicKey):
        assert algorithm.hash is not None
        used = HASHES[algorithm.hash]
        # An exact salt length: AUTO would take any.
        pss = padding.PSS(padding.MGF1(used), used.digest_size)
        key.verify(signature, message, pss if algorithm.padding is Padding.PSS else padding.PKCS1v15(), used)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        assert algorithm.hash is not None
        key.verify(signature, message, ec.ECDSA(HASHES[algorithm.hash]))
    else:
        key.verify(signature, message)  # type: ignore[union-attr, call-arg]


@pytest.mark.row("F34")
@pytest.mark.parametrize(("key", "algorithm"), PAIRS, ids=lambda row: row.name)
def test_signatures_hold(key: KeyAlgorithm, algorithm: SignatureAlgorithm) -> None:
    signer = signer_of(key)
    signature = signer.sign(order(algorithm))
    verify(signer.public_key, algorithm, signature, MESSAGE)
    with pytest.raises(InvalidSignature):
        verify(signer.public_key, algorithm, signature, MESSAGE + b".")


@pytest.mark.parametrize("digest", Hash)
def test_openssl_finds_a_salt_as_long_as_the_hash(digest: Hash, tmp_path: Path) -> None:
    signer = signer_of(KEY_ALGORITHMS["rsa-2048"])
    (tmp_path / "m").write_bytes(MESSAGE)
    (tmp_path / "s").write_bytes(signer.sign(order(SIGNATURE_ALGORITHMS[f"rsassaPss-{digest}"])))
    (tmp_path / "k").write_bytes(signer.public_key)
    done = run_tool(
        "openssl", "dgst", f"-{digest}", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest",
        "-keyform", "DER", "-verify", tmp_path / "k", "-signature", tmp_path / "s", tmp_path / "m",
    )  # fmt: skip
    assert "Verified OK" in accepted(done)


@pytest.mark.parametrize("bits", [44, 65, 87])
def test_ml_dsa_is_believed_by_another_implementation(bits: int) -> None:
    from dilithium_py import ml_dsa

    signer = signer_of(KEY_ALGORITHMS[f"ml-dsa-{bits}"])
    signature = signer.sign(order(SIGNATURE_ALGORITHMS[f"ML-DSA-{bits}"]))
    other = getattr(ml_dsa, f"ML_DSA_{bits}")
    raw = signer.public_key[-{44: 1312, 65: 1952, 87: 2592}[bits] :]
    assert other.verify(raw, MESSAGE, signature)
    assert not other.verify(raw, MESSAGE + b".", signature)


@pytest.mark.parametrize("key", KEY_ALGORITHMS.values(), ids=lambda row: row.name)
def test_a_generated_key_is_what_was_asked_for(key: KeyAlgorithm) -> None:
    pkcs8, spki = generate(key)
    signer = load_sealed(pkcs8)
    held: Signer = signer
    assert held.immediate
    assert signer.public_key == spki
    assert signer.key_algorithm == key
    assert signer.algorithms == signature_algorithms_for(key)
    assert generate(key)[1] != spki
    assert "Private" not in repr(signer)


def test_ml_dsa_is_stored_as_its_seed() -> None:
    """RFC 9881 §6: the seed alone, 32 octets under [0]."""
    assert len(generate(KEY_ALGORITHMS["ml-dsa-65"])[0]) == 54


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("rsa-2048", "ecdsa-with-SHA256"),
        ("ec-p256", "sha256WithRSAEncryption"),
        ("ec-p256", "Ed25519"),
        ("ed25519", "Ed448"),
        ("ml-dsa-44", "ML-DSA-65"),
        ("ml-dsa-87", "Ed25519"),
    ],
)
def test_another_kinds_algorithm_is_not_signed_with(key: str, algorithm: str) -> None:
    with pytest.raises(NotSigned, match="cannot sign with") as caught:
        signer_of(KEY_ALGORITHMS[key]).sign(order(SIGNATURE_ALGORITHMS[algorithm]))
    assert "It signs with" in caught.value.hint


def test_an_imported_rsa_key_of_an_odd_size_signs() -> None:
    signer = LocalSigner(rsa.generate_private_key(65537, 2432))
    assert signer.key_algorithm == KeyAlgorithm("rsa-2432", KeyType.RSA, 2432, 112)
    for algorithm in signer.algorithms:
        verify(signer.public_key, algorithm, signer.sign(order(algorithm)), MESSAGE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        lambda: ec.generate_private_key(ec.SECP224R1()),
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: x25519.X25519PrivateKey.generate(),
    ],
    ids=["secp256k1", "brainpool", "p224", "rsa-1024", "x25519"],
)
def test_other_keys_are_refused(make: Callable[[], PrivateKeyTypes]) -> None:
    key = make()
    with pytest.raises(UnsupportedAlgorithm):
        LocalSigner(key)
    with pytest.raises(UnsupportedAlgorithm):
        key_algorithm_of(key)
    with pytest.raises(UnsupportedAlgorithm):
        load_sealed(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize("content", [b"", b"\x30\x00", b"x" * 48, b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        load_sealed(content)


def test_a_public_key_is_no_private_one() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Malformed):
        load_sealed(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_a_kind_that_cannot_be_generated() -> None:
    with pytest.raises(UnsupportedAlgorithm, match="ml-dsa-99"):
        generate(KeyAlgorithm("ml-dsa-99", KeyType.ML_DSA, 99, 0))


def test_a_key_that_is_too_small_for_its_padding_is_not_signed_with() -> None:
    """The backend's own refusal is told as certain: nothing was signed."""

    class Failing(LocalSigner):
        def sign_bytes(self, message: bytes, algorithm: SignatureAlgorithm) -> bytes:
            return super().sign_bytes("text", algorithm)  # type: ignore[arg-type]

    signer = Failing(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(NotSigned, match="TypeError"):
        signer.sign(order(SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]))
