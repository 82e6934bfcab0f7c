"""AlgorithmIdentifiers of signatures (RFC 4055, RFC 5758, RFC 8410, RFC 9881)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.tlv import (
    CONSTRUCTED,
    CONTEXT,
    OBJECT_IDENTIFIER,
    Element,
    decode,
    encode_sequence,
    encode_tlv,
    read_sequence,
)
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, Hash, Padding, SignatureAlgorithm

_NULL: Final = b"\x05\x00"
_HASHES: Final = {
    Hash.SHA256: (oids.SHA256, 32),
    Hash.SHA384: (oids.SHA384, 48),
    Hash.SHA512: (oids.SHA512, 64),
}

# Whoever meets one of these deserves its name and the way out, not a number.
_REFUSED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "1.2.840.113549.1.1.4": ("MD5 with RSA", "Sign with SHA-256 or better"),
        "1.2.840.113549.1.1.5": ("SHA-1 with RSA", "Sign with SHA-256 or better"),
        "1.2.840.10045.4.1": ("ECDSA with SHA-1", "Sign with SHA-256 or better"),
        "1.2.840.10045.4.3.1": ("ECDSA with SHA-224", "Sign with SHA-256 or better"),
        "1.2.840.113549.1.1.14": ("SHA-224 with RSA", "Sign with SHA-256 or better"),
        "1.2.840.10040.4.3": ("DSA with SHA-1", "Use an RSA, EC, Ed25519, Ed448 or ML-DSA key"),
        "2.16.840.1.101.3.4.3.2": ("DSA with SHA-256", "Use an RSA, EC, Ed25519, Ed448 or ML-DSA key"),
    }
)  # fmt: skip
_ROUND_3: Final = ("1.3.6.1.4.1.2.267.7.", "1.3.6.1.4.1.2.267.11.", "1.3.6.1.4.1.2.267.12.")
_NIST_SIGNATURES: Final = "2.16.840.1.101.3.4.3."


def _identifier(oid: str, *parameters: bytes) -> bytes:
    return encode_sequence((oids.encode_oid(oid), *parameters))


def _pss_parameters(hash_der: bytes, mgf_hash_der: bytes, salt: int) -> bytes:
    """RSASSA-PSS-params (RFC 4055 §3.1); the trailer field has its default and is left out."""
    fields = (hash_der, _identifier(oids.MGF1, mgf_hash_der), asn1.encode_der(salt))
    return encode_sequence(encode_tlv(CONTEXT | CONSTRUCTED | n, field) for n, field in enumerate(fields))


def _encode(algorithm: SignatureAlgorithm) -> bytes:
    if algorithm.padding is Padding.PKCS1V15:
        return _identifier(algorithm.oid, _NULL)
    if algorithm.padding is Padding.PSS:
        assert algorithm.hash is not None
        oid, size = _HASHES[algorithm.hash]
        hash_der = _identifier(oid, _NULL)
        return _identifier(algorithm.oid, _pss_parameters(hash_der, hash_der, size))
    return _identifier(algorithm.oid)


_ENCODED: Final = MappingProxyType({row: _encode(row) for row in SIGNATURE_ALGORITHMS.values()})
_PARSED: Final = MappingProxyType({der: row for row, der in _ENCODED.items()})


def encode_algorithm(algorithm: SignatureAlgorithm) -> bytes:
    """The AlgorithmIdentifier, its parameters as the algorithm's RFC wants them: NULL for PKCS#1 v1.5,
    hash, MGF1 and salt for PSS, absent for all others."""
    return _ENCODED[algorithm]


def parse_algorithm(der: bytes) -> SignatureAlgorithm:
    """The row that an AlgorithmIdentifier names. Raises UnsupportedAlgorithm, or Malformed.

    Forms that others write are read too: absent parameters for PKCS#1 v1.5 (RFC 4055 §5), absent parameters of
    the hashes inside PSS, and any salt length there.
    """
    if found := _PARSED.get(der):
        return found
    members = read_sequence(der, "an AlgorithmIdentifier")
    if not members or members[0].tag != OBJECT_IDENTIFIER or len(members) > 2:
        raise Malformed("an AlgorithmIdentifier is not an object identifier and its parameters")
    oid = oids.decode_oid(members[0].der, "the object identifier of an algorithm")
    rows = [row for row in SIGNATURE_ALGORITHMS.values() if row.oid == oid]
    if not rows:
        raise _unsupported(oid)
    if rows[0].padding is Padding.PKCS1V15 and len(members) == 1:
        return rows[0]
    if rows[0].padding is Padding.PSS and len(members) == 2:
        return _parse_pss(rows, members[1])
    raise Malformed(f"the parameters of signature algorithm {rows[0].name} are not what its RFC asks for")


def _parse_pss(rows: list[SignatureAlgorithm], parameters: Element) -> SignatureAlgorithm:
    salt = _salt_length(parameters)
    for row in rows:
        assert row.hash is not None
        oid = _HASHES[row.hash][0]
        forms = (_identifier(oid), _identifier(oid, _NULL))
        if any(_pss_parameters(outer, inner, salt) == parameters.der for outer, inner in product(forms, forms)):
            return row
    raise UnsupportedAlgorithm(
        "an RSASSA-PSS signature with these parameters is not supported",
        "Use SHA-256, SHA-384 or SHA-512, the same for the message and for MGF1",
    )


def _salt_length(parameters: Element) -> int:
    fields = read_sequence(parameters.der, "the RSASSA-PSS parameters")
    for field in fields:
        if field.tag == CONTEXT | CONSTRUCTED | 2:
            salt = decode(int, field.content, "the salt length of RSASSA-PSS")
            if not 0 <= salt <= 2048:
                raise Malformed("the salt length of RSASSA-PSS is negative or far too large")
            return salt
    return 20  # the default of RFC 4055; it never matches a hash that we take


def _unsupported(oid: str) -> UnsupportedAlgorithm:
    if known := _REFUSED.get(oid):
        return UnsupportedAlgorithm(f"signatures of {known[0]} are not accepted", known[1])
    return UnsupportedAlgorithm(f"signature algorithm {oid} is not supported", unsupported_hint(oid))


def unsupported_hint(oid: str) -> str:
    """What to do instead of using an algorithm that is not in our table."""
    if oid.startswith(_ROUND_3):
        return "This is Dilithium as it was before its standard; use ML-DSA (FIPS 204)"
    if oid.startswith(_NIST_SIGNATURES):
        number = int(oid.removeprefix(_NIST_SIGNATURES).partition(".")[0])
        if 32 <= number <= 34:
            return "HashML-DSA must not be used in certificates (RFC 9881); use pure ML-DSA"
        if 20 <= number <= 30 or 35 <= number <= 46:
            return "SLH-DSA cannot be done here; use ML-DSA"
    return f"Use one of {', '.join(SIGNATURE_ALGORITHMS)}"
