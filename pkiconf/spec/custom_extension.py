"""An extension that this program knows nothing about: its OID and its bytes."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from pkiconf.spec.values import Advised, Declared, DottedOID

# Extensions with a field of their own, where they are checked; the bytes of a custom one are not.
_OWN_FIELD: Final = {
    "2.5.29.14": "They are always made from the key",
    "2.5.29.15": "Use key_usage",
    "2.5.29.17": "Names come from the request; see names",
    "2.5.29.19": "Use basic_constraints",
    "2.5.29.30": "Use name_constraints",
    "2.5.29.31": "Use extensions.crl",
    "2.5.29.32": "Use extensions.policies",
    "2.5.29.35": "They are always made from the issuer",
    "2.5.29.37": "Use extended_key_usage",
    "1.3.6.1.5.5.7.1.1": "Use extensions.aia and extensions.ocsp",
    "1.3.6.1.5.5.7.1.24": "Use extensions.must_staple",
    "1.3.6.1.5.5.7.48.1.5": "Use extensions.ocsp_nocheck",
}


def _unknown_to_us(oid: str) -> str:
    if oid in _OWN_FIELD:
        raise Advised(f"{oid} is an extension that cannot be given as bytes", _OWN_FIELD[oid])
    return oid


def _der(text: str) -> str:
    digits = re.sub(r"[\s:]", "", text).lower()
    if not re.fullmatch(r"(?:[0-9a-f]{2})+", digits):
        raise Advised("der is not hexadecimal digits, two an octet", "Write it as 0500 or 05:00")
    if wrong := _fault(bytes.fromhex(digits)):
        raise Advised(f"der is not one DER value: {wrong} (X.690 §8.1)", "Check it with openssl asn1parse -inform DER")
    return digits


def _fault(content: bytes) -> str:
    """Why these octets are not exactly one value with a definite, shortest length; empty if they are."""
    if content[0] & 0x1F == 0x1F:
        return "its tag is of the long form"
    if len(content) < 2:
        return "it ends after the tag"
    start, length = 2, content[1]
    if length >= 0x80:
        start += length & 0x7F
        octets = content[2:start]
        length = int.from_bytes(octets, "big")
        if len(octets) != start - 2 or not octets or octets[0] == 0 or length < 0x80:
            return "its length is not in the shortest form"
    if len(content) != start + length:
        return f"its length says {length} octets, {max(0, len(content) - start)} follow"
    return ""


class CustomExtension(Declared):
    """An extension by its OID and bytes."""

    oid: Annotated[DottedOID, AfterValidator(_unknown_to_us)] = Field(
        description="The extension's dotted OID, in quotes"
    )
    critical: bool = Field(False, description="true: whoever does not know it must refuse the certificate")
    der: Annotated[str, AfterValidator(_der), WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F: ]+$"})] = (
        Field(description="The extension's value, DER in hex")
    )
