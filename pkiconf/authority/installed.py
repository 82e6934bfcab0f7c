"""Certificates that others issued to our authorities: checked as a relying party would, then installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pkiconf.authority import establish
from pkiconf.authority.declared import Guard, unguarded
from pkiconf.authority.issuers import record_hashes
from pkiconf.clock import to_epoch
from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.csr import assemble_csr, encode_csr_info
from pkiconf.der.extensions import basic_constraints, key_usage, parse_basic_constraints, parse_key_usage
from pkiconf.der.names import name_text, parse_name
from pkiconf.der.oids import BASIC_CONSTRAINTS, KEY_USAGE
from pkiconf.der.pem import pem_decode_all, pem_encode
from pkiconf.der.verify import check_issued_by
from pkiconf.entropy import Entropy
from pkiconf.errors import Conflict, Malformed, Refused
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.issuance.issuer import authority_spec, signature_algorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.usages import KeyUsage
from pkiconf.policy.authorization import Action, check_may
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import authorities, keys
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class CheckedChain:
    """An authority's certificate and everything above it, nearest first, ending in a self-signed root."""

    certificate: Certificate
    above: tuple[Certificate, ...]

    @property
    def above_pem(self) -> bytes:
        return "".join(pem_encode("CERTIFICATE", certificate.der) for certificate in self.above).encode()


def read_certificates(data: bytes) -> list[Certificate]:
    """Every certificate of a PEM file, or the one of a DER file. Raises Malformed."""
    ders = pem_decode_all(data, "CERTIFICATE") if b"-----BEGIN" in data else [data]
    if not ders:
        raise Malformed("the file holds no certificate", "Give a PEM or DER certificate")
    return [parse_certificate(der) for der in ders]


def check_chain(
    certificate: bytes, chain: bytes, spki: bytes, subject: bytes, path_length: int | None, now: datetime
) -> CheckedChain:
    """Everything a relying party will check of an authority's certificate, before it is installed.

    `certificate` may hold the chain too. `subject` is the DER name we asked for: it may come back in other string
    types, but must read the same. Raises Malformed, Refused, Unverified.
    """
    own, *more = read_certificates(certificate)
    candidates = more + (read_certificates(chain) if chain else [])
    _check_own(own, spki, subject, path_length, now)
    path = [own]
    while path[-1].issuer != path[-1].subject:
        path.append(_find_above(path[-1], candidates))
        if len(path) > len(candidates) + 1:
            raise Refused("the chain goes in a circle", "Give each issuer once, up to the root")
    for lower, upper in zip(path, [*path[1:], path[-1]], strict=True):
        check_issued_by(lower, upper)
    for depth, upper in enumerate(path[1:]):
        _check_authority(upper, depth, now)
    return CheckedChain(own, tuple(path[1:]))


def _check_own(own: Certificate, spki: bytes, subject: bytes, path_length: int | None, now: datetime) -> None:
    if own.spki != spki:
        raise Refused(
            "the certificate is for another key than the authority's", "Have the CSR of `pkiconf authority csr` signed"
        )
    wished, got = name_text(parse_name(subject)), name_text(parse_name(own.subject))
    if wished != got:
        raise Refused(f"the certificate's subject is {got!r}, not {wished!r}", "Have it issued with the CSR's subject")
    _check_authority(own, None, now)
    limit = _path_length(own)
    if limit is not None and (path_length is None or limit < path_length):
        asked = "unlimited" if path_length is None else str(path_length)
        raise Refused(
            f"the certificate allows a path length of {limit}, the declaration asks for {asked}",
            f"Set path_length: {limit}, or have the certificate issued again",
        )


def _check_authority(certificate: Certificate, depth: int | None, now: datetime) -> None:
    """`depth`: how many authorities stand between this one and ours; None for ours."""
    name = name_text(parse_name(certificate.subject))
    if not certificate.not_before <= now <= certificate.not_after:
        ends = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        raise Refused(f"the certificate of {name!r} is valid from {ends}, not now", "Have it issued again")
    extension = certificate.extension(BASIC_CONSTRAINTS)
    if extension is None or not parse_basic_constraints(extension.value)[0]:
        raise Refused(f"the certificate of {name!r} is no authority's: basicConstraints does not say CA:TRUE")
    usage = certificate.extension(KEY_USAGE)
    if usage is not None and KeyUsage.KEY_CERT_SIGN not in parse_key_usage(usage.value):
        raise Refused(f"the certificate of {name!r} may not sign certificates: keyUsage lacks keyCertSign")
    limit = _path_length(certificate)
    if depth is not None and limit is not None and limit < depth + 1:
        raise Refused(f"the path length {limit} of {name!r} leaves no room for this authority")


def _path_length(certificate: Certificate) -> int | None:
    extension = certificate.extension(BASIC_CONSTRAINTS)
    return parse_basic_constraints(extension.value)[1] if extension else None


def _find_above(lower: Certificate, candidates: list[Certificate]) -> Certificate:
    for candidate in candidates:
        if candidate.subject == lower.issuer:
            return candidate
    raise Refused(
        f"the chain is incomplete: the certificate of {name_text(parse_name(lower.issuer))!r} is missing",
        "Give every issuer up to the root with --chain (or certificate.chain)",
    )


class ExternalAuthorities:
    """`issuer: external`: a CSR out, a certificate in."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def csr(self, name: str) -> bytes:
        """A PKCS#10 request, DER, for the authority's newest key. Raises NotFound, Unavailable."""
        authority, issuer, key = self._parts.db.read(lambda c: _newest(c, name))
        spec = authority_spec(authority)
        signer = self._parts.keyring.open(key.id, key.spki_sha256, key.algorithm, key.sealed, key.wrapping_key_id)
        algorithm = signature_algorithm(spec, key)
        extensions = (
            basic_constraints(True, spec.path_length, True),
            key_usage(spec.key_usage, True),
        )
        info = encode_csr_info(issuer.subject, key.spki, extensions)
        order_id = _random_uuid(self._parts.entropy)
        order = SigningOrder(order_id, Kind.CSR, info, algorithm, self._parts.now() + SIGNING_TIME)
        return assemble_csr(info, algorithm, signer.sign(order))

    def install(
        self, name: str, certificate: bytes, chain: bytes, actor: Actor, guard: Guard = unguarded
    ) -> CheckedChain:
        """Check and install; the authority becomes active. Installing the same certificate again changes nothing.

        Raises Refused or Unverified when a relying party would not accept it, Conflict for an authority whose
        certificate we issue ourselves.
        """
        check_may(actor, Action.AUTHORITY_INSTALL_CERTIFICATE, f"authority/{name}")
        authority, issuer, key = self._parts.db.read(lambda c: _newest(c, name))
        spec = authority_spec(authority)
        if spec.issuer != "external":
            raise Conflict(f"authority {name!r} gets its certificate from {spec.issuer!r}", "Set issuer: external")
        now = self._parts.now()
        checked = check_chain(certificate, chain, key.spki, issuer.subject, spec.path_length, now)

        def write(c: Connection) -> None:
            guard(c)
            if any(row.der == checked.certificate.der for row in authorities.list_ca_certificates(c, issuer.id)):
                return
            record_installed(c, issuer.id, key.spki, checked, to_epoch(now))
            establish.activate(c, self._parts, issuer.id)
            details = {"serial": f"{checked.certificate.serial_number:x}"}
            self._parts.record(c, actor, "authority.install", f"authority/{name}", details)

        self._parts.db.write(Step.AUTHORITY_ACTIVATE, write)
        return checked


def record_installed(c: Connection, issuer_id: int, spki: bytes, checked: CheckedChain, now: int) -> None:
    """The certificate's own spelling of the subject is the one that leaves must repeat byte for byte."""
    authorities.set_issuer_subject(c, issuer_id, checked.certificate.subject)
    record_hashes(c, issuer_id, checked.certificate.subject, spki)
    authorities.add_ca_certificate(
        c, issuer_id=issuer_id, signed_by_issuer_id=None, role="external" if checked.above else "self",
        der=checked.certificate.der, chain=checked.above_pem or None,
        not_before=to_epoch(checked.certificate.not_before), not_after=to_epoch(checked.certificate.not_after),
        preferred=True, created_at=now,
    )  # fmt: skip


def _newest(c: Connection, name: str) -> tuple[authorities.AuthorityRow, authorities.IssuerRow, keys.KeyRow]:
    authority = authorities.get_authority_by_name(c, name)
    issuer = max(authorities.list_issuers(c, authority.id), key=lambda row: row.generation)
    return authority, issuer, keys.get_key(c, issuer.key_id)


def _random_uuid(entropy: Entropy) -> UUID:
    return UUID(bytes=entropy.token(16), version=4)
