"""A CSR beside its order (RFC 8555 §7.4): it brings the key, the order decides the names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Final

from pkiconf.der.name_syntax import quoted
from pkiconf.der.names import general_name_text
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm, Unverified
from pkiconf.model.acme import ACMEProblem, Identifier, IdentifierType, ProblemType
from pkiconf.model.attributes import COMMON_NAME, EMAIL_ADDRESS
from pkiconf.model.keys import KeyType
from pkiconf.model.names import Attribute, Name, NameType, OtherName
from pkiconf.model.request import CertificateRequest, Wanted
from pkiconf.policy.acme.identifiers import find_identifier, general_name, parse_identifier
from pkiconf.policy.acme.validity import overrides
from pkiconf.policy.keys import check_public_key

LONGEST_COMMON_NAME: Final = 64
"""ub-common-name (RFC 5280 appendix A.1)."""

CSRError = (Malformed, Unverified, UnsupportedAlgorithm, Refused)


def bad_csr(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.BAD_CSR, detail)


def check_csr(identifiers: Sequence[Identifier], request: CertificateRequest, account_jwk: str) -> None:
    """Raise ACMEProblem `badCSR` unless the request asks for just the order's names, with a sound key of its own.

    Accepted as stock software writes it: an empty subject, names in the common name alone or in both places, in any
    case and order and more than once, and whatever other extensions.
    """
    asked = _common_names(request.subject) | _alternative_names(request)
    ordered = set(identifiers)
    if beyond := asked - ordered:
        raise bad_csr(
            f"the CSR asks for {_list(beyond)}, which the order does not name; make the CSR for {_list(ordered)} alone"
        )
    if missing := ordered - asked:
        raise bad_csr(f"the CSR lacks {_list(missing)}, which the order names; add it as a subject alternative name")
    if is_key_of(account_jwk, request):
        raise bad_csr("the CSR's key is the account's own key; a certificate needs a key of its own (RFC 8555 §11.1)")
    try:
        check_public_key(request.spki, request.key)
    except Refused as ex:
        raise bad_csr(str(ex)) from None


def _alternative_names(request: CertificateRequest) -> set[Identifier]:
    found = set()
    for name in request.sans:
        identifier = find_identifier(name)
        if identifier is None:
            kind = NameType.OTHER if isinstance(name, OtherName) else general_name_text(name)
            raise bad_csr(
                f"the CSR asks for the alternative name {quoted(str(kind))}; an order proves names of type dns and ip "
                "alone, so leave it out"
            )
        # Old clients write an address as a DNS name; it is still an address.
        found.add(_as_address(identifier) or identifier)
    return found


def _as_address(identifier: Identifier) -> Identifier | None:
    if identifier.type is not IdentifierType.DNS or not identifier.value[-1:].isdigit():
        return None
    try:
        return parse_identifier({"type": "ip", "value": identifier.value})
    except ACMEProblem:
        return None


def _common_names(subject: Name) -> set[Identifier]:
    """A name in the subject that nobody proved would be believed by old software all the same."""
    found = set()
    for attribute in subject.attributes:
        if attribute.oid == EMAIL_ADDRESS or (attribute.oid != COMMON_NAME and "@" in attribute.value):
            raise bad_csr(f"the CSR's subject holds {quoted(attribute.value)}; no order proves that: leave it out")
        if attribute.oid == COMMON_NAME:
            found.add(_common_name(attribute.value))
    return found


def _common_name(value: str) -> Identifier:
    for kind in (IdentifierType.IP, IdentifierType.DNS):
        try:
            return parse_identifier({"type": kind.value, "value": value})
        except ACMEProblem:
            continue
    raise bad_csr(
        f"the CSR's common name {quoted(value)} is none of the order's names; leave the subject empty, or put one of "
        "them there"
    )


def _list(identifiers: Iterable[Identifier]) -> str:
    return ", ".join(sorted(identifier.value for identifier in identifiers))


def is_key_of(jwk: str, request: CertificateRequest) -> bool:
    """Whether the request is for the very key of a JWK (canonical, public members alone)."""
    members = json.loads(jwk)
    facts, spki = request.key, request.spki
    match members.get("kty"):
        case "RSA":
            return facts.type is KeyType.RSA and (facts.modulus, facts.exponent) == (
                int.from_bytes(_octets(members["n"])),
                int.from_bytes(_octets(members["e"])),
            )
        case "EC":  # an uncompressed point, the only form that is read, ends the SubjectPublicKeyInfo
            return facts.type is KeyType.EC and spki.endswith(_octets(members["x"]) + _octets(members["y"]))
        case "OKP":
            return facts.type in (KeyType.ED25519, KeyType.ED448) and spki.endswith(_octets(members["x"]))
    return False


def _octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def wanted(
    identifiers: Sequence[Identifier], request: CertificateRequest, not_before: int | None, not_after: int | None
) -> Wanted:
    """What the pipeline is asked for: the order's names and times (epoch seconds), the CSR's key, and its common name
    where the order names it too. Nothing else of the CSR counts."""
    return Wanted(
        subject=_subject(request.subject, identifiers),
        spki=request.spki,
        key=request.key,
        sans=tuple(general_name(identifier) for identifier in identifiers),
        overrides=overrides(not_before, not_after),
    )


def _subject(subject: Name, identifiers: Sequence[Identifier]) -> Name:
    ordered = set(identifiers)
    for rdn in subject.rdns:
        for attribute in rdn:
            if attribute.oid == COMMON_NAME and (identifier := _common_name(attribute.value)) in ordered:
                return common_name(identifier)
    return Name()


def common_name(identifier: Identifier) -> Name:
    """In the order's spelling; empty for a name that is too long for a common name."""
    if len(identifier.value) > LONGEST_COMMON_NAME:
        return Name()
    return Name(((Attribute(COMMON_NAME, identifier.value),),))
