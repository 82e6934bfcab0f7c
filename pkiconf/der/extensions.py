"""The extensions that we put into certificates (RFC 5280 §4.2), one function each. How to read them stands in
`extension_values`; the readers are offered here as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.distinguished_names import CONTROL_CHARACTERS
from pkiconf.der.extension_values import (
    BasicConstraints,
    InformationAccess,
    parse_authority_information_access,
    parse_authority_key_identifier,
    parse_basic_constraints,
    parse_certificate_policies,
    parse_crl_distribution_points,
    parse_extended_key_usage,
    parse_key_usage,
    parse_subject_alternative_names,
    parse_subject_key_identifier,
    parse_tls_feature,
)
from pkiconf.der.general_names import encode_general_names, encode_uri
from pkiconf.der.name_constraints import encode_name_constraints, parse_name_constraints
from pkiconf.der.tlv import BIT_STRING, CONSTRUCTED, CONTEXT, OCTET_STRING, check_der, encode_sequence, encode_tlv
from pkiconf.errors import Refused
from pkiconf.model.certificate import Extension
from pkiconf.model.names import GeneralName, NameConstraints
from pkiconf.model.usages import KeyUsage

__all__ = [
    "BasicConstraints",
    "InformationAccess",
    "PolicyInformation",
    "authority_information_access",
    "authority_key_identifier",
    "basic_constraints",
    "certificate_policies",
    "crl_distribution_points",
    "custom",
    "distribution_point_name",
    "extended_key_usage",
    "freshest_crl",
    "key_usage",
    "name_constraints",
    "ocsp_nocheck",
    "parse_authority_information_access",
    "parse_authority_key_identifier",
    "parse_basic_constraints",
    "parse_certificate_policies",
    "parse_crl_distribution_points",
    "parse_extended_key_usage",
    "parse_key_usage",
    "parse_name_constraints",
    "parse_subject_alternative_names",
    "parse_subject_key_identifier",
    "parse_tls_feature",
    "subject_alternative_names",
    "subject_key_identifier",
    "tls_feature_must_staple",
]

_USAGE_BITS: Final = {usage: number for number, usage in enumerate(KeyUsage)}
_STATUS_REQUEST: Final = 5  # TLS extension number, RFC 6066 §8
_NOTICE_LIMIT: Final = 200  # characters of DisplayText, RFC 5280 §4.2.1.4


@dataclass(frozen=True, slots=True)
class PolicyInformation:
    """One certificate policy with its qualifiers: URIs of practice statements, and the text of a user notice."""

    oid: str
    cps_uris: tuple[str, ...] = ()
    notice: str | None = None


def basic_constraints(ca: bool, path_length: int | None = None, critical: bool = True) -> Extension:
    """§4.2.1.9. Raises Refused for a path length without CA, or a negative one."""
    if path_length is not None and (not ca or path_length < 0):
        raise Refused(f"a path length of {path_length} has no meaning here", "Only a CA has one, of 0 or more")
    parts = [asn1.encode_der(True)] if ca else []
    if path_length is not None:
        parts.append(asn1.encode_der(path_length))
    return Extension(oids.BASIC_CONSTRAINTS, critical, encode_sequence(parts))


def key_usage(usages: Iterable[KeyUsage], critical: bool = True) -> Extension:
    """§4.2.1.3. Raises Refused for no usage at all."""
    numbers = sorted({_USAGE_BITS[usage] for usage in usages})
    if not numbers:
        raise Refused("a key usage extension needs at least one usage (RFC 5280 §4.2.1.3)", "Leave the extension out")
    bits = sum(1 << (15 - number) for number in numbers).to_bytes(2, "big")
    # A named bit list loses its trailing zeros (X.690 §11.2.2).
    octets = bits[: numbers[-1] // 8 + 1]
    return Extension(oids.KEY_USAGE, critical, encode_tlv(BIT_STRING, bytes((7 - numbers[-1] % 8,)) + octets))


def extended_key_usage(usages: Sequence[str], critical: bool = False) -> Extension:
    """§4.2.1.12; `usages` are dotted OIDs. Raises Refused for none, or for one that comes twice."""
    if not usages or len(set(usages)) != len(usages):
        raise Refused("an extended key usage extension has no usage, or one twice")
    return Extension(oids.EXTENDED_KEY_USAGE, critical, encode_sequence(map(oids.encode_oid, usages)))


def subject_alternative_names(names: Iterable[GeneralName], critical: bool = False) -> Extension:
    """§4.2.1.6, which wants it critical where the subject is empty. Raises Refused for names that may not be there."""
    return Extension(oids.SUBJECT_ALTERNATIVE_NAME, critical, encode_general_names(names))


def subject_key_identifier(ski: bytes) -> Extension:
    """§4.2.1.2."""
    return Extension(oids.SUBJECT_KEY_IDENTIFIER, False, encode_tlv(OCTET_STRING, ski))


def authority_key_identifier(ski: bytes) -> Extension:
    """§4.2.1.1: the issuer's subject key identifier, as its certificate has it."""
    return Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, encode_sequence([encode_tlv(CONTEXT, ski)]))


def authority_information_access(ocsp_urls: Sequence[str], issuer_urls: Sequence[str]) -> Extension:
    """§4.2.2.1. Raises Refused for no URL at all."""
    access = [(oids.AD_OCSP, url) for url in ocsp_urls] + [(oids.AD_CA_ISSUERS, url) for url in issuer_urls]
    if not access:
        raise Refused("an authority information access extension needs a URL", "Leave the extension out")
    descriptions = [encode_sequence((oids.encode_oid(method), encode_uri(url))) for method, url in access]
    return Extension(oids.AUTHORITY_INFORMATION_ACCESS, False, encode_sequence(descriptions))


def crl_distribution_points(urls: Sequence[str]) -> Extension:
    """§4.2.1.13: one point; its URLs are ways to the same CRL. Raises Refused for no URL at all."""
    return Extension(oids.CRL_DISTRIBUTION_POINTS, False, _one_point(urls, "CRL distribution points"))


def freshest_crl(urls: Sequence[str]) -> Extension:
    """§4.2.1.15 and §5.2.6: where the delta CRL is. Raises Refused for no URL at all."""
    return Extension(oids.FRESHEST_CRL, False, _one_point(urls, "freshest CRL"))


def distribution_point_name(urls: Sequence[str]) -> bytes:
    """A DistributionPointName with a fullName, in its tag: alike in a certificate and in the issuing distribution
    point of the CRL that it leads to."""
    full_name = encode_tlv(CONTEXT | CONSTRUCTED, b"".join(map(encode_uri, urls)))
    return encode_tlv(CONTEXT | CONSTRUCTED, full_name)


def _one_point(urls: Sequence[str], what: str) -> bytes:
    if not urls:
        raise Refused(f"a {what} extension needs a URL", "Leave the extension out")
    return encode_sequence([encode_sequence([distribution_point_name(urls)])])


def certificate_policies(policies: Sequence[PolicyInformation], critical: bool = False) -> Extension:
    """§4.2.1.4. Raises Refused for none, for one that comes twice, and for a notice longer than 200 characters."""
    if not policies or len({policy.oid for policy in policies}) != len(policies):
        raise Refused("a certificate policies extension has no policy, or one twice")
    return Extension(oids.CERTIFICATE_POLICIES, critical, encode_sequence(map(_policy_information, policies)))


def _policy_information(policy: PolicyInformation) -> bytes:
    qualifiers = []
    for uri in policy.cps_uris:
        text = asn1.encode_der(asn1.IA5String(_checked_uri(uri)))
        qualifiers.append(encode_sequence((oids.encode_oid(oids.QUALIFIER_CPS), text)))
    if policy.notice is not None:
        qualifiers.append(_user_notice(policy.notice))
    tail = (encode_sequence(qualifiers),) if qualifiers else ()
    return encode_sequence((oids.encode_oid(policy.oid), *tail))


def _checked_uri(uri: str) -> str:
    encode_uri(uri)
    return uri


def _user_notice(text: str) -> bytes:
    if not 0 < len(text) <= _NOTICE_LIMIT or CONTROL_CHARACTERS.search(text):
        raise Refused(
            f"a user notice has {len(text)} characters where 1 to {_NOTICE_LIMIT}, none a control character, belong"
        )
    return encode_sequence((oids.encode_oid(oids.QUALIFIER_USER_NOTICE), encode_sequence([asn1.encode_der(text)])))


def name_constraints(constraints: NameConstraints) -> Extension:
    """§4.2.1.10. Raises Refused for no subtree, and for one that is not what its type asks for."""
    return Extension(oids.NAME_CONSTRAINTS, constraints.critical, encode_name_constraints(constraints))


def tls_feature_must_staple() -> Extension:
    """RFC 7633: the server must staple an OCSP answer."""
    return Extension(oids.TLS_FEATURE, False, encode_sequence([asn1.encode_der(_STATUS_REQUEST)]))


def ocsp_nocheck() -> Extension:
    """RFC 6960 §4.2.2.2.1: nobody need ask for the status of an OCSP responder's certificate."""
    return Extension(oids.OCSP_NOCHECK, False, asn1.encode_der(asn1.Null()))


def custom(oid: str, critical: bool, der: bytes) -> Extension:
    """Any extension. Raises Malformed unless `oid` is dotted and `der` is exactly one well-formed element."""
    oids.encode_oid(oid)
    check_der(der, f"the value of extension {oid}")
    return Extension(oid, critical, der)
