"""Keys, requests and self-signed certificates on any machine: no state, no database, no authority.

Nothing here is recorded; what comes out belongs to whoever holds the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate
from pkiconf.der.csr import assemble_csr, encode_csr_info
from pkiconf.der.extensions import extended_key_usage, subject_alternative_names, subject_key_identifier
from pkiconf.der.keys import key_identifier, parse_public_key
from pkiconf.der.names import encode_name
from pkiconf.der.oids import object_identifier
from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs8 import encode_private_key, parse_private_key, spki_of
from pkiconf.der.verify import verify_signature
from pkiconf.entropy import Entropy
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.model.certificate import Extension, TBSCertificate
from pkiconf.model.keys import (
    Hash,
    KeyType,
    Padding,
    SignatureAlgorithm,
    get_key_algorithm,
    get_signature_algorithm,
)
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.request import Overrides, PublicKeyFacts
from pkiconf.model.secret import Secret
from pkiconf.model.usages import EXTENDED_KEY_USAGES
from pkiconf.policy.keys import check_public_key
from pkiconf.policy.overrides import unique_names
from pkiconf.policy.serials import make_serial
from pkiconf.policy.starters import starter_defaults
from pkiconf.policy.template import CompiledTemplate, compile_template
from pkiconf.policy.validity import decide_validity
from pkiconf.signing.local import LocalSigner, generate
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.spec.template import TemplateSpec

_NO_ORDER = UUID(int=0)  # a key in this process's memory ignores an order's id


@dataclass(frozen=True, slots=True)
class OfflineKey:
    """A private key that was read from a file. `spki` is its SubjectPublicKeyInfo, DER."""

    signer: LocalSigner
    spki: bytes
    facts: PublicKeyFacts

    def sign(self, kind: Kind, tbs: bytes, algorithm: SignatureAlgorithm, now: datetime) -> bytes:
        """The signature, checked before it is returned. Raises NotSigned, Unverified."""
        signature = self.signer.sign(SigningOrder(_NO_ORDER, kind, tbs, algorithm, now))
        verify_signature(self.spki, algorithm, tbs, signature)
        return signature


def new_key(algorithm: str, passphrase: Secret | None = None) -> bytes:
    """A new private key as a PEM file: PKCS#8 (RFC 5958), encrypted if there is a passphrase.

    `algorithm` is a name of `model.keys`. Raises UnsupportedAlgorithm.
    """
    pkcs8, _ = generate(get_key_algorithm(algorithm))
    if passphrase is None:
        return pem_encode("PRIVATE KEY", pkcs8).encode()
    encrypted = encode_private_key(parse_private_key(pkcs8), passphrase)
    return pem_encode("ENCRYPTED PRIVATE KEY", encrypted).encode()


def open_key(data: bytes, passphrase: Secret | None = None) -> OfflineKey:
    """A private key from PEM or DER. Raises Malformed, Unverified (wrong passphrase), UnsupportedAlgorithm, and
    Refused for a key that is weak or known to be compromised."""
    private = parse_private_key(data, passphrase)
    spki = spki_of(private)
    facts = parse_public_key(spki)
    check_public_key(spki, facts)
    return OfflineKey(LocalSigner(private), spki, facts)


def is_encrypted(data: bytes) -> bool:
    """Whether a PEM file's private key needs a passphrase. DER tells only when it is read."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data


def make_csr(
    key: OfflineKey,
    subject: Name,
    sans: Sequence[GeneralName],
    now: datetime,
    *,
    usages: Sequence[str] = (),
    hash: Hash | None = None,
    padding: Padding | None = None,
) -> bytes:
    """A PKCS#10 request (RFC 2986), DER. `usages` are the dotted OIDs of extended key usages to ask for.

    Raises Refused for a request that would name nobody or a name that may not be, UnsupportedAlgorithm for a hash
    or padding that the key does not sign with.
    """
    _check_names_somebody(subject, sans)
    wishes: list[Extension] = []
    if sans:
        wishes.append(subject_alternative_names(unique_names(sans), critical=not subject.rdns))
    if usages:
        wishes.append(extended_key_usage(usages))
    algorithm = _signature_algorithm(key, hash, padding)
    info = encode_csr_info(encode_name(subject), key.spki, wishes)
    return assemble_csr(info, algorithm, key.sign(Kind.CSR, info, algorithm, now))


def usage_oid(text: str) -> str:
    """The OID of an extended key usage that is named or dotted. Raises Malformed."""
    if text in EXTENDED_KEY_USAGES:
        return EXTENDED_KEY_USAGES[text]
    try:
        return object_identifier(text).dotted_string
    except Malformed:
        known = ", ".join(EXTENDED_KEY_USAGES)
        raise Malformed(f"{text!r} is no extended key usage", f"Use a dotted OID or one of {known}") from None


def make_self_signed(
    key: OfflineKey,
    subject: Name,
    sans: Sequence[GeneralName],
    starter: str,
    validity: Overrides,
    now: datetime,
    entropy: Entropy,
    *,
    hash: Hash | None = None,
    padding: Padding | None = None,
) -> bytes:
    """A certificate that vouches for itself, DER: usages and default validity as the starter has them.

    Of `validity` only days, not_before and not_after count. Raises Refused (no subject, a validity that contradicts
    itself, a name that may not be), UnsupportedAlgorithm.
    """
    if not subject.rdns:
        # RFC 5280 §4.1.2.4: the issuer's name is never empty, and here it is the subject's.
        raise Refused("a self-signed certificate needs a subject", "Give one, such as CN=web.corp.example")
    template = _starter(starter)
    algorithm = _signature_algorithm(key, hash, padding)
    not_before, not_after = decide_validity(template.spec.validity, None, validity, None, now)
    name = encode_name(subject)
    tbs = encode_tbs_certificate(
        TBSCertificate(
            serial_number=make_serial(entropy, not_after),
            signature=algorithm,
            issuer=name,
            not_before=not_before,
            not_after=not_after,
            subject=name,
            spki=key.spki,
            extensions=_extensions(template, key, unique_names(sans)),
        )
    )
    return assemble_certificate(tbs, algorithm, key.sign(Kind.CERTIFICATE, tbs, algorithm, now))


def _starter(name: str) -> CompiledTemplate:
    fields = {**starter_defaults(name), "name": "self-signed", "authority": "self", "starter": name}
    if fields["basic_constraints"]["ca"]:
        fields["basic_constraints"]["path_length"] = None
    return compile_template(TemplateSpec.model_validate(fields))


def _extensions(template: CompiledTemplate, key: OfflineKey, sans: tuple[GeneralName, ...]) -> tuple[Extension, ...]:
    usage = template.key_usages.get(key.facts.type)
    return (
        subject_key_identifier(key_identifier(key.spki)),
        template.basic_constraints,
        *((usage,) if usage else ()),
        *template.extended_key_usage,
        *((subject_alternative_names(sans),) if sans else ()),
        *template.tail,
    )


def _signature_algorithm(key: OfflineKey, hash: Hash | None, padding: Padding | None) -> SignatureAlgorithm:
    if padding is not None and key.facts.type is not KeyType.RSA:
        raise UnsupportedAlgorithm(f"padding is RSA's; this key is of type {key.facts}", "Leave the padding out")
    return get_signature_algorithm(key.signer.key_algorithm, hash, padding)


def _check_names_somebody(subject: Name, sans: Sequence[GeneralName]) -> None:
    if not subject.rdns and not sans:
        raise Refused("the request names nobody", "Give a subject, or an alternative name")
