"""TBSCertificates from recipes, well formed or not. No encoder of ours has a part in them.

A recipe is the base `leaf`, `authority` or `root` (base.yaml) with fields and extensions replaced, or removed by
`null`. Values are written as ASN.1 in lists: `[seq, [oid, serverAuth]]` is a SEQUENCE of one OBJECT IDENTIFIER, a
number instead of a word is an identifier octet, and a leaf's content is text, a number, true or false, or
`{hex: …}`. `[bits, digitalSignature]` is a named bit list, `[rdn, CN, utf8, web]` a relative distinguished name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import SubjectKeyIdentifier
from ruamel.yaml import YAML

from pkiconf.model.attributes import BY_NAME
from pkiconf.model.certificate import IssuerFacts
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, get_key_algorithm
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy.lints import LintContext
from tests.keys import AnyKey, ec_key, key_for, rsa_key

FOLDER = Path(__file__).parent
BASE: dict[str, Any] = YAML(typ="safe").load(FOLDER / "base.yaml")

TAGS = {
    "bool": 0x01, "int": 0x02, "bits": 0x03, "octets": 0x04, "null": 0x05, "oid": 0x06, "enum": 0x0A, "utf8": 0x0C,
    "teletex": 0x14, "printable": 0x13, "ia5": 0x16, "utctime": 0x17, "time": 0x18, "bmp": 0x1E, "seq": 0x30,
    "set": 0x31,
}  # fmt: skip
EXTENSIONS = {
    "subjectKeyIdentifier": "2.5.29.14",
    "keyUsage": "2.5.29.15",
    "subjectAltName": "2.5.29.17",
    "basicConstraints": "2.5.29.19",
    "nameConstraints": "2.5.29.30",
    "cRLDistributionPoints": "2.5.29.31",
    "certificatePolicies": "2.5.29.32",
    "authorityKeyIdentifier": "2.5.29.35",
    "extKeyUsage": "2.5.29.37",
    "authorityInfoAccess": "1.3.6.1.5.5.7.1.1",
    "ocspNocheck": "1.3.6.1.5.5.7.48.1.5",
    "tlsFeature": "1.3.6.1.5.5.7.1.24",
    "policyConstraints": "2.5.29.36",
}
OIDS = {
    **EXTENDED_KEY_USAGES,
    "ocsp": "1.3.6.1.5.5.7.48.1",
    "caIssuers": "1.3.6.1.5.5.7.48.2",
    "cps": "1.3.6.1.5.5.7.2.1",
    "userNotice": "1.3.6.1.5.5.7.2.2",
}
ISSUER_KEYS = {"ec-p384": "ecdsa-with-SHA384", "rsa-2048": "sha256WithRSAEncryption", "ml-dsa-44": "ML-DSA-44"}


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def oid_content(name: str) -> bytes:
    first, second, *rest = (int(arc) for arc in OIDS.get(name, name).split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | arc & 0x7F)
        content += bytes(reversed(octets))
    return content


def asn1(node: list[Any]) -> bytes:
    head, *body = node
    if head == "rdn":
        name, string, text = body
        return asn1(["set", ["seq", ["oid", BY_NAME[name.lower()].oid], [string, text]]])
    if head == "bits":
        return tlv(0x03, _named_bits(body))
    tag = TAGS[head] if isinstance(head, str) else head
    return tlv(tag, b"".join(_content(head, part) for part in body))


def _named_bits(usages: list[str]) -> bytes:
    value = sum(1 << (15 - list(KeyUsage).index(KeyUsage(usage))) for usage in usages).to_bytes(2, "big").rstrip(b"\0")
    unused = (value[-1] & -value[-1]).bit_length() - 1 if value else 0
    return bytes((unused,)) + value


def _content(head: str | int, part: Any) -> bytes:
    match part:
        case list():
            return asn1(part)
        case {"hex": digits}:
            return bytes.fromhex(digits)
        case {"times": count, "text": text}:
            return str(text).encode() * int(count)
        case bool():
            return b"\xff" if part else b"\x00"
        case int():
            return part.to_bytes(part.bit_length() // 8 + 1, "big", signed=True)
    if head == "oid":
        return oid_content(part)
    return str(part).encode("utf-16-be" if head == "bmp" else "utf-8")


@cache
def _spki(kind: str) -> bytes:
    return _key(kind).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key(kind: str) -> AnyKey:
    """`issuer …` is the issuer's key of that kind; without it a subject's."""
    if kind.startswith("issuer "):
        return key_for(SIGNATURE_ALGORITHMS[ISSUER_KEYS[kind.removeprefix("issuer ")]])
    signatures = {"ed25519": "Ed25519", "ed448": "Ed448", "ml-dsa-65": "ML-DSA-65"}
    if kind == "rsa-2048":
        return rsa_key()
    return key_for(SIGNATURE_ALGORITHMS[signatures[kind]]) if kind in signatures else ec_key("secp256r1")


@cache
def _ski(kind: str) -> bytes:
    return SubjectKeyIdentifier.from_public_key(_key(kind).public_key()).digest


def issuer_facts(changes: dict[str, Any]) -> IssuerFacts:
    """The issuer of every recipe: 2020 to 2060, without a limit unless `changes` says so."""
    key = changes.get("key", "ec-p384")
    return IssuerFacts(
        issuer_id=1, authority="corp-issuing", slug="corp-issuing", generation=1,
        subject=asn1(changes.get("subject", BASE["issuer"])), spki=_spki(f"issuer {key}"), ski=_ski(f"issuer {key}"),
        key=get_key_algorithm(key), signature=SIGNATURE_ALGORITHMS[ISSUER_KEYS[key]],
        not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2060, 1, 1, tzinfo=UTC),
        path_length=changes.get("path_length"), constraints=(), aia_url="", ocsp_url="", crl_url="", cps_url="",
    )  # fmt: skip


def context_of(case: dict[str, Any]) -> LintContext:
    return LintContext(issuer_facts(case.get("issuer", {})), self_issued=case["base"] == "root")


def encode(case: dict[str, Any]) -> bytes:
    """The TBSCertificate that a case describes."""
    issuer = context_of(case).issuer
    fields = BASE[case["base"]]["fields"] | case.get("fields", {})
    extensions = BASE[case["base"]]["extensions"] | case.get("extensions", {})
    key = f"issuer {issuer.key.name}" if fields["key"] == "issuer" else fields["key"]
    parts = [
        asn1([0xA0, ["int", fields["version"]]]) if fields["version"] is not None else b"",
        asn1(fields["serial_number"]),
        asn1(fields["signature"]),
        asn1(fields["issuer_name"]),
        asn1(fields["validity"]),
        asn1(fields["subject"]),
        _spki(key),
        *(asn1(extra) for extra in fields.get("extra", ())),
    ]
    encoded = [_extension(name, told, key, issuer) for name, told in extensions.items() if told is not None]
    if encoded or "extensions" in fields:
        parts.append(tlv(0xA3, tlv(0x30, b"".join(encoded))))
    return tlv(0x30, b"".join(parts))


def _extension(name: str, told: dict[str, Any], key: str, issuer: IssuerFacts) -> bytes:
    name = name.removeprefix("again ")
    value = told["value"]
    if value == "own key":
        content = tlv(0x04, _ski(key))
    elif value == "issuer key":
        content = tlv(0x30, tlv(0x80, issuer.ski))
    else:
        content = asn1(value)
    critical = b"" if "critical" not in told else tlv(0x01, b"\xff" if told["critical"] else b"\x00")
    return tlv(0x30, tlv(0x06, oid_content(EXTENSIONS.get(name, name))) + critical + tlv(0x04, content))
