"""Certificate Transparency, version 1 (RFC 6962): precertificates, signed certificate timestamps (SCTs), their list.

A precertificate is the certificate-to-be with a critical extension that nobody understands; logs sign what is left
without it. In the certificate the list of their SCTs takes its place, and every other octet stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pkiconf.der import oids
from pkiconf.der.extension_list import encode_extension
from pkiconf.der.keys import parse_public_key
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    encode_sequence,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType, SignatureAlgorithm
from pkiconf.model.request import PublicKeyFacts

LOG_ID_SIZE: Final = 32
POISON: Final = Extension(oids.CT_POISON, True, b"\x05\x00")
"""§3.1: critical, so that nobody takes the precertificate for a certificate; its value is NULL."""

_V1: Final = 0
_CERTIFICATE_TIMESTAMP: Final = 0  # SignatureType, §3.2
_PRECERT_ENTRY: Final = 1  # LogEntryType, §3.1
_EXTENSIONS: Final = CONTEXT | CONSTRUCTED | 3
_SMALLEST_RSA: Final = 2048
# §2.1.4, in the numbers of RFC 5246 §7.4.1.4.1: SHA-256 with ECDSA on P-256, or with RSA.
_SIGNED_WITH: Final = {
    KeyType.EC: (b"\x04\x03", SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]),
    KeyType.RSA: (b"\x04\x01", SIGNATURE_ALGORITHMS["sha256WithRSAEncryption"]),
}


@dataclass(frozen=True, slots=True)
class SCT:
    """§3.2. `timestamp` is milliseconds since 1970; `extensions` and `signature` are kept as the log gave them, the
    signature as a DigitallySigned: hash, algorithm, length, octets (RFC 5246 §4.7)."""

    log_id: bytes
    timestamp: int
    extensions: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class LogKey:
    """`id` is the log's: the SHA-256 of its key, DER (§3.2)."""

    id: bytes
    spki: bytes
    marks: bytes
    algorithm: SignatureAlgorithm


def parse_log_key(spki: bytes) -> LogKey:
    """Raises Malformed, and UnsupportedAlgorithm for a key that no log may have (§2.1.4)."""
    facts = parse_public_key(spki)
    if not _is_a_logs(facts):
        raise UnsupportedAlgorithm(
            f"a log's key is an EC key on P-256 or an RSA key of {_SMALLEST_RSA} bits or more, and this is {facts}",
            "Take the key from the log's operator or from a list of logs",
        )
    return LogKey(hashlib.sha256(spki).digest(), spki, *_SIGNED_WITH[facts.type])


def _is_a_logs(facts: PublicKeyFacts) -> bool:
    return facts.curve == "p256" or (facts.type is KeyType.RSA and facts.bits >= _SMALLEST_RSA)


def encode_sct(sct: SCT) -> bytes:
    return b"".join(
        (bytes((_V1,)), sct.log_id, sct.timestamp.to_bytes(8), _vector(sct.extensions), sct.signature)
    )  # fmt: skip


def parse_sct(octets: bytes) -> SCT:
    """Raises Malformed for what is no SCT of version 1, or has octets left over."""
    if octets[:1] != bytes((_V1,)):
        raise Malformed("a signed certificate timestamp has another version than 1 (RFC 6962 §3.2)")
    start = 1 + LOG_ID_SIZE + 8
    extensions, end = _read_vector(octets, start)
    _, all_of_it = _read_vector(octets, end + 2)
    if all_of_it != len(octets):
        raise Malformed("a signed certificate timestamp has octets left over")
    timestamp = int.from_bytes(octets[start - 8 : start])
    return SCT(octets[1 : 1 + LOG_ID_SIZE], timestamp, extensions, octets[end:])


def check_sct(sct: SCT, key: LogKey, issuer_spki: bytes, tbs: bytes) -> None:
    """Raise Unverified unless the log with `key` promised to include the precertificate whose TBSCertificate is `tbs`,
    of the issuer with that key. Raises Malformed for a signature that is none."""
    if sct.log_id != key.id:
        raise Unverified(f"the timestamp is of log {sct.log_id.hex()[:16]}…, not of {key.id.hex()[:16]}…")
    octets, end = _read_vector(sct.signature, 2)
    if end != len(sct.signature):
        raise Malformed("the signature of a timestamp has octets left over")
    if sct.signature[:2] != key.marks:
        raise Unverified("the timestamp is signed with another algorithm than the log's key has")
    verify_signature(key.spki, key.algorithm, signed_by_log(sct, issuer_spki, tbs), octets)


def signed_by_log(sct: SCT, issuer_spki: bytes, tbs: bytes) -> bytes:
    """§3.2: what a log signs over a precertificate's `tbs`: without its poison, and with its issuer's key."""
    entry = without_extension(tbs, oids.CT_POISON)
    return b"".join(
        (
            bytes((_V1, _CERTIFICATE_TIMESTAMP)),
            sct.timestamp.to_bytes(8),
            _PRECERT_ENTRY.to_bytes(2),
            hashlib.sha256(issuer_spki).digest(),
            len(entry).to_bytes(3),
            entry,
            _vector(sct.extensions),
        )
    )


def timestamp_list(scts: Iterable[SCT]) -> Extension:
    """§3.3: an OCTET STRING in the extension's own holds the list as TLS writes it."""
    listed = b"".join(_vector(encode_sct(sct)) for sct in scts)
    return Extension(oids.CT_TIMESTAMPS, False, encode_tlv(OCTET_STRING, _vector(listed)))


def parse_timestamp_list(value: bytes) -> tuple[SCT, ...]:
    """What `timestamp_list` made. Raises Malformed."""
    content = read_element(value, "a list of timestamps", OCTET_STRING).content
    listed, end = _read_vector(content, 0)
    if end != len(content) or not listed:
        raise Malformed("a list of timestamps is empty, or has octets left over")
    found, at = [], 0
    while at < len(listed):
        one, at = _read_vector(listed, at)
        found.append(parse_sct(one))
    return tuple(found)


def encode_final_tbs(precertificate: bytes, scts: Sequence[SCT]) -> bytes:
    """The TBSCertificate of the certificate: that of its precertificate with the SCTs in the poison's place."""
    listed = encode_extension(timestamp_list(scts))
    poison = encode_extension(POISON)
    return _with_extensions(precertificate, lambda all: [listed if one == poison else one for one in all])


def check_same_but_for_timestamps(precertificate: bytes, final: bytes) -> None:
    """Raise Unverified (or Malformed) unless two TBSCertificates are the same, octet for octet, but for the poison of
    the one and the list of timestamps of the other."""
    if _count(precertificate, oids.CT_POISON) != 1 or _count(precertificate, oids.CT_TIMESTAMPS):
        raise Unverified("a precertificate holds its poison once, and no timestamps")
    if _count(final, oids.CT_TIMESTAMPS) != 1 or _count(final, oids.CT_POISON):
        raise Unverified("a certificate holds its timestamps once, and no poison")
    (listed,) = (one for one in _split(final)[1] if _kind(one) == oids.CT_TIMESTAMPS)
    value = read_elements(read_element(listed, "an extension", SEQUENCE).content, "an extension")[-1].content
    if listed != encode_extension(timestamp_list(parse_timestamp_list(value))):
        raise Unverified("the timestamps of a certificate are not written as RFC 6962 §3.3 has it")
    if without_extension(precertificate, oids.CT_POISON) != without_extension(final, oids.CT_TIMESTAMPS):
        raise Unverified("certificate and precertificate differ in more than the timestamps (RFC 6962 §3.1)")


def without_extension(tbs: bytes, oid: str) -> bytes:
    """A TBSCertificate without the extensions of that kind, every other octet as it was. Raises Malformed."""
    return _with_extensions(tbs, lambda all: [one for one in all if _kind(one) != oid])


def _count(tbs: bytes, oid: str) -> int:
    return sum(_kind(one) == oid for one in _split(tbs)[1])


def _with_extensions(tbs: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    fields, extensions = _split(tbs)
    left = change(extensions)
    # RFC 5280 §4.1.2.9: the list is left out where it would be empty.
    field = encode_tlv(_EXTENSIONS, encode_sequence(left)) if left else b""
    return encode_sequence((*fields, field))


def _split(tbs: bytes) -> tuple[list[bytes], list[bytes]]:
    """The fields before the extensions, and the extensions."""
    what = "a TBSCertificate"
    fields = read_elements(read_element(tbs, what, SEQUENCE).content, what)
    if not fields or fields[-1].tag != _EXTENSIONS:
        raise Malformed("a TBSCertificate has no extensions")
    listed = read_element(fields.pop().content, "a list of extensions", SEQUENCE).content
    return [field.der for field in fields], [one.der for one in read_elements(listed, "a list of extensions")]


def _kind(extension: bytes) -> str:
    parts = read_elements(read_element(extension, "an extension", SEQUENCE).content, "an extension")
    if not parts or parts[0].tag != OBJECT_IDENTIFIER:
        raise Malformed("an extension does not begin with its identifier")
    return oids.decode_oid(parts[0].der, "the identifier of an extension")


def _vector(octets: bytes) -> bytes:
    """opaque <0..2^16-1> (RFC 5246 §4.3). Raises Malformed for what is longer."""
    if len(octets) > 0xFFFF:
        raise Malformed("what a log gave is longer than TLS can write")
    return len(octets).to_bytes(2) + octets


def _read_vector(octets: bytes, at: int) -> tuple[bytes, int]:
    """What the vector at `at` holds, and where it ends."""
    start = at + 2
    end = start + int.from_bytes(octets[at:start])
    if start > len(octets) or end > len(octets):
        raise Malformed("a signed certificate timestamp ends in the middle")
    return octets[start:end], end
