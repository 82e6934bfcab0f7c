"""What issuing under an issuer depends on, read from the rows and kept while they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.extensions import parse_basic_constraints, parse_name_constraints
from pkiconf.der.oids import BASIC_CONSTRAINTS, NAME_CONSTRAINTS
from pkiconf.der.pem import pem_decode_all
from pkiconf.errors import Conflict, UnsupportedAlgorithm
from pkiconf.model.certificate import IssuerFacts
from pkiconf.model.keys import SignatureAlgorithm, get_key_algorithm, get_signature_algorithm
from pkiconf.model.names import NameConstraints
from pkiconf.policy.lints import LintContext
from pkiconf.policy.template import CompiledTemplate, compile_template
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.settings import Settings
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import authorities, keys, settings, templates
from pkiconf.store.database import Connection

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuthorityURLs:
    """Where relying parties find what belongs to one issuer; all but `tsa` are baked into certificates."""

    aia: str
    ocsp: str
    crl: str
    cps: str
    chain: str
    tsa: str


def authority_urls(pki: Settings, spec: AuthoritySpec, slug: str, generation: int) -> AuthorityURLs:
    base = pki.status_url
    return AuthorityURLs(
        aia=spec.urls.aia or f"{base}/ca/{slug}/{generation}.crt",
        ocsp=spec.urls.ocsp or f"{base}/ocsp/{slug}",
        crl=spec.urls.crl or f"{base}/crl/{slug}/{generation}.crl",
        cps=spec.urls.cps or f"{base}/cps/{slug}",
        chain=f"{base}/ca/{slug}/chain.p7c",
        tsa=f"{base}/tsa/{slug}",
    )


def authority_spec(row: authorities.AuthorityRow) -> AuthoritySpec:
    return AuthoritySpec.model_validate(json.loads(row.spec))


def load_settings(c: Connection) -> Settings:
    row = settings.find_setting(c, "settings")
    return Settings.model_validate(json.loads(row.spec)) if row else Settings()


def signature_algorithm(spec: AuthoritySpec, key: keys.KeyRow) -> SignatureAlgorithm:
    """What an authority's key signs with unless a template asks for another hash.

    After a rollover the declaration speaks of the new key: an old one of another kind, which still signs CRLs and its
    responder's certificates, keeps to its own default.
    """
    algorithm = get_key_algorithm(key.algorithm)
    try:
        return get_signature_algorithm(algorithm, spec.signature_hash, spec.signature_padding)
    except UnsupportedAlgorithm:
        return get_signature_algorithm(algorithm)


def path_to_root(c: Connection, issuer_id: int) -> tuple[bytes, ...]:
    """The issuer's own preferred certificate and everything above it, nearest first, the root included."""
    path: list[bytes] = []
    seen: set[int] = set()
    current: int | None = issuer_id
    while current is not None and current not in seen:
        seen.add(current)
        row = authorities.find_ca_certificate(c, current)
        if row is None:
            break
        path.append(row.der)
        if row.role == "external":
            path.extend(pem_decode_all(row.chain or b"", "CERTIFICATE"))
            break
        current = row.signed_by_issuer_id if row.role != "self" else None
    return tuple(path)


def chain_of(c: Connection, issuer_id: int) -> tuple[bytes, ...]:
    """What a server sends after its own certificate: the path without a self-signed root."""
    return tuple(der for der in path_to_root(c, issuer_id) if not _is_self_issued(parse_certificate(der)))


def load_issuer_facts(c: Connection, issuer_id: int, *, own_certificate: bool = False) -> IssuerFacts:
    """The facts for issuing under an issuer. `own_certificate`: for the certificate it signs for itself, which
    nothing above it limits. Raises Conflict if the issuer has no certificate yet."""
    issuer = authorities.get_issuer(c, issuer_id)
    authority = authorities.get_authority(c, issuer.authority_id)
    key = keys.get_key(c, issuer.key_id)
    spec = authority_spec(authority)
    urls = authority_urls(load_settings(c), spec, authority.slug, issuer.generation)
    path = () if own_certificate else tuple(parse_certificate(der) for der in path_to_root(c, issuer_id))
    if not path and not own_certificate:
        raise Conflict(
            f"authority {authority.name!r} has no certificate yet",
            "Finish it with `pkiconf apply`, or install its certificate with `pkiconf authority install-cert`",
        )
    return IssuerFacts(
        issuer_id=issuer_id,
        authority=authority.name,
        slug=authority.slug,
        generation=issuer.generation,
        subject=issuer.subject,
        spki=key.spki,
        ski=issuer.ski,
        key=get_key_algorithm(key.algorithm),
        signature=signature_algorithm(spec, key),
        not_before=path[0].not_before if path else _EVER,
        not_after=min((certificate.not_after for certificate in path), default=_NEVER),
        path_length=_tightest_path_length(path),
        constraints=_constraints(path),
        aia_url=urls.aia,
        ocsp_url=urls.ocsp,
        crl_url=urls.crl,
        cps_url=urls.cps,
        crl_partitions=spec.crl.partitions,
        delta_crls=spec.crl.delta is not None,
    )


def _is_self_issued(certificate: Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _tightest_path_length(path: tuple[Certificate, ...]) -> int | None:
    """How many authorities may still follow: each certificate above counts those between it and the end (§6.1.4)."""
    limits: list[int] = []
    for depth, certificate in enumerate(path):
        extension = certificate.extension(BASIC_CONSTRAINTS)
        if extension is None:
            continue
        limit = parse_basic_constraints(extension.value)[1]
        if limit is not None:
            below = sum(1 for lower in path[:depth] if not _is_self_issued(lower))
            limits.append(limit - below)
    return min(limits) if limits else None


def _constraints(path: tuple[Certificate, ...]) -> tuple[NameConstraints, ...]:
    found = (certificate.extension(NAME_CONSTRAINTS) for certificate in path)
    return tuple(parse_name_constraints(extension.value) for extension in found if extension is not None)


@dataclass(frozen=True, slots=True)
class IssuingContext:
    """Everything an order needs besides the request: valid for as long as `stamp` is what the rows say."""

    stamp: templates.IssuingStamp
    facts: IssuerFacts
    template: CompiledTemplate
    template_version_id: int
    chain: tuple[bytes, ...]
    key: keys.KeyRow
    own_certificate: bool
    """For what the issuer signs for its own key."""
    lints: LintContext


class IssuingContexts:
    """Contexts of this process, rebuilt when a row behind them has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bool], IssuingContext] = {}

    def find(self, issuer_id: int, template_id: int, *, own_certificate: bool) -> IssuingContext | None:
        """The one used last, which may have been overtaken. Good enough to prepare a certificate with, since the
        reservation looks at the stamp in its own transaction; not to refuse one."""
        return self._known.get((issuer_id, template_id, own_certificate))

    def load(self, c: Connection, issuer_id: int, template_id: int, *, own_certificate: bool) -> IssuingContext:
        """As the rows say now. Raises NotFound for a row that is gone, Conflict for an issuer without a certificate."""
        stamp = templates.issuing_stamp(c, template_id, issuer_id)
        place = (issuer_id, template_id, own_certificate)
        known = self._known.get(place)
        if known is None or known.stamp != stamp:
            known = self._known[place] = _build(c, stamp, issuer_id, own_certificate)
        return known


def _build(c: Connection, stamp: templates.IssuingStamp, issuer_id: int, own_certificate: bool) -> IssuingContext:
    version = templates.get_template_version(c, stamp.template_version_id)
    issuer = authorities.get_issuer(c, issuer_id)
    facts = load_issuer_facts(c, issuer_id, own_certificate=own_certificate)
    return IssuingContext(
        stamp=stamp,
        facts=facts,
        template=compile_template(TemplateSpec.model_validate(json.loads(version.resolved))),
        template_version_id=version.id,
        chain=chain_of(c, issuer_id),
        key=keys.get_key(c, issuer.key_id),
        own_certificate=own_certificate,
        lints=LintContext(facts, self_issued=own_certificate),
    )
