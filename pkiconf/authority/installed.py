"""Authorities whose certificate somebody else issues: a request out, a certificate in."""

from __future__ import annotations

from uuid import UUID

from pkiconf.authority import establish
from pkiconf.authority.chains import CheckedChain, check_chain
from pkiconf.authority.declared import Guard, unguarded
from pkiconf.authority.issuers import record_hashes
from pkiconf.clock import to_epoch
from pkiconf.der.csr import assemble_csr, encode_csr_info
from pkiconf.der.extensions import subject_key_identifier
from pkiconf.der.oids import NAME_CONSTRAINTS
from pkiconf.entropy import Entropy
from pkiconf.errors import Conflict, Refused
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.issuance.issuer import authority_spec, signature_algorithm
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import get_key_algorithm
from pkiconf.policy.authority import ca_template
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.template import compile_template
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.steps import Step
from pkiconf.store import authorities, keys
from pkiconf.store.database import Connection


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
        info = encode_csr_info(issuer.subject, key.spki, _wishes(spec, issuer, key))
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
        if authority.lifecycle == "retired":
            raise Conflict(f"authority {name!r} is retired", "Declare it again first")
        now = self._parts.now()
        checked = check_chain(certificate, chain, key.spki, issuer.subject, spec.path_length, now)
        _check_constraints(spec, checked)
        _check_continues(issuer, checked)

        def write(c: Connection) -> None:
            guard(c)
            if any(row.der == checked.certificate.der for row in authorities.list_ca_certificates(c, issuer.id)):
                return
            if _newest(c, name)[1].id != issuer.id:
                raise Conflict(f"authority {name!r} was rolled over meanwhile", "Have its new CSR signed")
            record_installed(c, issuer.id, key.spki, checked, to_epoch(now))
            establish.activate(c, self._parts, issuer.id)
            details = {"serial": f"{checked.certificate.serial_number:x}"}
            self._parts.record(c, actor, "authority.install", f"authority/{name}", details)

        self._parts.db.write(Step.AUTHORITY_ACTIVATE, write)
        return checked


def record_installed(
    c: Connection, issuer_id: int, spki: bytes, checked: CheckedChain, now: int, signed_by: int | None = None
) -> None:
    """What leaves must repeat byte for byte is what the certificate says: its spelling of the subject, and its key
    identifier. `signed_by` is the issuer of ours that signed it; its chain is then known."""
    own = checked.certificate
    ski = checked.key_identifier or authorities.get_issuer(c, issuer_id).ski
    authorities.set_issuer_identity(c, issuer_id, own.subject, ski)
    record_hashes(c, issuer_id, own.subject, spki)
    role = "subordinate" if signed_by else "external" if checked.above else "self"
    authorities.add_ca_certificate(
        c, issuer_id=issuer_id, signed_by_issuer_id=signed_by, role=role, der=own.der,
        chain=checked.above_pem if role == "external" else None,
        not_before=to_epoch(own.not_before), not_after=to_epoch(own.not_after), preferred=True, created_at=now,
    )  # fmt: skip


def _wishes(spec: AuthoritySpec, issuer: authorities.IssuerRow, key: keys.KeyRow) -> tuple[Extension, ...]:
    """What a certificate of ours would have, as far as it is the authority's to ask for."""
    template = compile_template(ca_template(spec))
    return (
        template.basic_constraints,
        template.key_usages[get_key_algorithm(key.algorithm).type],
        *template.extended_key_usage,
        *(extension for extension in template.tail if extension.oid == NAME_CONSTRAINTS),
        subject_key_identifier(issuer.ski),
    )


def _check_constraints(spec: AuthoritySpec, checked: CheckedChain) -> None:
    if spec.name_constraints is not None and checked.certificate.extension(NAME_CONSTRAINTS) is None:
        raise Refused(
            "the declaration has name_constraints, the certificate has none",
            "Remove them, or have the certificate issued with those of the CSR",
        )


def _check_continues(issuer: authorities.IssuerRow, checked: CheckedChain) -> None:
    """Another certificate for a key that has issued already must suit what it has issued."""
    if issuer.state == "next":
        return
    if checked.certificate.subject != issuer.subject:
        raise Refused(
            "the certificate spells the subject in other string types than the one before it, whose leaves repeat it",
            "Have it issued with the CSR's subject as it is",
        )
    if checked.key_identifier not in (None, issuer.ski):
        raise Refused(
            "the certificate has another subject key identifier than the one before it, to which its leaves point",
            f"Have it issued with {issuer.ski.hex(':')}, as the CSR asks",
        )


def _newest(c: Connection, name: str) -> tuple[authorities.AuthorityRow, authorities.IssuerRow, keys.KeyRow]:
    authority = authorities.get_authority_by_name(c, name)
    issuer = authorities.list_issuers(c, authority.id)[-1]
    return authority, issuer, keys.get_key(c, issuer.key_id)


def _random_uuid(entropy: Entropy) -> UUID:
    return UUID(bytes=entropy.token(16), version=4)
