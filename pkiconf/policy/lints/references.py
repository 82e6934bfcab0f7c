"""Lints over what a certificate points to: access locations, CRL distribution points, policies (RFC 5280 §4.2).

These extensions are the same in thousands of certificates, so what was found is kept by their octets.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from pkiconf.der import oids
from pkiconf.der.tlv import SEQUENCE, Element, read_element, read_elements
from pkiconf.policy.lints.alternative_names import uri_problem
from pkiconf.policy.lints.finding import Finding, LintContext, error, warning
from pkiconf.policy.lints.view import CertificateView, parse_oid

_URI: Final = 0x86
_IA5: Final = 0x16
_EXPLICIT_TEXT_LIMIT: Final = 200


def authority_information_access(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension = view.find(oids.AUTHORITY_INFORMATION_ACCESS)
    if extension is not None:
        yield from _access_findings(extension.value)


@lru_cache(maxsize=256)
def _access_findings(value: bytes) -> tuple[Finding, ...]:
    return tuple(_lint_access(value))


def _lint_access(value: bytes) -> Iterator[Finding]:
    source = "RFC 5280 §4.2.2.1"
    descriptions = read_elements(read_element(value, "authorityInfoAccess", SEQUENCE).content, "authorityInfoAccess")
    if not descriptions:
        yield error("aia_empty", "authorityInfoAccess is empty", source)
    if len({description.der for description in descriptions}) != len(descriptions):
        yield warning("aia_duplicate", "authorityInfoAccess names a location twice", source)
    for description in descriptions:
        method, location = read_elements(description.content, "an access description")
        if parse_oid(method.der) not in (oids.AD_OCSP, oids.AD_CA_ISSUERS):
            yield warning("aia_method", "authorityInfoAccess holds an access method that is not understood", source)
        yield from _lint_location(location, "aia", source)


def _lint_location(location: Element, lint: str, source: str) -> Iterator[Finding]:
    if location.tag != _URI:
        yield warning(f"{lint}_not_uri", "a location is not a URI", source)
        return
    problem = uri_problem(location.content)
    if problem:
        yield error(f"{lint}_uri", f"the URI {location.content!r} {problem}", source)
    elif not location.content.lower().startswith(b"http://"):
        # §8: looking up a certificate's status must not need another certificate first.
        yield warning(f"{lint}_scheme", f"the URI {location.content!r} is not plain http", f"{source}, §8")


def crl_distribution_points(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension = view.find(oids.CRL_DISTRIBUTION_POINTS)
    if extension is not None:
        yield from _distribution_findings(extension.value)


@lru_cache(maxsize=1024)
def _distribution_findings(value: bytes) -> tuple[Finding, ...]:
    return tuple(_lint_distribution(value))


def _lint_distribution(value: bytes) -> Iterator[Finding]:
    source = "RFC 5280 §4.2.1.13"
    points = read_elements(read_element(value, "cRLDistributionPoints", SEQUENCE).content, "cRLDistributionPoints")
    if not points:
        yield error("cdp_empty", "cRLDistributionPoints is empty", source)
    for point in points:
        fields = {field.tag: field for field in read_elements(point.content, "a distribution point")}
        if 0xA0 not in fields and 0xA2 not in fields:
            yield error("cdp_point", "a distribution point names neither a place nor a CRL issuer", source)
        if 0x81 in fields:
            yield warning("cdp_reasons", "a distribution point covers only some reasons", source)
        if 0xA0 in fields:
            yield from _lint_point_name(read_element(fields[0xA0].content, "a distribution point"), source)


def _lint_point_name(name: Element, source: str) -> Iterator[Finding]:
    if name.tag != 0xA0:
        yield warning("cdp_relative", "a distribution point is named relative to its issuer", source)
        return
    locations = read_elements(name.content, "a distribution point")
    if not locations:
        yield error("cdp_point", "a distribution point names no place", source)
    for location in locations:
        yield from _lint_location(location, "cdp", source)


def certificate_policies(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    extension = view.find(oids.CERTIFICATE_POLICIES)
    if extension is not None:
        yield from _policy_findings(extension.value)


@lru_cache(maxsize=256)
def _policy_findings(value: bytes) -> tuple[Finding, ...]:
    return tuple(_lint_policies(value))


def _lint_policies(value: bytes) -> Iterator[Finding]:
    source = "RFC 5280 §4.2.1.4"
    policies = read_elements(read_element(value, "certificatePolicies", SEQUENCE).content, "certificatePolicies")
    if not policies:
        yield error("policies_empty", "certificatePolicies is empty", source)
    seen: set[str] = set()
    for policy in policies:
        parts = read_elements(policy.content, "a certificate policy")
        oid = parse_oid(parts[0].der)
        if oid in seen:
            yield error("policy_duplicate", f"policy {oid} comes twice", source)
        seen.add(oid)
        for qualifiers in parts[1:]:
            yield from _lint_qualifiers(qualifiers, source)


def _lint_qualifiers(qualifiers: Element, source: str) -> Iterator[Finding]:
    members = read_elements(qualifiers.content, "policy qualifiers")
    if not members:
        yield error("policy_qualifiers_empty", "a policy has an empty list of qualifiers", source)
    for member in members:
        kind, qualifier = read_elements(member.content, "a policy qualifier")
        match parse_oid(kind.der):
            case oids.QUALIFIER_CPS:
                if qualifier.tag != _IA5 or uri_problem(qualifier.content):
                    yield error("policy_cps_uri", f"the CPS pointer {qualifier.content!r} is not a URI", source)
            case oids.QUALIFIER_USER_NOTICE:
                yield from _lint_notice(qualifier, source)
            case other:
                yield warning("policy_qualifier", f"policy qualifier {other} is not understood", source)


_NOTICE_CODECS: Final = {0x0C: "utf-8", 0x16: "ascii", 0x1A: "ascii", 0x1E: "utf-16-be"}


def _lint_notice(notice: Element, source: str) -> Iterator[Finding]:
    for text in read_elements(notice.content, "a user notice"):
        codec = _NOTICE_CODECS.get(text.tag)
        if codec is None:
            continue
        if text.tag != 0x0C:
            yield warning("policy_notice_type", "a user notice is not a UTF8String", source)
        if len(text.content.decode(codec, "replace")) > _EXPLICIT_TEXT_LIMIT:
            yield error(
                "policy_notice_length", f"a user notice has more than {_EXPLICIT_TEXT_LIMIT} characters", source
            )
