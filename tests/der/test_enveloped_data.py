"""EnvelopedData against openssl, both ways; and that opening tells nothing, by words or by work."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiconf.der import enveloped_data
from pkiconf.der.certificate_head import parse_head
from pkiconf.der.enveloped_data import encode_enveloped_data, open_envelope, parse_enveloped_data
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.cms import CONTENT_CIPHERS, DES_CBC, ContentCipher, Digest, KeyTransport
from pkiconf.signing.local import LocalSigner
from tests.der.ber import to_ber
from tests.scep_client import Device, device_key
from tests.tools import accepted, run_tool

CONTENT = b"something that nobody else may read, of several blocks"
CIPHERS = [cipher for cipher in CONTENT_CIPHERS.values() if cipher is not DES_CBC]
NAMES = {"AES-128-CBC": "aes128", "AES-192-CBC": "aes192", "AES-256-CBC": "aes256", "3DES-CBC": "des3"}


@pytest.fixture(scope="module")
def holder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and its key."""
    folder, device = tmp_path_factory.mktemp("holder"), Device.fresh()
    (folder / "cert.der").write_bytes(device.certificate)
    accepted(run_tool("openssl", "x509", "-inform", "DER", "-in", folder / "cert.der", "-out", folder / "cert.pem"))
    (folder / "key.pem").write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def signer() -> LocalSigner:
    return LocalSigner(device_key(0))


def opened(der: bytes) -> bytes:
    parsed = parse_enveloped_data(der)
    [named] = parsed.recipients
    return open_envelope(parsed, lambda: signer().unwrap(named.transport, named.encrypted_key), bytes(32))


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda cipher: cipher.name)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 54])
def test_openssl_opens_what_we_close(holder: Path, cipher: ContentCipher, size: int) -> None:
    content = CONTENT[:size]
    head = parse_head((holder / "cert.der").read_bytes())
    der = encode_enveloped_data(content, head, cipher, os.urandom(cipher.key_size), os.urandom(cipher.block_size))
    said = run_tool("openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", holder / "key.pem",
                    "-recip", holder / "cert.pem", "-binary", stdin=der)  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout == content
    assert opened(der) == content


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda cipher: cipher.name)
@pytest.mark.parametrize("options", [(), ("-stream",)], ids=["definite", "indefinite"])
@pytest.mark.parametrize("oaep", [None, "sha1", "sha256", "sha512"])
def test_we_open_what_openssl_closes(holder: Path, cipher: ContentCipher, options: tuple[str, ...], oaep: str) -> None:
    scheme = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", f"rsa_oaep_md:{oaep}") if oaep else ()
    said = run_tool("openssl", "cms", "-encrypt", f"-{NAMES[cipher.name]}", "-outform", "DER", "-binary", *options,
                    "-recip", holder / "cert.pem", *scheme, stdin=CONTENT)  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert opened(said.stdout) == CONTENT
    transport = parse_enveloped_data(said.stdout).recipients[0].transport
    assert transport == (KeyTransport(Digest(oaep), Digest(oaep)) if oaep else KeyTransport())


def closed(cipher: ContentCipher = CIPHERS[0]) -> bytes:
    head = parse_head(Device.fresh().certificate)
    return encode_enveloped_data(CONTENT, head, cipher, bytes(cipher.key_size), bytes(cipher.block_size))


def test_indefinite_lengths_and_pieces() -> None:
    assert opened(to_ber(closed())) == CONTENT


def test_what_is_not_rsa_or_has_no_name_of_ours() -> None:
    for spoilt, what in (
        (closed().replace(bytes.fromhex("0609608648016503040102"), bytes.fromhex("0609608648016503040106")), "3.4.1.6"),
        (closed().replace(bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01010a")), "1.1.10"),
    ):
        with pytest.raises(UnsupportedAlgorithm, match=what):
            parse_enveloped_data(spoilt)


def test_nothing_is_encrypted_by_single_des() -> None:
    with pytest.raises(UnsupportedAlgorithm):
        closed(DES_CBC)


@pytest.mark.parametrize("size", range(0, 400, 17))
def test_what_breaks_off(size: int) -> None:
    with pytest.raises(Malformed):
        parse_enveloped_data(closed()[:size])


class Counting:
    """The sizes of the keys that something was deciphered with."""

    def __init__(self) -> None:
        self.keys: list[int] = []


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting, real = Counting(), enveloped_data._block_cipher

    def block_cipher(cipher: ContentCipher, key: bytes) -> object:
        counting.keys.append(len(key))
        return real(cipher, key)

    monkeypatch.setattr(enveloped_data, "_block_cipher", block_cipher)
    return counting


@pytest.mark.parametrize("key", [b"", bytes(8), bytes(15), bytes(24), bytes(32), bytes(200), None])
def test_a_wrong_key_costs_what_a_right_one_costs(counting: Counting, key: bytes | None) -> None:
    """RFC 3218 §2.3.2: the content is deciphered all the same, by a random key, and nothing is raised."""

    def unwrap() -> bytes:
        if key is None:
            raise Unverified("no")
        return key

    parsed = parse_enveloped_data(closed())
    random = os.urandom(32)
    counting.keys.clear()
    found = open_envelope(parsed, unwrap, random)
    assert counting.keys == [16]
    assert found != CONTENT
    assert found == open_envelope(parsed, lambda: random[:16], bytes(32))


def test_a_wrong_padding_is_content_too() -> None:
    parsed = parse_enveloped_data(closed())
    cut = enveloped_data.EnvelopedData(parsed.recipients, parsed.cipher, parsed.iv, parsed.ciphertext[:-16])
    assert open_envelope(cut, lambda: bytes(16), bytes(32)) == CONTENT[:48]
    odd = enveloped_data.EnvelopedData(parsed.recipients, parsed.cipher, parsed.iv, parsed.ciphertext[:-5])
    assert open_envelope(odd, lambda: bytes(16), bytes(32)) == CONTENT[:48]
    nothing = enveloped_data.EnvelopedData(parsed.recipients, parsed.cipher, parsed.iv, b"")
    assert open_envelope(nothing, lambda: bytes(16), bytes(32)) == b""


def test_a_key_that_was_hidden_for_another_is_random_or_nothing() -> None:
    """The engine's implicit rejection; or Unverified, which is replaced above."""
    other = device_key(1).public_key().encrypt(bytes(16), padding.PKCS1v15())
    with contextlib.suppress(Unverified):
        assert signer().unwrap(KeyTransport(), other) != bytes(16)


def test_an_ec_key_unwraps_nothing() -> None:
    from tests.keys import ec_key

    with pytest.raises(UnsupportedAlgorithm):
        LocalSigner(ec_key()).unwrap(KeyTransport(), b"")
