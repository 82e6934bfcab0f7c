"""EC private keys (SEC 1 §C.4, RFC 5915), read more generously than the engine does.

GnuTLS writes the private number like an ASN.1 INTEGER, with a sign octet or without its leading zeros, where the
RFC asks for exactly the length of the field. Only the number counts; the public point beside it must be its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.der import oids
from pkiconf.der.reader import Reader, parse_bit_string, unwrap
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Element
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = MappingProxyType(
    {oids.SECP256R1: ec.SECP256R1(), oids.SECP384R1: ec.SECP384R1(), oids.SECP521R1: ec.SECP521R1()}
)
_VERSION_1: Final = b"\x02\x01\x01"
_PARAMETERS: Final = CONTEXT | CONSTRUCTED | 0
_PUBLIC_KEY: Final = CONTEXT | CONSTRUCTED | 1


def parse_ec_private_key(der: bytes, parameters: Element | None = None) -> ec.EllipticCurvePrivateKey:
    """The key of an ECPrivateKey; `parameters` name its curve when the wrapping PKCS#8 does.

    Raises UnsupportedAlgorithm for a curve that is not in the table, Unverified for a public point that is not
    the private key's, and Malformed.
    """
    reader = Reader.over(der, "the EC private key")
    if reader.take(INTEGER).der != _VERSION_1:
        raise Malformed("the EC private key has another version than 1")
    number = int.from_bytes(reader.take(OCTET_STRING).content, "big")
    own = reader.take_optional(_PARAMETERS)
    public = reader.take_optional(_PUBLIC_KEY)
    reader.close()
    inner = unwrap(own, "the parameters of the EC private key") if own else None
    if inner and parameters and inner.der != parameters.der:
        raise Malformed("the EC private key names two different curves")
    key = _derive(number, _curve(inner or parameters))
    if public is not None:
        point = unwrap(public, "the public key of the EC private key")
        check_point(key, parse_bit_string(point, "the public key of the EC private key"))
    return key


def _curve(parameters: Element | None) -> ec.EllipticCurve:
    if parameters is None:
        raise Malformed("the EC private key does not name its curve")
    if parameters.tag != OBJECT_IDENTIFIER:
        raise UnsupportedAlgorithm(
            "the EC private key spells its curve out", "Convert it: openssl ec -param_enc named_curve -in OLD -out NEW"
        )
    oid = oids.decode_oid(parameters.der, "the curve of the EC private key")
    if oid not in _CURVES:
        raise UnsupportedAlgorithm(f"EC curve {oid} is not supported", "Use P-256, P-384 or P-521")
    return _CURVES[oid]


def _derive(number: int, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    if not 0 < number < curve.group_order:
        raise Malformed(f"the private number of the EC key does not lie between 1 and the order of {curve.name}")
    return ec.derive_private_key(number, curve)


def check_point(key: ec.EllipticCurvePrivateKey, point: bytes) -> None:
    """Raise Unverified unless the point, compressed or not, is the key's."""
    public = key.public_key()
    forms = (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint)
    if point not in [public.public_bytes(Encoding.X962, form) for form in forms]:
        raise Unverified("the public key in the EC key file is not the one of its private key")
