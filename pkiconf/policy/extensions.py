"""The extensions of a certificate, made from a template, its issuer and its subject.

What depends on the template alone is made once, when it is compiled; what depends on the issuer is kept
for the next certificate; only the names and the key identifier belong to each certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pkiconf.der import extensions as encode
from pkiconf.der import oids
from pkiconf.der.extensions import PolicyInformation
from pkiconf.model.certificate import Extension, IssuerFacts
from pkiconf.model.keys import KeyType
from pkiconf.model.names import NameConstraints, NameType
from pkiconf.model.usages import EXTENDED_KEY_USAGES
from pkiconf.policy.crl_parts import delta_url, part_of, part_url
from pkiconf.policy.key_rules import usable
from pkiconf.spec.authority import NameConstraintsSpec
from pkiconf.spec.extensions import ExtensionsSpec
from pkiconf.spec.template import TemplateSpec

POLICY_NAMES: Final[Mapping[str, str]] = {
    "dv": oids.POLICY_DV,
    "ov": oids.POLICY_OV,
    "iv": oids.POLICY_IV,
    "ev": oids.POLICY_EV,
    "any": oids.ANY_POLICY,
}


def basic_constraints(spec: TemplateSpec) -> Extension:
    """Always there. RFC 5280 §4.2.1.9: critical in every authority's certificate, whatever the template says."""
    rules = spec.basic_constraints
    return encode.basic_constraints(rules.ca, rules.path_length, rules.critical or rules.ca)


def key_usages(spec: TemplateSpec) -> Mapping[KeyType, Extension]:
    """By type of key, without what such a key cannot carry. A type that can carry none of it is missing."""
    rules = spec.key_usage
    carried = {key_type: usable(rules.values, key_type) for key_type in KeyType}
    return {key_type: _key_usage(usages, rules.critical) for key_type, usages in carried.items() if usages}


def usage_oids(spec: TemplateSpec) -> tuple[str, ...]:
    return tuple(EXTENDED_KEY_USAGES.get(usage, usage) for usage in spec.extended_key_usage.values)


def tail(spec: TemplateSpec) -> tuple[Extension, ...]:
    """What follows the pointers and depends on the template alone. Raises Refused, Malformed."""
    made = []
    if spec.name_constraints is not None:
        made.append(encode.name_constraints(constraints_of(spec.name_constraints)))
    if spec.extensions.must_staple:
        made.append(encode.tls_feature_must_staple())
    if spec.extensions.ocsp_nocheck:
        made.append(encode.ocsp_nocheck())
    made.extend(encode.custom(row.oid, row.critical, bytes.fromhex(row.der)) for row in spec.extensions.custom)
    return tuple(made)


def constraints_of(spec: NameConstraintsSpec) -> NameConstraints:
    """Declared name constraints as a value."""
    permitted, excluded = (
        tuple((kind, text) for kind in NameType for text in getattr(rules, kind.value, ()))
        for rules in (spec.permitted, spec.excluded)
    )
    return NameConstraints(permitted, excluded, spec.critical)


def pointers(
    spec: ExtensionsSpec, issuer: IssuerFacts, serial_number: int, *, self_signed: bool
) -> tuple[Extension, ...]:
    """Policies, AIA and CRL distribution point. A self-signed root points nowhere: nobody above it knows better."""
    rows = _policy_rows(spec)
    policies = (_policies(rows, issuer.cps_url),) if rows else ()
    if self_signed:
        return policies
    ocsp = (issuer.ocsp_url,) if spec.ocsp else ()
    aia = (spec.aia_url or issuer.aia_url,) if spec.aia else ()
    access = (_access(ocsp, aia),) if ocsp or aia else ()
    points = _crl_pointers(issuer, part_of(serial_number, issuer.crl_partitions)) if spec.crl else ()
    return (*policies, *access, *points)


def _crl_pointers(issuer: IssuerFacts, part: int) -> tuple[Extension, ...]:
    points = (_points((part_url(issuer.crl_url, part),)),)
    return (*points, _freshest((delta_url(issuer.crl_url, part),))) if issuer.delta_crls else points


PolicyRow = tuple[str, bool, str | None]


def _policy_rows(spec: ExtensionsSpec) -> tuple[PolicyRow, ...]:
    """OID, whether with the CPS URL, and user notice. `cps` without a policy hangs the URL on anyPolicy."""
    if spec.cps and not spec.policies:
        return ((oids.ANY_POLICY, True, None),)
    return tuple((POLICY_NAMES.get(row.oid, row.oid), spec.cps and row.cps, row.notice) for row in spec.policies)


@lru_cache(maxsize=256)
def _policies(rows: tuple[PolicyRow, ...], cps_url: str) -> Extension:
    return encode.certificate_policies(
        [PolicyInformation(oid, (cps_url,) if with_cps else (), notice) for oid, with_cps, notice in rows]
    )


_key_usage = lru_cache(maxsize=256)(encode.key_usage)
_access = lru_cache(maxsize=256)(encode.authority_information_access)
_points = lru_cache(maxsize=8192)(encode.crl_distribution_points)
_freshest = lru_cache(maxsize=8192)(encode.freshest_crl)
authority_key_identifier = lru_cache(maxsize=256)(encode.authority_key_identifier)


def check_policies(spec: ExtensionsSpec) -> None:
    """Raise Refused for policies that no certificate can hold: one of them twice, by name and by OID."""
    rows = _policy_rows(spec)
    if rows:
        _policies(rows, "http://cps.invalid/")
