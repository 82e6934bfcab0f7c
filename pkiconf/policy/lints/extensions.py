"""Lints over the list of extensions, over who must be critical, and over key identifiers (RFC 5280 §4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from pkiconf.der import oids
from pkiconf.der.tlv import OCTET_STRING, SEQUENCE, Element, read_element, read_elements
from pkiconf.policy.lints.finding import Finding, LintContext, Severity, error, warning
from pkiconf.policy.lints.view import CertificateView


class _Criticality(NamedTuple):
    critical: bool
    severity: Severity
    source: str


_MUST, _SHOULD = Severity.ERROR, Severity.WARNING
_CRITICALITY: Final[Mapping[str, _Criticality]] = MappingProxyType(
    {
        oids.AUTHORITY_KEY_IDENTIFIER: _Criticality(False, _MUST, "RFC 5280 §4.2.1.1"),
        oids.SUBJECT_KEY_IDENTIFIER: _Criticality(False, _MUST, "RFC 5280 §4.2.1.2"),
        oids.AUTHORITY_INFORMATION_ACCESS: _Criticality(False, _MUST, "RFC 5280 §4.2.2.1"),
        oids.SUBJECT_INFORMATION_ACCESS: _Criticality(False, _MUST, "RFC 5280 §4.2.2.2"),
        oids.FRESHEST_CRL: _Criticality(False, _MUST, "RFC 5280 §4.2.1.15"),
        oids.CRL_DISTRIBUTION_POINTS: _Criticality(False, _SHOULD, "RFC 5280 §4.2.1.13"),
        oids.ISSUER_ALTERNATIVE_NAME: _Criticality(False, _SHOULD, "RFC 5280 §4.2.1.7"),
        oids.TLS_FEATURE: _Criticality(False, _SHOULD, "RFC 7633 §4"),
        # A MUST of RFC 5280; a warning, because a declaration may ask for the contrary on purpose.
        oids.NAME_CONSTRAINTS: _Criticality(True, _SHOULD, "RFC 5280 §4.2.1.10"),
        oids.POLICY_MAPPINGS: _Criticality(True, _SHOULD, "RFC 5280 §4.2.1.5"),
        oids.POLICY_CONSTRAINTS: _Criticality(True, _MUST, "RFC 5280 §4.2.1.11"),
        oids.INHIBIT_ANY_POLICY: _Criticality(True, _MUST, "RFC 5280 §4.2.1.14"),
    }
)
_UNDERSTOOD: Final = frozenset(
    {
        *_CRITICALITY,
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.EXTENDED_KEY_USAGE,
        oids.SUBJECT_ALTERNATIVE_NAME,
        oids.CERTIFICATE_POLICIES,
        oids.OCSP_NOCHECK,
        oids.CT_POISON,
    }
)


def extension_list(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    if view.extensions is None:
        return
    if not view.extensions:
        yield error("extensions_empty", "the list of extensions is empty", "RFC 5280 §4.1.2.9")
    seen: set[str] = set()
    for extension in view.extensions:
        if extension.oid in seen:
            yield error("extension_duplicate", f"extension {extension.oid} comes twice", "RFC 5280 §4.2")
        seen.add(extension.oid)
        if extension.flag is not None and extension.flag.content != b"\xff":
            yield error(
                "extension_critical_der", f"extension {extension.oid} writes out critical FALSE", "X.690 §11.1, §11.5"
            )


def extension_criticality(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    for extension in view.extensions or ():
        rule = _CRITICALITY.get(extension.oid)
        if rule is not None and extension.critical is not rule.critical:
            words = "not critical" if rule.critical else "critical"
            yield Finding("extension_criticality", rule.severity, f"extension {extension.oid} is {words}", rule.source)
        elif extension.critical and extension.oid not in _UNDERSTOOD:
            yield warning(
                "unknown_critical_extension",
                f"extension {extension.oid} is critical: whoever does not know it must reject the certificate",
                "RFC 5280 §4.2",
            )


@lru_cache(maxsize=256)
def _authority_key_identifier(value: bytes) -> tuple[Element, ...]:
    return tuple(read_elements(read_element(value, "authorityKeyIdentifier", SEQUENCE).content, "a key identifier"))


def authority_key_identifier(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension, source = view.find(oids.AUTHORITY_KEY_IDENTIFIER), "RFC 5280 §4.2.1.1"
    if extension is None:
        if not context.self_issued:
            yield error("authority_key_identifier_missing", "there is no authorityKeyIdentifier", source)
        return
    fields = {field.tag: field.content for field in _authority_key_identifier(extension.value)}
    if 0x80 not in fields:
        yield error("authority_key_identifier_missing", "authorityKeyIdentifier holds no key identifier", source)
    elif fields[0x80] != context.issuer.ski:
        yield error("authority_key_identifier_differs", "authorityKeyIdentifier is not the issuer's identifier", source)
    if (0xA1 in fields) is not (0x82 in fields):
        yield error("authority_key_identifier_half", "authorityKeyIdentifier names half of an issuer", source)


def subject_key_identifier(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension, source = view.find(oids.SUBJECT_KEY_IDENTIFIER), "RFC 5280 §4.2.1.2"
    if extension is None:
        if view.is_authority:
            yield error("subject_key_identifier_missing", "an authority has no subjectKeyIdentifier", source)
        return
    identifier = read_element(extension.value, "subjectKeyIdentifier", OCTET_STRING).content
    if not identifier:
        yield error("subject_key_identifier_empty", "subjectKeyIdentifier is empty", source)
    if context.self_issued and identifier != context.issuer.ski:
        yield error("subject_key_identifier_differs", "subjectKeyIdentifier is not the issuer's own", source)


def name_constraints(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension, source = view.find(oids.NAME_CONSTRAINTS), "RFC 5280 §4.2.1.10"
    if extension is None:
        return
    if not view.is_authority:
        yield error("name_constraints_without_ca", "name constraints stand in a certificate that is no CA's", source)
    subtrees = read_elements(read_element(extension.value, "nameConstraints", SEQUENCE).content, "nameConstraints")
    if not subtrees or any(not subtree.content for subtree in subtrees):
        yield error("name_constraints_empty", "name constraints are empty", source)
