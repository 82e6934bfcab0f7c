"""What a certificate will say: a template, a wish and an issuer become a TBSCertificate, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from pkiconf.der import oids
from pkiconf.der.extensions import (
    extended_key_usage,
    parse_subject_key_identifier,
    subject_alternative_names,
    subject_key_identifier,
)
from pkiconf.der.keys import key_identifier
from pkiconf.der.names import encode_name
from pkiconf.errors import Refused
from pkiconf.model.certificate import Extension, IssuerFacts, TBSCertificate
from pkiconf.model.keys import KeyAlgorithm, KeyType, SignatureAlgorithm, get_signature_algorithm
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.request import Wanted
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy import extensions as made
from pkiconf.policy.claims import claims_of
from pkiconf.policy.constraints import check_claims
from pkiconf.policy.key_rules import check_allowed_key
from pkiconf.policy.name_rules import NamePolicy, check_names, compile_names
from pkiconf.policy.overrides import unique_names
from pkiconf.policy.subjects import decide_subject
from pkiconf.policy.transparency import check_transparency
from pkiconf.policy.validity import decide_validity
from pkiconf.policy.wishes import Granted, check_wishes
from pkiconf.spec.template import TemplateSpec

_SERVER_USAGES: Final = {EXTENDED_KEY_USAGES["serverAuth"], EXTENDED_KEY_USAGES["anyExtendedKeyUsage"]}
_SKI_SIZES: Final = range(8, 33)

signature_algorithm = lru_cache(maxsize=256)(get_signature_algorithm)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTemplate:
    """A template version with everything made that does not depend on a request. Make it once a version."""

    spec: TemplateSpec
    names: NamePolicy
    granted: Granted
    fixed_subject: Name
    for_servers: bool
    basic_constraints: Extension
    key_usages: Mapping[KeyType, Extension]
    extended_key_usage: tuple[Extension, ...]
    tail: tuple[Extension, ...]


def compile_template(spec: TemplateSpec) -> CompiledTemplate:
    """Raises Refused (or Malformed) for a template that could issue nothing sound, saying which field is to blame."""
    _check_roles(spec)
    made.check_policies(spec.extensions)
    check_transparency(spec)
    usages = made.usage_oids(spec)
    tail = made.tail(spec)
    return CompiledTemplate(
        spec=spec,
        names=compile_names(spec.names),
        granted=Granted(
            ca=spec.basic_constraints.ca,
            path_length=spec.basic_constraints.path_length,
            key_usages=frozenset(spec.key_usage.values),
            extended_key_usages=frozenset(usages),
            extensions=frozenset(extension.oid for extension in tail),
        ),
        fixed_subject=spec.subject.values.name() if spec.subject.values else Name(),
        for_servers=not spec.basic_constraints.ca and (not usages or bool(_SERVER_USAGES & set(usages))),
        basic_constraints=made.basic_constraints(spec),
        key_usages=made.key_usages(spec),
        extended_key_usage=(extended_key_usage(usages, spec.extended_key_usage.critical),) if usages else (),
        tail=tail,
    )


def check_template(spec: TemplateSpec, issuer_key: KeyAlgorithm) -> None:
    """Raise Refused, Malformed or UnsupportedAlgorithm for a template that an issuer with this key cannot serve."""
    compile_template(spec)
    get_signature_algorithm(issuer_key, spec.signature_hash)


def _check_roles(spec: TemplateSpec) -> None:
    ca, usages = spec.basic_constraints.ca, spec.key_usage.values
    if ca and KeyUsage.KEY_CERT_SIGN not in usages:
        raise Refused("key_usage: an authority needs keyCertSign (RFC 5280 §4.2.1.9)")
    if not ca and KeyUsage.KEY_CERT_SIGN in usages:
        raise Refused("key_usage: keyCertSign is for authorities (RFC 5280 §4.2.1.3)", "Set basic_constraints.ca")
    if not ca and spec.name_constraints is not None:
        raise Refused("name_constraints are for authorities (RFC 5280 §4.2.1.10)", "Use names.allow")


def evaluate(
    template: TemplateSpec | CompiledTemplate,
    wanted: Wanted,
    issuer: IssuerFacts,
    serial_number: int,
    now: datetime,
) -> TBSCertificate:
    """The certificate that `wanted` gets from `template` under `issuer`, at `now` (aware).

    Pass a CompiledTemplate where many certificates are made. Raises Refused with a sentence for a requester,
    Malformed for a wish that cannot be read, UnsupportedAlgorithm for a hash that the issuer's key cannot do.
    """
    compiled = template if isinstance(template, CompiledTemplate) else compile_template(template)
    spec = compiled.spec
    if not spec.enabled or spec.state == "absent":
        raise Refused(f"template {spec.name!r} is disabled and issues nothing")
    check_allowed_key(wanted.key, spec.allowed_keys)
    check_wishes(wanted.extensions, compiled.granted)
    subject = decide_subject(spec.subject.from_, compiled.fixed_subject, wanted.subject, wanted.overrides.set_subject)
    sans = unique_names(wanted.sans)
    subject_der = encode_name(subject)
    self_issued = subject_der == issuer.subject
    self_signed = self_issued and wanted.spki == issuer.spki
    _check_names(compiled, subject, sans, issuer, self_issued)
    _check_place(compiled, issuer, wanted, self_issued, self_signed)
    not_before, not_after = decide_validity(
        spec.validity, spec.max_validity, wanted.overrides, None if self_signed else issuer, now
    )
    return TBSCertificate(
        serial_number=serial_number,
        signature=_signature(spec, issuer),
        issuer=issuer.subject,
        not_before=not_before,
        not_after=not_after,
        subject=subject_der,
        spki=wanted.spki,
        extensions=_extensions(compiled, wanted, issuer, serial_number, subject, sans, self_signed),
    )


def _check_names(
    compiled: CompiledTemplate, subject: Name, sans: tuple[GeneralName, ...], issuer: IssuerFacts, self_issued: bool
) -> None:
    ca = compiled.granted.ca
    if not subject.rdns and (ca or not sans):
        raise Refused("the certificate would name nobody", "Give a subject" + ("" if ca else " or an alternative name"))
    claims = claims_of(subject, sans, end_entity=not ca, single_labels=compiled.for_servers)
    check_names(compiled.names, subject, claims)
    # RFC 5280 §6.1.3: the constraints of an authority do not bind the certificates that it issues to itself.
    if not (ca and self_issued):
        check_claims(claims, subject, issuer.constraints)


def _check_place(
    compiled: CompiledTemplate, issuer: IssuerFacts, wanted: Wanted, self_issued: bool, self_signed: bool
) -> None:
    """Below this issuer: no end entity that could be mistaken for it, no authority that its path length rules out."""
    granted = compiled.granted
    if not granted.ca:
        if self_issued:
            raise Refused(f"the subject is that of authority {issuer.authority!r} itself")
        if wanted.spki == issuer.spki:
            raise Refused(f"the key is that of authority {issuer.authority!r} itself")
        return
    if self_signed or issuer.path_length is None:
        return
    # RFC 5280 §6.1.4: certificates that an authority issues to itself do not count.
    room = issuer.path_length if self_issued else issuer.path_length - 1
    if room < 0:
        raise Refused(
            f"authority {issuer.authority!r} has path length {issuer.path_length} and may issue no other authority"
        )
    if granted.path_length is None or granted.path_length > room:
        asked = "unlimited" if granted.path_length is None else granted.path_length
        raise Refused(
            f"path length {asked} does not fit below authority {issuer.authority!r}", f"At most {room} is possible"
        )


def _signature(spec: TemplateSpec, issuer: IssuerFacts) -> SignatureAlgorithm:
    if spec.signature_hash is None:
        return issuer.signature
    return signature_algorithm(issuer.key, spec.signature_hash, issuer.signature.padding)


def _extensions(
    compiled: CompiledTemplate,
    wanted: Wanted,
    issuer: IssuerFacts,
    serial_number: int,
    subject: Name,
    sans: tuple[GeneralName, ...],
    self_signed: bool,
) -> tuple[Extension, ...]:
    key_type = wanted.key.type
    usage = compiled.key_usages.get(key_type)
    if usage is None and compiled.spec.key_usage.values:
        raise Refused(f"a key of type {wanted.key} can carry none of the template's key usages")
    ski = issuer.ski if self_signed else _subject_key_identifier(compiled, wanted)
    return (
        made.authority_key_identifier(issuer.ski),
        subject_key_identifier(ski),
        compiled.basic_constraints,
        *((usage,) if usage else ()),
        *compiled.extended_key_usage,
        # RFC 5280 §4.1.2.6: critical where the subject is empty, since nothing else names the holder then.
        *((subject_alternative_names(sans, critical=not subject.rdns),) if sans else ()),
        *made.pointers(compiled.spec.extensions, issuer, serial_number, self_signed=self_signed),
        *compiled.tail,
    )


def _subject_key_identifier(compiled: CompiledTemplate, wanted: Wanted) -> bytes:
    """RFC 5280 §4.2.1.2. An authority that already has an identifier keeps it (the one wish that is followed):
    what it has issued points to it."""
    if compiled.granted.ca:
        for extension in wanted.extensions:
            if extension.oid == oids.SUBJECT_KEY_IDENTIFIER:
                asked = parse_subject_key_identifier(extension.value)
                if len(asked) in _SKI_SIZES:
                    return asked
    return key_identifier(wanted.spki)
