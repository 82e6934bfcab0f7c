"""Issuing in a test: keys, issuers and wishes in one line each, and certificates that strangers can judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from pkiconf.der import extensions as encode
from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate
from pkiconf.der.keys import key_identifier, parse_public_key
from pkiconf.der.names import encode_name, parse_general_name_text, parse_name_text
from pkiconf.model.attributes import BY_NAME
from pkiconf.model.certificate import Extension, IssuerFacts, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, get_key_algorithm, get_signature_algorithm
from pkiconf.model.names import Attribute, NameConstraints, NameType
from pkiconf.model.request import Overrides, Wanted
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy.overrides import apply_overrides
from pkiconf.policy.starters import template_defaults
from pkiconf.policy.template import evaluate
from pkiconf.spec.template import TemplateSpec
from tests.keys import sign, spki_for

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SERIAL = 0x40_5707_0102030405060708090A0B0C0D0E0F10

_SIGNATURE_OF = {
    "rsa-2048": "sha256WithRSAEncryption",
    "ec-p256": "ecdsa-with-SHA256",
    "ec-p384": "ecdsa-with-SHA384",
    "ec-p521": "ecdsa-with-SHA512",
    "ed25519": "Ed25519",
    "ed448": "Ed448",
    "ml-dsa-44": "ML-DSA-44",
    "ml-dsa-65": "ML-DSA-65",
    "ml-dsa-87": "ML-DSA-87",
}
SUBJECT_KEYS = ("rsa-2048", "ec-p256", "ed25519", "ml-dsa-44")


def spki(kind: str) -> bytes:
    """A public key of this kind; the same one all the time."""
    return spki_for(SIGNATURE_ALGORITHMS[_SIGNATURE_OF[kind]])


def issuer_facts(key: str = "ec-p384", **changes: Any) -> IssuerFacts:
    """An issuing authority below a root: path length 0, no name constraints, valid 2025 to 2030."""
    algorithm = get_key_algorithm(key)
    facts: dict[str, Any] = {
        "issuer_id": 1,
        "authority": "corp-issuing",
        "slug": "corp-issuing",
        "generation": 1,
        "subject": encode_name(parse_name_text("CN=Corp Issuing CA 1,O=Example Corp,C=NL")),
        "spki": spki(key),
        "ski": key_identifier(spki(key)),
        "key": algorithm,
        "signature": get_signature_algorithm(algorithm),
        "not_before": datetime(2025, 1, 1, tzinfo=UTC),
        "not_after": datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC),
        "path_length": 0,
        "constraints": (),
        "aia_url": "http://pki.corp.example/ca/corp-issuing/1.crt",
        "ocsp_url": "http://pki.corp.example/ocsp/corp-issuing",
        "crl_url": "http://pki.corp.example/crl/corp-issuing/1.crl",
        "cps_url": "http://pki.corp.example/cps/corp-issuing",
    }
    return IssuerFacts(**{**facts, **changes})


def template(**explicit: Any) -> TemplateSpec:
    return TemplateSpec.model_validate(
        template_defaults({"name": "under-test", "authority": "corp-issuing", **explicit})
    )


def wanted(
    subject: str = "CN=web.corp.example",
    sans: Sequence[str] = (),
    key: str = "ec-p256",
    asks: Mapping[str, Any] | None = None,
    overrides: Overrides | None = None,
) -> Wanted:
    request = Wanted(
        subject=parse_name_text(subject),
        spki=spki(key),
        key=parse_public_key(spki(key)),
        sans=tuple(map(parse_general_name_text, sans)),
        extensions=wishes(asks or {}),
    )
    return apply_overrides(request, overrides)


def wishes(asks: Mapping[str, Any]) -> tuple[Extension, ...]:
    """CSR extensions: `ca`, `path_length`, `key_usage`, `extended_key_usage`, `ski`, or an OID: {critical, der}."""
    made = []
    for name, value in asks.items():
        match name:
            case "ca":
                made.append(encode.basic_constraints(value, asks.get("path_length")))
            case "path_length":
                pass
            case "key_usage":
                made.append(encode.key_usage([KeyUsage(usage) for usage in value]))
            case "extended_key_usage":
                made.append(encode.extended_key_usage([EXTENDED_KEY_USAGES.get(usage, usage) for usage in value]))
            case "ski":
                made.append(encode.subject_key_identifier(bytes.fromhex(value)))
            case oid:
                made.append(Extension(oid, value.get("critical", False), bytes.fromhex(value["der"])))
    return tuple(made)


def overrides(given: Mapping[str, Any]) -> Overrides:
    """`set: {O: text}` (a list sets several values, an empty text removes), `add`, `remove`, `days`, two ends."""
    attributes = [
        Attribute(BY_NAME[name.lower()].oid, value)
        for name, values in given.get("set", {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Overrides(
        set_subject=tuple(attributes),
        add_sans=tuple(map(parse_general_name_text, given.get("add", ()))),
        remove_sans=tuple(map(parse_general_name_text, given.get("remove", ()))),
        days=given.get("days"),
        not_before=_moment(given.get("not_before")),
        not_after=_moment(given.get("not_after")),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def constraints(permitted: Sequence[str] = (), excluded: Sequence[str] = ()) -> NameConstraints:
    """From `dns:corp.example` and the like."""
    return NameConstraints(tuple(map(_subtree, permitted)), tuple(map(_subtree, excluded)))


def _subtree(text: str) -> tuple[NameType, str]:
    kind, _, value = text.partition(":")
    return NameType(kind), value


def signed(tbs: TBSCertificate) -> bytes:
    """The certificate, DER: for issuers made by `issuer_facts`."""
    encoded = encode_tbs_certificate(tbs)
    return assemble_certificate(encoded, tbs.signature, sign(tbs.signature, encoded))


def issue(
    spec: TemplateSpec, request: Wanted, issuer: IssuerFacts | None = None, now: datetime = NOW
) -> x509.Certificate:
    """Evaluated, encoded, signed, and read by somebody else's parser."""
    return x509.load_der_x509_certificate(signed(evaluate(spec, request, issuer or issuer_facts(), SERIAL, now)))
