"""Lints over basicConstraints, keyUsage and extendedKeyUsage, and how they fit together and to the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from pkiconf.der import oids
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy.lints.finding import Finding, LintContext, error, warning
from pkiconf.policy.lints.view import CertificateView

_TIME_STAMPING: Final = EXTENDED_KEY_USAGES["timeStamping"]
_OCSP_SIGNING: Final = EXTENDED_KEY_USAGES["OCSPSigning"]
_ANY: Final = EXTENDED_KEY_USAGES["anyExtendedKeyUsage"]

_SIGNATURES: Final = frozenset(
    {KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION, KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN}
)
_ENCIPHERMENT: Final = frozenset({KeyUsage.KEY_ENCIPHERMENT, KeyUsage.DATA_ENCIPHERMENT})
_AGREEMENT: Final = frozenset({KeyUsage.KEY_AGREEMENT, KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY})


class _KeyRule(NamedTuple):
    allowed: frozenset[KeyUsage]
    source: str


_EDWARDS: Final = _KeyRule(_SIGNATURES, "RFC 8410 §5, RFC 9295 §3")
_ML_DSA: Final = _KeyRule(_SIGNATURES, "RFC 9881 §5")
_RSA: Final = _KeyRule(_SIGNATURES | _ENCIPHERMENT, "RFC 3279 §2.3.1")
_KEY_RULES: Final[Mapping[str, _KeyRule]] = MappingProxyType(
    {
        oids.RSA_ENCRYPTION: _RSA,
        oids.RSASSA_PSS: _KeyRule(_SIGNATURES, "RFC 4055 §1.2"),
        oids.EC_PUBLIC_KEY: _KeyRule(_SIGNATURES | _AGREEMENT, "RFC 5480 §3, RFC 8813 §3"),
        "1.3.101.112": _EDWARDS,
        "1.3.101.113": _EDWARDS,
        "2.16.840.1.101.3.4.3.17": _ML_DSA,
        "2.16.840.1.101.3.4.3.18": _ML_DSA,
        "2.16.840.1.101.3.4.3.19": _ML_DSA,
    }
)


def basic_constraints(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    constraints, source = view.basic_constraints, "RFC 5280 §4.2.1.9"
    if constraints is None:
        return
    extension = view.find(oids.BASIC_CONSTRAINTS)
    if constraints.explicit_false:
        yield error("basic_constraints_der", "basicConstraints writes out cA FALSE", "X.690 §11.5")
    if constraints.ca and extension is not None and not extension.critical:
        yield error("ca_basic_constraints_critical", "basicConstraints of an authority is not critical", source)
    if constraints.path_length is None:
        return
    if not constraints.ca:
        yield error("path_length_without_ca", "a path length stands in a certificate that is no authority's", source)
    if constraints.path_length < 0:
        yield error("path_length_negative", "the path length is negative", source)


def path_length(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    limit, constraints = context.issuer.path_length, view.basic_constraints
    # Self-issued certificates do not count (§6.1.4 l): a new key of the same authority is as deep as the old one.
    if limit is None or constraints is None or not constraints.ca or view.subject == view.issuer:
        return
    source = "RFC 5280 §6.1.4"
    if limit < 1:
        yield error("path_length_exceeded", "the issuer's path length leaves no room for an authority below", source)
    elif constraints.path_length is None:
        yield warning("path_length_open", f"there is no path length, though the issuer's is {limit}", source)
    elif constraints.path_length >= limit:
        yield error("path_length_exceeded", f"the path length is not below the issuer's {limit}", source)


def key_usage(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    usages, extension, source = view.key_usage, view.find(oids.KEY_USAGE), "RFC 5280 §4.2.1.3"
    if usages is None or extension is None:
        if view.is_authority:
            yield error("ca_key_usage", "the certificate of an authority has no keyUsage", source)
        return
    if not usages:
        yield error("key_usage_empty", "keyUsage has no bit set", source)
    if not _is_named_bit_list(extension.value):
        yield error("key_usage_der", "keyUsage is not encoded in its shortest form", "X.690 §11.2.2")
    if not extension.critical:
        yield warning("key_usage_critical", "keyUsage is not critical", source)
    if view.is_authority and KeyUsage.KEY_CERT_SIGN not in usages:
        yield error("ca_key_cert_sign", "an authority may not sign certificates (keyCertSign)", source)
    if not view.is_authority and KeyUsage.KEY_CERT_SIGN in usages:
        yield error("key_cert_sign_without_ca", "keyCertSign stands in a certificate that is no authority's", source)
    alone = usages & {KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY}
    if alone and KeyUsage.KEY_AGREEMENT not in usages:
        yield warning("key_usage_without_agreement", f"{_list(alone)} means nothing without keyAgreement", source)


def _is_named_bit_list(value: bytes) -> bool:
    """Trailing zero bits are left out, and counted as unused."""
    if len(value) < 4:
        return True
    unused, last = value[2], value[-1]
    return unused < 8 and last != 0 and (last & -last).bit_length() - 1 == unused


def key_usage_fits_key(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    rule, usages = _KEY_RULES.get(view.key_algorithm), view.key_usage
    if rule is None or not usages:
        return
    wrong = usages - rule.allowed
    if wrong:
        yield error("key_usage_fits_key", f"the key cannot be used for {_list(wrong)}", rule.source)


def extended_key_usage(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    usages, extension, source = view.extended_key_usage, view.find(oids.EXTENDED_KEY_USAGE), "RFC 5280 §4.2.1.12"
    if usages is None or extension is None:
        return
    if not usages:
        yield error("extended_key_usage_empty", "extendedKeyUsage is empty", source)
    if len(set(usages)) != len(usages):
        yield error("extended_key_usage_duplicate", "extendedKeyUsage names a usage twice", source)
    if _ANY in usages:
        yield warning("any_extended_key_usage", "extendedKeyUsage allows any usage", "CA/B Forum BR §7.1.2.10.6")
        if extension.critical:
            yield warning("any_extended_key_usage_critical", "anyExtendedKeyUsage is critical", source)
    if _TIME_STAMPING in usages and not view.is_authority:
        if len(usages) > 1:
            yield error("time_stamping_alone", "timeStamping stands beside other usages", "RFC 3161 §2.3")
        if not extension.critical:
            yield error("time_stamping_critical", "extendedKeyUsage with timeStamping is not critical", "RFC 3161 §2.3")


class _Purpose(NamedTuple):
    usage: str
    needs: frozenset[KeyUsage]


_SIGN: Final = frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION})
_PURPOSES: Final = tuple(
    _Purpose(EXTENDED_KEY_USAGES[name], needs)
    for name, needs in (
        ("serverAuth", frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_ENCIPHERMENT, KeyUsage.KEY_AGREEMENT})),
        ("clientAuth", frozenset({KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT})),
        ("codeSigning", frozenset({KeyUsage.DIGITAL_SIGNATURE})),
        ("emailProtection", _SIGN | {KeyUsage.KEY_ENCIPHERMENT, KeyUsage.KEY_AGREEMENT}),
        ("timeStamping", _SIGN),
        ("OCSPSigning", _SIGN),
    )
)


def usages_are_consistent(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    """RFC 5280 §4.2.1.12: a purpose must be consistent with both extensions, or nobody may use the key for it."""
    extended, usages = view.extended_key_usage, view.key_usage
    if not extended or usages is None or view.is_authority:
        return
    for purpose in _PURPOSES:
        if purpose.usage in extended and not usages & purpose.needs:
            name = next(name for name, oid in EXTENDED_KEY_USAGES.items() if oid == purpose.usage)
            yield warning("usages_inconsistent", f"{name} needs {_list(purpose.needs)}", "RFC 5280 §4.2.1.12")


def ocsp_nocheck(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension = view.find(oids.OCSP_NOCHECK)
    responder = _OCSP_SIGNING in (view.extended_key_usage or ()) and not view.is_authority
    source = "RFC 6960 §4.2.2.2.1"
    if extension is None:
        if responder:
            yield warning("ocsp_nocheck_missing", "an OCSP responder's certificate has no ocsp-nocheck", source)
        return
    if extension.value != b"\x05\x00":
        yield error("ocsp_nocheck_value", "ocsp-nocheck is not NULL", source)
    if extension.critical:
        yield warning("ocsp_nocheck_critical", "ocsp-nocheck is critical", source)
    if not responder:
        yield warning("ocsp_nocheck_misplaced", "ocsp-nocheck stands outside a responder's certificate", source)


def _list(usages: frozenset[KeyUsage]) -> str:
    return " or ".join(usage.value for usage in KeyUsage if usage in usages)
