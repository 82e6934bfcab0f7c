"""A template's `extensions`, down to those that this program knows only as an OID and bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from pkiconf.spec.misfits import Advised, Declared, Misfit, rfc
from pkiconf.spec.values import HTTPURL, DottedOID, repeated_misfits

_AIA: Final = rfc("RFC 5280 §4.2.2.1")
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


class PolicySpec(Declared):
    """One certificate policy."""

    oid: Literal["dv", "ov", "iv", "ev", "any"] | DottedOID = Field(
        description="CA/Browser Forum policy by name, any (anyPolicy), or a dotted OID in quotes",
        json_schema_extra=rfc("RFC 5280 §4.2.1.4"),
    )
    cps: bool = Field(True, description="Add the CPS URL as a qualifier")
    notice: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="User notice, explicit text",
        json_schema_extra=rfc("RFC 5280 §4.2.1.4"),
    )


class ExtensionsSpec(Declared):
    """What else stands in a certificate."""

    aia: bool = Field(True, description="Where to get the issuer's certificate (AIA caIssuers)", json_schema_extra=_AIA)
    aia_url: HTTPURL | None = Field(None, description="Instead of ours", json_schema_extra=_AIA)
    ocsp: bool = Field(True, description="OCSP URL (AIA)", json_schema_extra=_AIA)
    crl: bool = Field(True, description="CRL distribution point", json_schema_extra=rfc("RFC 5280 §4.2.1.13"))
    cps: bool = Field(
        False,
        description="Certificate policy with the CPS URL (uses `policies`, or anyPolicy)",
        json_schema_extra=rfc("RFC 5280 §4.2.1.4"),
    )
    policies: tuple[PolicySpec, ...] = Field(
        (), description="Certificate policies", json_schema_extra=rfc("RFC 5280 §4.2.1.4")
    )
    must_staple: bool = Field(False, description="TLS feature status_request", json_schema_extra=rfc("RFC 7633"))
    ocsp_nocheck: bool = Field(
        False, description="Nobody need ask for its status", json_schema_extra=rfc("RFC 6960 §4.2.2.2.1")
    )
    custom: tuple[CustomExtension, ...] = Field(
        (), description="Any other extension by OID", json_schema_extra=rfc("RFC 5280 §4.2")
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("policies", [policy.oid for policy in self.policies])
        yield from repeated_misfits("custom", [extension.oid for extension in self.custom])
        if written and self.aia_url is not None and not self.aia:
            yield Misfit(("aia_url", "aia"), "aia_url goes with aia: true", "Remove one of them")
