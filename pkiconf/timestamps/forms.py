"""Who signs under a URL, and what all its tokens have in common: encoded once, and kept while it is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pkiconf.authority.purposes import TSA
from pkiconf.authority.service_certificates import ServiceCertificate, ServiceCertificates
from pkiconf.der.authenticode import CountersignatureForm
from pkiconf.der.oids import encode_oid
from pkiconf.der.signed_data import SignerIdentity
from pkiconf.der.timestamp_token import TokenForm, left_for_the_clock
from pkiconf.errors import NotFound, WouldWait
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.policy.timestamps import default_policy
from pkiconf.spec.timestamp import TimestampSpec
from pkiconf.store import authorities
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp
from pkiconf.store.timestamps import StampingRow, find_stamping

_NONE_HERE: Final = "there are no timestamps here"


@dataclass(frozen=True, slots=True)
class Form:
    """`policies` maps encoded policy identifiers to tokens under them; the empty one is the default. `clock_error`:
    microseconds that the clock may be off at most, None where no accuracy is declared."""

    authority_id: int
    spec: TimestampSpec
    digests: frozenset[str]
    signer: ServiceCertificate
    policies: Mapping[bytes, TokenForm]
    countersignature: CountersignatureForm
    clock_error: int | None


class Forms:
    def __init__(self, parts: Parts, services: ServiceCertificates) -> None:
        self._parts = parts
        self._services = services
        self._declared: dict[int, tuple[int, TimestampSpec, str]] = {}
        self._known: dict[int, tuple[int, Form]] = {}

    def get(self, slug: str, *, wait: bool = True) -> Form:
        """By the rows of this moment: after a change of the declaration, or a revocation of the signer's certificate,
        nothing old is given. Raises NotFound where no timestamps are served, SigningUnavailable; without `wait`,
        WouldWait while the one who signs has to be looked for or made, or where it signs slowly."""
        # PostgreSQL takes no NUL in a text, not even to look for it.
        row = None if "\0" in slug else self._parts.db.look(lambda c: find_stamping(c, slug))
        if row is None or row.lifecycle != "active":
            raise NotFound(_NONE_HERE)
        generation, spec, policy = self._declaration(row)
        if not spec.enabled:
            raise NotFound(_NONE_HERE)
        signer = self._services.get(row.issuer_id, TSA, Stamp(row.status_epoch, generation), wait=wait)
        if not (wait or signer.quick):  # nearly all that a form is asked for is signed
            raise WouldWait
        known = self._known.get(row.authority_id)
        # The same certificate may sign by another hash: `is`, for another look finds another object.
        if known is None or known[0] != generation or known[1].signer is not signer:
            known = self._known[row.authority_id] = (generation, _form(row.authority_id, spec, policy, signer))
        return known[1]

    def _declaration(self, row: StampingRow) -> tuple[int, TimestampSpec, str]:
        known = self._declared.get(row.authority_id)
        if known is None or known[0] != row.generation:
            known = self._declared[row.authority_id] = self._parts.db.read(lambda c: _declared(c, row.authority_id))
        return known


def policy_of(c: Connection, authority_id: int, spec: TimestampSpec) -> str:
    """Under which its tokens are made, declared or not."""
    return spec.policy or default_policy(authorities.list_issuers(c, authority_id)[0].ski)


def _declared(c: Connection, authority_id: int) -> tuple[int, TimestampSpec, str]:
    row = authorities.get_authority(c, authority_id)
    spec = authority_spec(row).timestamp
    return row.generation, spec, policy_of(c, authority_id, spec)


def _form(authority_id: int, spec: TimestampSpec, policy: str, signer: ServiceCertificate) -> Form:
    identity = SignerIdentity.of(signer.der, signer.algorithm)
    policies = {
        encode_oid(oid): TokenForm.of(identity, oid, spec.accuracy, spec.ordering, signer.der, signer.chain)
        for oid in (policy, *spec.other_policies)
    }
    return Form(
        authority_id=authority_id,
        spec=spec,
        digests=frozenset(spec.digests),
        signer=signer,
        policies={b"": policies[encode_oid(policy)], **policies},
        countersignature=CountersignatureForm.of(identity, signer.der, signer.chain),
        clock_error=left_for_the_clock(spec.accuracy, spec.ordering) if spec.accuracy else None,
    )
