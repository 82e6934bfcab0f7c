"""EnvelopedData with RSA recipients (RFC 5652 §6, RFC 3370 §4.2.1, RFC 3560): opened and made.

Opening tells nothing about what went wrong. A content key that does not unwrap, or unwraps to a wrong length, is
replaced by a random one (RFC 3218 §2.3.2), and content whose padding is wrong is handed on as it is: so all of it
fails later, in the same place, as a content that cannot be read. Whoever reads the content must have one error for all
that comes before a signature over it was verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from pkiconf.der import oids
from pkiconf.der.ber import join_octets, make_definite
from pkiconf.der.certificate_head import CertificateHead, IssuerAndSerial, parse_issuer_and_serial
from pkiconf.der.cms import content_of
from pkiconf.der.keys import load_public_key
from pkiconf.der.reader import Reader, unwrap
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    encode_sequence,
    encode_tlv,
    read_elements,
)
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.cms import (
    AES_256_CBC,
    CONTENT_CIPHERS,
    DES3_CBC,
    DES_CBC,
    DIGEST_OIDS,
    PKCS1_V15,
    ContentCipher,
    Digest,
    KeyTransport,
)

_FIRST: Final = CONTEXT | CONSTRUCTED | 0
_SECOND: Final = CONTEXT | CONSTRUCTED | 1
_KEY_IDENTIFIER: Final = CONTEXT | 0
_CONTENT: Final = CONTEXT | 0
_VERSION_0: Final = b"\x02\x01\x00"
_RSA_ENCRYPTION: Final = encode_sequence((oids.encode_oid(oids.RSA_ENCRYPTION), b"\x05\x00"))
_DATA: Final = oids.encode_oid(oids.PKCS7_DATA)
_PADDING: Final = padding.PKCS1v15()
_ALGORITHMS: Final = {cipher.oid: oids.encode_oid(cipher.oid) for cipher in CONTENT_CIPHERS.values()}

# What is said of an algorithm that is not here; nothing of it depends on the key or the content.
_CIPHERS: Final = ", ".join(cipher.name for cipher in CONTENT_CIPHERS.values() if cipher is not DES_CBC)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who can open it: by issuer and serial number, or by subject key identifier."""

    certificate: IssuerAndSerial | bytes
    transport: KeyTransport
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    recipients: tuple[Recipient, ...]
    cipher: ContentCipher
    iv: bytes
    ciphertext: bytes


def parse_enveloped_data(data: bytes) -> EnvelopedData:
    """A ContentInfo with EnvelopedData, DER or BER. Recipients that are not RSA are passed over.

    Raises Malformed; UnsupportedAlgorithm for a cipher or a key transport that is not ours. Whether single DES may be
    opened is for the caller to say.
    """
    try:
        return _parse(data)
    except Malformed:
        return _parse(make_definite(data, "the envelope"))


def _parse(data: bytes) -> EnvelopedData:
    what = "the envelope"
    reader = Reader(content_of(data, oids.PKCS7_ENVELOPED_DATA, what), what)
    reader.take(INTEGER)
    reader.take_optional(_FIRST)
    recipients = read_elements(reader.take(SET).content, what)
    content = Reader(reader.take(SEQUENCE), what)
    reader.take_optional(_SECOND)
    reader.close()
    content.take(OBJECT_IDENTIFIER)
    cipher, iv = _parse_cipher(content.take(SEQUENCE))
    encrypted = content.take(_CONTENT, _FIRST)
    content.close()
    ciphertext = join_octets(encrypted.content, what) if encrypted.tag == _FIRST else encrypted.content
    return EnvelopedData(
        tuple(_parse_recipient(element) for element in recipients if element.tag == SEQUENCE), cipher, iv, ciphertext
    )


def _parse_cipher(element: Element) -> tuple[ContentCipher, bytes]:
    what = "the content encryption algorithm of the envelope"
    members = read_elements(element.content, what)
    if not members or members[0].tag != OBJECT_IDENTIFIER:
        raise Malformed(f"{what} is not named")
    oid = oids.decode_oid(members[0].der, what)
    cipher = CONTENT_CIPHERS.get(oid)
    if cipher is None:
        raise UnsupportedAlgorithm(f"content encryption algorithm {oid} is not accepted", f"Use one of {_CIPHERS}")
    if len(members) != 2 or members[1].tag != OCTET_STRING or len(members[1].content) != cipher.block_size:
        raise Malformed(f"{what} has no initialization vector of {cipher.block_size} octets")
    return cipher, members[1].content


def _parse_recipient(element: Element) -> Recipient:
    what = "a recipient of the envelope"
    reader = Reader(element, what)
    reader.take(INTEGER)
    name = reader.take(SEQUENCE, _KEY_IDENTIFIER)
    transport = _parse_transport(reader.take(SEQUENCE))
    encrypted_key = reader.take(OCTET_STRING).content
    reader.close()
    certificate = parse_issuer_and_serial(name, what) if name.tag == SEQUENCE else name.content
    return Recipient(certificate, transport, encrypted_key)


def _parse_transport(element: Element) -> KeyTransport:
    what = "the key encryption algorithm of the envelope"
    members = read_elements(element.content, what)
    if not members or members[0].tag != OBJECT_IDENTIFIER:
        raise Malformed(f"{what} is not named")
    oid = oids.decode_oid(members[0].der, what)
    if oid == oids.RSA_ENCRYPTION:
        return PKCS1_V15
    if oid == oids.RSAES_OAEP:
        return _parse_oaep(members[1].content if len(members) == 2 else b"")
    raise UnsupportedAlgorithm(f"key encryption algorithm {oid} is not accepted", "Use rsaEncryption or RSAES-OAEP")


def _parse_oaep(parameters: bytes) -> KeyTransport:
    """RSAES-OAEP-params (RFC 4055 §4.1), each with its default: SHA-1, MGF1 with SHA-1, an empty label."""
    what = "the RSAES-OAEP parameters of the envelope"
    oaep = mask = Digest.SHA1
    for member in read_elements(parameters, what):
        algorithm = read_elements(unwrap(member, what).content, what)
        if member.tag == _FIRST:
            oaep = _parse_digest(algorithm, what)
        elif member.tag == _SECOND:
            if len(algorithm) != 2 or oids.decode_oid(algorithm[0].der, what) != oids.MGF1:
                raise UnsupportedAlgorithm(f"{what} name a mask that is not MGF1")
            mask = _parse_digest(read_elements(algorithm[1].content, what), what)
        elif len(algorithm) != 2 or algorithm[1].content:
            raise UnsupportedAlgorithm(f"{what} hold a label")
    return KeyTransport(oaep, mask)


def _parse_digest(algorithm: list[Element], what: str) -> Digest:
    found = DIGEST_OIDS.get(oids.decode_oid(algorithm[0].der, what)) if algorithm else None
    if found is None:
        raise UnsupportedAlgorithm(f"{what} name a hash that is not accepted", "Use SHA-256")
    return found


def open_envelope(enveloped: EnvelopedData, unwrap_key: Callable[[], bytes], random_key: bytes) -> bytes:
    """The content, or what a wrong key makes of it: see the module. `unwrap_key` may raise Unverified; `random_key` has
    at least 32 unpredictable octets."""
    cipher = enveloped.cipher
    try:
        key = unwrap_key()
    except Unverified:
        key = b""
    # Both are there beforehand, so that choosing takes the same time.
    key = (random_key[: cipher.key_size], key)[len(key) == cipher.key_size]
    whole = len(enveloped.ciphertext) - len(enveloped.ciphertext) % cipher.block_size
    decryptor = Cipher(_block_cipher(cipher, key), modes.CBC(enveloped.iv)).decryptor()
    padded = decryptor.update(enveloped.ciphertext[:whole]) + decryptor.finalize()
    count = padded[-1] if padded else 0
    good = 0 < count <= cipher.block_size and padded.endswith(bytes((count,)) * count)
    return padded[: len(padded) - count] if good else padded


def encode_enveloped_data(
    content: bytes, recipient: CertificateHead, cipher: ContentCipher, key: bytes, iv: bytes
) -> bytes:
    """A DER ContentInfo with the content for the holder of an RSA certificate, by PKCS#1 v1.5, which every client
    opens. `key` and `iv` are random, of the cipher's sizes. Raises UnsupportedAlgorithm for another kind of key."""
    if cipher is DES_CBC:
        raise UnsupportedAlgorithm("nothing is encrypted by single DES")
    public = load_public_key(recipient.spki)
    if not isinstance(public, rsa.RSAPublicKey):
        raise UnsupportedAlgorithm("an answer can be encrypted to an RSA key only", "Use an RSA key")
    count = cipher.block_size - len(content) % cipher.block_size
    encryptor = Cipher(_block_cipher(cipher, key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(content + bytes((count,)) * count) + encryptor.finalize()
    wrapped = encode_tlv(OCTET_STRING, public.encrypt(key, _PADDING))
    transport = encode_sequence((_VERSION_0, recipient.issuer_and_serial.encode(), _RSA_ENCRYPTION, wrapped))
    algorithm = encode_sequence((_ALGORITHMS[cipher.oid], encode_tlv(OCTET_STRING, iv)))
    # In one piece: some clients cannot put pieces together.
    encrypted = encode_sequence((_DATA, algorithm, encode_tlv(_CONTENT, ciphertext)))
    enveloped = encode_sequence((_VERSION_0, encode_tlv(SET, transport), encrypted))
    return encode_sequence((oids.encode_oid(oids.PKCS7_ENVELOPED_DATA), encode_tlv(_FIRST, enveloped)))


def _block_cipher(cipher: ContentCipher, key: bytes) -> BlockCipherAlgorithm:
    # TripleDES with one key is DES (NIST SP 800-67 §3.1).
    return TripleDES(key * 3 if cipher is DES_CBC else key) if cipher in (DES3_CBC, DES_CBC) else AES(key)


LONGEST_KEY: Final = AES_256_CBC.key_size
