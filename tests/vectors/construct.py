"""Makes the constructed requests in `tests/vectors/csr`: `python tests/vectors/construct.py`.

They stand for programs that do not run where the tests do, and for algorithms that the test machine's openssl does
not know. Nothing of pkiconf is used: the octets are put together here, RSA and EC signatures come from
`cryptography`, ML-DSA ones from `dilithium-py`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87

HERE = Path(__file__).parent / "csr"

SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ML_DSA = {44: (ML_DSA_44, 17), 65: (ML_DSA_65, 18), 87: (ML_DSA_87, 19)}

Sign = Callable[[bytes], bytes]


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    octets = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    octets = b""
    for number in (40 * first + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        octets += bytes(reversed(groups))
    return tlv(0x06, octets)


def common_name(text: str) -> bytes:
    return tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), tlv(0x0C, text.encode()))))


def attribute(dotted: str, value: bytes) -> bytes:
    return tlv(0x30, oid(dotted), tlv(0x31, value))


def extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    return tlv(0x30, oid(dotted), b"\x01\x01\xff" if critical else b"", tlv(0x04, value))


def dns_names(*names: str) -> bytes:
    return extension("2.5.29.17", tlv(0x30, *(tlv(0x82, name.encode()) for name in names)))


def request(subject: bytes, spki: bytes, attributes: tuple[bytes, ...], algorithm: bytes, sign: Sign) -> bytes:
    info = tlv(0x30, b"\x02\x01\x00", subject, spki, tlv(0xA0, *attributes))
    return tlv(0x30, info, algorithm, tlv(0x03, b"\0", sign(info)))


def armour(der: bytes, label: str, end: str = "\n") -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return end.join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def windows() -> bytes:
    """As `certreq -new` of a legacy provider writes it: Microsoft's attributes, CR LF, NEW in the armour."""
    key = rsa.generate_private_key(65537, 2048)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    extensions = tlv(
        0x30,
        extension("2.5.29.15", b"\x03\x02\x05\xa0", critical=True),
        extension("2.5.29.37", tlv(0x30, oid("1.3.6.1.5.5.7.3.1"))),
        dns_names("windows.corp.example", "www.corp.example"),
        extension("2.5.29.14", tlv(0x04, bytes(range(20)))),
    )
    client = tlv(
        0x30,
        b"\x02\x01\x09",
        tlv(0x0C, b"WEB01.corp.example"),
        tlv(0x0C, b"CORP\\administrator"),
        tlv(0x0C, b"certreq.exe"),
    )
    provider = "Microsoft RSA SChannel Cryptographic Provider".encode("utf-16-be")
    attributes = (
        attribute("1.3.6.1.4.1.311.13.2.3", tlv(0x16, b"10.0.20348.2")),
        attribute("1.3.6.1.4.1.311.21.20", client),
        attribute("1.3.6.1.4.1.311.2.1.14", extensions),
        attribute("1.3.6.1.4.1.311.13.2.2", tlv(0x30, b"\x02\x01\x01", tlv(0x1E, provider), b"\x03\x01\x00")),
    )
    der = request(
        common_name("windows.corp.example"),
        spki,
        attributes,
        SHA256_WITH_RSA,
        lambda info: key.sign(info, padding.PKCS1v15(), hashes.SHA256()),
    )
    return armour(der, "NEW CERTIFICATE REQUEST", "\r\n")


def strongswan() -> bytes:
    """As `pki --req --san … --password …` writes it: the extension request before the shorter challengePassword,
    which is not the order that DER asks of a SET OF."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    attributes = (
        attribute("1.2.840.113549.1.9.14", tlv(0x30, dns_names("gateway.corp.example", "vpn.corp.example"))),
        attribute("1.2.840.113549.1.9.7", tlv(0x13, b"secret")),
    )
    assert list(attributes) != sorted(attributes)
    subject = common_name("gateway.corp.example")
    return request(subject, spki, attributes, ECDSA_WITH_SHA256, lambda info: key.sign(info, ec.ECDSA(hashes.SHA256())))


def ml_dsa(bits: int) -> bytes:
    """The key of seed 00 01 … 1f, which RFC 9881 uses in its examples; the signature is the deterministic one."""
    scheme, arc = ML_DSA[bits]
    public, private = scheme.key_derive(bytes(range(32)))
    algorithm = tlv(0x30, oid(f"2.16.840.1.101.3.4.3.{arc}"))
    spki = tlv(0x30, algorithm, tlv(0x03, b"\0", public))
    name = f"ml-dsa-{bits}.corp.example"
    attributes = (attribute("1.2.840.113549.1.9.14", tlv(0x30, dns_names(name))),)
    der = request(
        common_name(name), spki, attributes, algorithm, lambda info: scheme.sign(private, info, deterministic=True)
    )
    return armour(der, "CERTIFICATE REQUEST")


if __name__ == "__main__":
    (HERE / "windows-certreq.pem").write_bytes(windows())
    (HERE / "strongswan.der").write_bytes(strongswan())
    for bits in ML_DSA:
        (HERE / f"ml-dsa-{bits}.pem").write_bytes(ml_dsa(bits))
