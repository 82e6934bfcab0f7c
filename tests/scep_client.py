"""A SCEP client for tests, over a stranger's CMS: asn1crypto builds and reads the messages, `cryptography` does the
rest. Every step can be spoilt, which no well-behaved client offers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import algos, cms, core, csr
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type

_SCEP = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION = (_SCEP + str(n) for n in range(2, 8))
FAIL_TEXT = "1.3.6.1.5.5.7.24.1"

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "md5": hashes.MD5(),
}
CIPHERS = {"aes128_cbc": 16, "aes192_cbc": 24, "aes256_cbc": 32, "tripledes_3key": 24, "des": 8}


@cache
def device_key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Device:
    """A key and the certificate that it signs messages with: at first one of its own making."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: bytes

    @classmethod
    def fresh(cls, number: int = 0, name: str = "SCEP Protocol Certificate", *, sha1: bool = False) -> Device:
        return cls.of(device_key(number), name, sha1=sha1)

    @classmethod
    def of(
        cls,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        name: str = "SCEP Protocol Certificate",
        *,
        sha1: bool = False,
    ) -> Device:
        """Whoever has this key; with one of an elliptic curve nothing can be read that is answered to it."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .sign(key, hashes.SHA256())
        )
        der = made.public_bytes(Encoding.DER)
        if sha1:
            assert isinstance(key, rsa.RSAPrivateKey)
            der = _signed_with_sha1(asn1_x509.Certificate.load(der), "tbs_certificate", key)
        return cls(key, der)

    def holding(self, certificate: bytes) -> Device:
        """The same key, with what it was issued."""
        return replace(self, certificate=certificate)


@dataclass(frozen=True)
class Wish:
    """What a message is made with; the defaults are those of a good client of today."""

    message_type: str = "19"
    transaction: str = "0123456789ABCDEF"
    nonce: bytes = field(default_factory=lambda: os.urandom(16))
    digest: str = "sha256"
    cipher: str = "aes128_cbc"
    oaep: tuple[str, str] | None = None
    string: type[Any] = core.PrintableString
    signature_algorithm: str = "rsassa_pkcs1v15"
    sign_with: rsa.RSAPrivateKey | None = None
    certificates: tuple[bytes, ...] | None = None
    spoil_envelope: Callable[[bytes], bytes] = lambda der: der
    left_out: tuple[str, ...] = ()


def make_request(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str = "device-1",
    dns: Sequence[str] = ("device-1.corp.example",),
    challenge: str | None = "secret-passphrase",
    *,
    sha1: bool = False,
    challenge_tag: _ASN1Type = _ASN1Type.PrintableString,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """DER of a PKCS#10 request with a challengePassword."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in dns]), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if challenge is not None:
        tag = x509.oid.AttributeOID.CHALLENGE_PASSWORD
        builder = builder.add_attribute(tag, challenge.encode(), _tag=challenge_tag)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    if not sha1:
        return der
    assert isinstance(key, rsa.RSAPrivateKey)
    return _signed_with_sha1(csr.CertificationRequest.load(der), "certification_request_info", key)


def _signed_with_sha1(made: Any, body: str, key: rsa.RSAPrivateKey) -> bytes:
    """As `cryptography` will not do it any more."""
    if body == "tbs_certificate":
        made[body]["signature"] = {"algorithm": "sha1_rsa"}
    made["signature_algorithm"] = {"algorithm": "sha1_rsa"}
    made["signature" if body != "tbs_certificate" else "signature_value"] = key.sign(
        made[body].dump(), padding.PKCS1v15(), hashes.SHA1()
    )
    return bytes(made.dump())


def sealed(content: bytes, recipient: bytes, wish: Wish) -> bytes:
    """An EnvelopedData for the holder of a DER certificate."""
    size = CIPHERS[wish.cipher]
    key, iv = os.urandom(size), os.urandom(16 if wish.cipher.startswith("aes") else 8)
    block = len(iv)
    count = block - len(content) % block
    algorithm = TripleDES(key * (24 // size)) if block == 8 else AES(key)
    encryptor = Cipher(algorithm, modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(content + bytes([count]) * count) + encryptor.finalize()
    certificate = asn1_x509.Certificate.load(recipient)
    public = x509.load_der_x509_certificate(recipient).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    transport: dict[str, Any] = {"algorithm": "rsaes_pkcs1v15", "parameters": core.Null()}
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if wish.oaep is not None:
        hash_name, mask = wish.oaep
        scheme = padding.OAEP(padding.MGF1(HASHES[mask]), HASHES[hash_name], None)
        parameters = algos.RSAESOAEPParams(
            {
                "hash_algorithm": {"algorithm": hash_name},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": mask}},
            }
        )
        transport = {"algorithm": "rsaes_oaep", "parameters": parameters}
    return bytes(
        cms.ContentInfo(
            {
                "content_type": "enveloped_data",
                "content": {
                    "version": 0,
                    "recipient_infos": [
                        cms.KeyTransRecipientInfo(
                            {
                                "version": 0,
                                "rid": cms.RecipientIdentifier(
                                    "issuer_and_serial_number",
                                    {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
                                ),
                                "key_encryption_algorithm": transport,
                                "encrypted_key": public.encrypt(key, scheme),
                            }
                        )
                    ],
                    "encrypted_content_info": {
                        "content_type": "data",
                        "content_encryption_algorithm": {"algorithm": wish.cipher, "parameters": core.OctetString(iv)},
                        "encrypted_content": ciphertext,
                    },
                },
            }
        ).dump()
    )


def signed(content: bytes, device: Device, wish: Wish) -> bytes:
    """The whole message, around what `sealed` made."""
    certificate = asn1_x509.Certificate.load(device.certificate)
    text = wish.string
    values: dict[str, core.Asn1Value] = {
        "1.2.840.113549.1.9.3": cms.ContentType("data"),
        "1.2.840.113549.1.9.4": core.OctetString(hashlib.new(wish.digest, content).digest()),
        MESSAGE_TYPE: text(wish.message_type),
        TRANSACTION: text(wish.transaction),
        SENDER_NONCE: core.OctetString(wish.nonce),
    }
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": oid, "values": [value]})
            for oid, value in values.items()
            if oid not in wish.left_out
        ]
    )
    key = wish.sign_with or device.key
    to_sign = attributes.untag().dump() if hasattr(attributes, "untag") else attributes.dump()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(to_sign, ec.ECDSA(HASHES[wish.digest]))
    else:
        signature = key.sign(to_sign, padding.PKCS1v15(), HASHES[wish.digest])
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
            ),
            "digest_algorithm": {"algorithm": wish.digest},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": wish.signature_algorithm},
            "signature": signature,
        }
    )
    bag = (device.certificate,) if wish.certificates is None else wish.certificates
    return bytes(
        cms.ContentInfo(
            {
                "content_type": "signed_data",
                "content": {
                    "version": "v1",
                    "digest_algorithms": [{"algorithm": wish.digest}],
                    "encap_content_info": {"content_type": "data", "content": core.OctetString(content)},
                    "certificates": [asn1_x509.Certificate.load(der) for der in bag],
                    "signer_infos": [signer],
                },
            }
        ).dump()
    )


def message(device: Device, content: bytes, recipient: bytes, wish: Wish | None = None) -> bytes:
    """A PKIMessage with `content` for the holder of `recipient`."""
    wish = wish or Wish()
    return signed(wish.spoil_envelope(sealed(content, recipient, wish)), device, wish)


@dataclass(frozen=True)
class Answer:
    """A CertRep whose signature holds."""

    status: str
    fail_info: str | None
    text: str | None
    recipient_nonce: bytes
    transaction: str
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    digest: str
    cipher: str | None
    signer: bytes

    @property
    def certificate(self) -> x509.Certificate:
        assert len(self.certificates) == 1, self
        return x509.load_der_x509_certificate(self.certificates[0])


def read_answer(der: bytes, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Answer:
    """Raises when anything of it is not as it should be."""
    data = cms.ContentInfo.load(der, strict=True)["content"]
    [info] = data["signer_infos"]
    [certificate] = [choice.chosen.dump() for choice in data["certificates"]]
    digest = info["digest_algorithm"]["algorithm"].native
    content = data["encap_content_info"]["content"]
    attributes = {attribute["type"].dotted: attribute["values"] for attribute in info["signed_attrs"]}
    public = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    to_check = b"\x31" + info["signed_attrs"].dump()[1:]
    public.verify(info["signature"].native, to_check, padding.PKCS1v15(), HASHES[digest])
    octets = content.contents if content.contents is not None else b""
    assert bytes(attributes["1.2.840.113549.1.9.4"][0].native) == hashlib.new(digest, octets).digest()
    assert attributes[MESSAGE_TYPE].contents[2:] == b"3"
    inside, cipher = _open(octets, key) if octets else (None, None)
    return Answer(
        status=_text(attributes, STATUS) or "",
        fail_info=_text(attributes, FAIL_INFO),
        text=_text(attributes, FAIL_TEXT),
        recipient_nonce=_octets(attributes, RECIPIENT_NONCE),
        transaction=_text(attributes, TRANSACTION) or "",
        certificates=tuple(choice.chosen.dump() for choice in inside["certificates"]) if inside else (),
        crls=tuple(choice.chosen.dump() for choice in inside["crls"]) if inside else (),
        digest=digest,
        cipher=cipher,
        signer=certificate,
    )


def _text(attributes: dict[str, Any], oid: str) -> str | None:
    return str(core.load(attributes[oid].contents).native) if oid in attributes else None


def _octets(attributes: dict[str, Any], oid: str) -> bytes:
    return bytes(attributes[oid].contents[2:])


def _open(der: bytes, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Any, str]:
    data = cms.ContentInfo.load(der, strict=True)["content"]
    [info] = data["recipient_infos"]
    assert isinstance(key, rsa.RSAPrivateKey), "nothing can be encrypted to another"
    content_key = key.decrypt(info.chosen["encrypted_key"].native, padding.PKCS1v15())
    encrypted = data["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    iv = algorithm["parameters"].native
    cipher = TripleDES(content_key) if len(iv) == 8 else AES(content_key)
    decryptor = Cipher(cipher, modes.CBC(iv)).decryptor()
    padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
    inner = cms.ContentInfo.load(padded[: -padded[-1]], strict=True)["content"]
    assert len(inner["signer_infos"]) == 0
    return inner, algorithm["algorithm"].native


def spki_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def get_message(certificate: bytes) -> bytes:
    """The IssuerAndSerialNumber of GetCert and GetCRL."""
    parsed = asn1_x509.Certificate.load(certificate)
    return bytes(cms.IssuerAndSerialNumber({"issuer": parsed.issuer, "serial_number": parsed.serial_number}).dump())


def poll_message(authority: bytes, request: bytes) -> bytes:
    """The IssuerAndSubject of a CertPoll."""
    issuer = asn1_x509.Certificate.load(authority).subject.dump()
    subject = csr.CertificationRequest.load(request)["certification_request_info"]["subject"].dump()
    return bytes(core.Sequence(contents=issuer + subject).dump())
