"""Whether an authority's certificate can be issued as declared: asked before anything of it is recorded."""

from __future__ import annotations

from datetime import datetime

from pkiconf.authority.establish import find_cross_partner, signing_issuer
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import parse_name
from pkiconf.errors import Refused
from pkiconf.issuance.issuer import load_issuer_facts
from pkiconf.model.keys import KeyAlgorithm, get_signature_algorithm
from pkiconf.model.request import Overrides, Wanted
from pkiconf.policy.authority import ca_overrides, ca_template
from pkiconf.policy.template import compile_template, evaluate
from pkiconf.policy.validity import decide_validity
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store import authorities
from pkiconf.store.database import Connection


def check_certifiable(
    c: Connection, spec: AuthoritySpec, subject: bytes, algorithm: KeyAlgorithm, spki: bytes, now: datetime
) -> None:
    """Raise what issuing the certificate of an authority with this subject (DER) and key would raise: Refused,
    UnsupportedAlgorithm, and Conflict when the authority above cannot sign yet."""
    get_signature_algorithm(algorithm, spec.signature_hash, spec.signature_padding)
    if spec.issuer == "external":
        return
    template, overrides = compile_template(ca_template(spec)), ca_overrides(spec)
    if spec.issuer == "self":
        decide_validity(template.spec.validity, None, overrides, None, now)
        return
    facts = load_issuer_facts(c, signing_issuer(c, spec))
    evaluate(template, _wanted(subject, spki, overrides), facts, 0, now)


def check_cross_certifiable(
    c: Connection, authority_id: int, spec: AuthoritySpec, subject: bytes, spki: bytes, now: datetime
) -> None:
    """Raise Refused when the present generation of an authority and its next one could not certify each other."""
    partner = find_cross_partner(c, authority_id, None, now)
    if partner is None:
        return
    if spec.path_length is not None and authorities.get_issuer(c, partner).subject != subject:
        # RFC 5280 §6.1.4: only certificates that an authority issues to its own name do not count.
        raise Refused(
            f"cross-certificates under another name use up one of the path length {spec.path_length}",
            "Leave out rollover.cross_certificates, or path_length",
        )
    evaluate(ca_template(spec), _wanted(subject, spki, Overrides()), load_issuer_facts(c, partner), 0, now)


def _wanted(subject: bytes, spki: bytes, overrides: Overrides) -> Wanted:
    return Wanted(parse_name(subject), spki, parse_public_key(spki), overrides=overrides)
