"""What a certificate says, as `cryptography` reads it: plain values that stand in test cases."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

_KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
    "encipher_only": "encipherOnly",
    "decipher_only": "decipherOnly",
}
_NAMES: dict[type, str] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
}


def extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> Any:
    """The extension's value, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string({NameOID.EMAIL_ADDRESS: "emailAddress"})


def sans(certificate: x509.Certificate) -> list[str]:
    names = extension(certificate, x509.SubjectAlternativeName) or ()
    return [f"{_NAMES.get(type(name), type(name).__name__)}:{name.value}" for name in names]


def key_usage(certificate: x509.Certificate) -> list[str]:
    usage = extension(certificate, x509.KeyUsage)
    names = dict(_KEY_USAGES)
    if usage is None:
        return []
    if not usage.key_agreement:
        del names["encipher_only"], names["decipher_only"]
    return [name for attribute, name in names.items() if getattr(usage, attribute)]


def extended_key_usage(certificate: x509.Certificate) -> list[str]:
    return [usage._name for usage in extension(certificate, x509.ExtendedKeyUsage) or ()]


def basic_constraints(certificate: x509.Certificate) -> dict[str, Any]:
    value = extension(certificate, x509.BasicConstraints)
    return {"ca": value.ca, "path_length": value.path_length}


def urls(certificate: x509.Certificate) -> dict[str, list[str]]:
    """By purpose: ocsp, aia, crl."""
    found: dict[str, list[str]] = {"ocsp": [], "aia": [], "crl": []}
    for description in extension(certificate, x509.AuthorityInformationAccess) or ():
        ocsp = description.access_method == AuthorityInformationAccessOID.OCSP
        found["ocsp" if ocsp else "aia"].append(description.access_location.value)
    for point in extension(certificate, x509.CRLDistributionPoints) or ():
        found["crl"] += [name.value for name in point.full_name]
    return found


def policies(certificate: x509.Certificate) -> dict[str, list[str]]:
    """OID → CPS URLs and user notices."""
    found: dict[str, list[str]] = {}
    for policy in extension(certificate, x509.CertificatePolicies) or ():
        qualifiers = policy.policy_qualifiers or []
        found[policy.policy_identifier.dotted_string] = [
            qualifier if isinstance(qualifier, str) else str(qualifier.explicit_text) for qualifier in qualifiers
        ]
    return found


def critical(certificate: x509.Certificate) -> list[str]:
    return [row.oid._name for row in certificate.extensions if row.critical]


def extension_oids(certificate: x509.Certificate) -> list[str]:
    return [row.oid.dotted_string for row in certificate.extensions]


def describe(certificate: x509.Certificate) -> dict[str, Any]:
    """Everything that a case may state."""
    return {
        "subject": subject(certificate),
        "sans": sans(certificate),
        "key_usage": key_usage(certificate),
        "extended_key_usage": extended_key_usage(certificate),
        "critical": critical(certificate),
        "extensions": extension_oids(certificate),
        "policies": policies(certificate),
        "signature": certificate.signature_algorithm_oid._name,
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "must_staple": extension(certificate, x509.TLSFeature) is not None,
        "ocsp_nocheck": extension(certificate, x509.OCSPNoCheck) is not None,
        **basic_constraints(certificate),
        **urls(certificate),
    }


__all__ = ["ExtensionOID", "describe", "extension"]
