"""Bring an authority to what its rows say: its certificate, its cross-certificates, its service certificates.

Creating, rolling over and renewing write their wish and a job in one transaction; what is left to do follows from
the rows alone, so it can be done at once, by the worker, or by the next `apply` after a crash.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.authority.system_templates import ensure_system_template
from pkiconf.clock import to_epoch
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.extensions import subject_key_identifier
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import parse_name
from pkiconf.errors import Conflict, Refused
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Outcome, Overrides, Rejected, Wanted
from pkiconf.policy.authority import CA_TEMPLATE, ca_overrides, ca_template
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.steps import Step
from pkiconf.store import authorities, jobs, keys
from pkiconf.store.database import Connection

JOB: Final = "authority.establish"
ORIGIN: Final = "ca"
GRACE: Final = timedelta(minutes=1)
"""How long the process that wrote the wish has before the worker takes it up."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`sequence` counts the certificates of one issuer: a same-key renewal asks for the next one."""

    issuer_id: int
    sequence: int
    cross: bool = False


@dataclass(frozen=True, slots=True)
class CAOrigin:
    """What becomes of an issuer when a certificate for it is complete."""

    parts: Parts

    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        subject_id, role, _ = _parse_origin(origin_id)
        now = to_epoch(self.parts.now())
        parsed = parse_certificate(der)
        authorities.add_ca_certificate(
            c, issuer_id=subject_id, signed_by_issuer_id=certificate.issuer_id, role=role, der=der, chain=None,
            not_before=to_epoch(parsed.not_before), not_after=to_epoch(parsed.not_after),
            preferred=role != "cross", created_at=now,
        )  # fmt: skip
        if role != "cross":
            activate(c, self.parts, subject_id)

    def given_back(self, c: Connection, origin_id: str) -> None:
        """The wish stands, and asks for another certificate: an origin is served once."""
        subject_id, _, sequence = _parse_origin(origin_id)
        authority_id = authorities.get_issuer(c, subject_id).authority_id
        job = jobs.find_job(c, JOB, str(authority_id))
        if job is not None and (wish := _parse_wish(job)).sequence == sequence:
            queue(c, authority_id, replace(wish, sequence=sequence + 1), job.due_at)


def activate(c: Connection, parts: Parts, issuer_id: int) -> None:
    """An issuer with a certificate becomes the one that signs; the one before it keeps its CRL and OCSP.

    An authority that was retired meanwhile stays so.
    """
    issuer = authorities.get_issuer(c, issuer_id)
    if issuer.state == "active":
        return
    row = authorities.get_authority(c, issuer.authority_id)
    if row.current_issuer_id is not None and row.current_issuer_id != issuer_id:
        authorities.set_issuer_state(c, row.current_issuer_id, "active", "retiring")
    authorities.set_issuer_state(c, issuer_id, "next", "active")
    lifecycle = "retired" if row.lifecycle == "retired" else "active"
    authorities.update_authority(c, row.id, row.generation, lifecycle=lifecycle, current_issuer_id=issuer_id)
    parts.record(c, SYSTEM, "authority.activate", f"authority/{row.name}", {"generation": issuer.generation})


def queue(c: Connection, authority_id: int, wish: Wish, now: int) -> None:
    due = now + int(GRACE.total_seconds())
    jobs.queue(c, JOB, str(authority_id), json.dumps(asdict(wish), sort_keys=True), due)


def find_wish(c: Connection, authority_id: int) -> Wish | None:
    """What has not come true yet."""
    job = jobs.find_job(c, JOB, str(authority_id))
    return _parse_wish(job) if job else None


class Establisher:
    def __init__(self, parts: Parts, pipeline: Pipeline, services: ServiceCertificates) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._services = services

    def unfinished(self, c: Connection) -> frozenset[int]:
        """Row ids of authorities whose wish has not come true yet."""
        return frozenset(int(job.dedupe) for job in jobs.list_jobs_of_kind(c, JOB))

    def establish(self, authority_id: int, actor: Actor) -> bool:
        """Do what is left; whether the wish has come true. One that has not stands: somebody else signs the
        certificate, or the authority was retired before it had one.

        Raises Refused when policy forbids the certificate, Conflict when the authority above cannot sign yet.
        """
        job = self._parts.db.read(lambda c: jobs.find_job(c, JOB, str(authority_id)))
        if job is None:
            return True
        wish = _parse_wish(job)
        row, spec = self._parts.db.read(lambda c: _authority(c, authority_id))
        if row.lifecycle in ("waiting_certificate", "retired"):
            return False
        # Sequence 0 came with an import; an external certificate was installed.
        if wish.sequence and spec.issuer != "external":
            self._certify(row, spec, wish, actor)
        if wish.cross:
            self._cross_certify(row, spec, wish, actor)
        self._services.ensure_wanted(wish.issuer_id)
        self._parts.db.write(Step.JOB_FINISH, lambda c: _end(c, job))
        return True

    def _certify(self, row: authorities.AuthorityRow, spec: AuthoritySpec, wish: Wish, actor: Actor) -> None:
        if spec.issuer == "self":
            signer, role = wish.issuer_id, "self"
        else:
            signer, role = self._parts.db.read(lambda c: signing_issuer(c, spec)), "subordinate"
        origin = f"{wish.issuer_id}:{role}:{wish.sequence}"
        self._order(row, spec, signer, wish.issuer_id, origin, actor, ca_overrides(spec))

    def _cross_certify(self, row: authorities.AuthorityRow, spec: AuthoritySpec, wish: Wish, actor: Actor) -> None:
        """RFC 4210 §4.4's pair: the old key certifies the new one, and the new one the old."""
        now = self._parts.now()
        before = self._parts.db.read(lambda c: find_cross_partner(c, row.id, wish.issuer_id, now))
        if before is not None:
            for signer, subject in ((before, wish.issuer_id), (wish.issuer_id, before)):
                origin = f"{subject}:cross-{signer}:{wish.sequence}"
                self._order(row, spec, signer, subject, origin, actor, Overrides())

    def _order(
        self,
        row: authorities.AuthorityRow,
        spec: AuthoritySpec,
        signer: int,
        subject: int,
        origin: str,
        actor: Actor,
        overrides: Overrides,
    ) -> None:
        # Two authorities below one issuer may be established at once, by different processes: each has its own.
        template = ca_template(spec).model_copy(update={"name": f"{CA_TEMPLATE}-{row.id}"})
        now = to_epoch(self._parts.now())

        def prepare(c: Connection) -> int:
            authority_id = authorities.get_issuer(c, signer).authority_id
            return ensure_system_template(c, authority_id, template, now)

        template_id = self._parts.db.write(Step.TEMPLATE_WRITE, prepare)
        wanted = self._parts.db.read(lambda c: _wanted(c, subject, overrides))
        # To itself an authority issues before it serves others and, to link a new key with the old one, after.
        own = self._parts.db.read(lambda c: authorities.get_issuer(c, signer)).authority_id == row.id
        order = IssuanceOrder(signer, template_id, wanted, ORIGIN, origin, f"authority/{row.name}", actor, own)
        _expect_issued(self._pipeline.issue(order), row.name)


def _end(c: Connection, done: jobs.JobRow) -> None:
    """The wish came true, unless another one has taken its place meanwhile."""
    job = jobs.find_job(c, JOB, done.dedupe)
    if job is not None and job.payload == done.payload:
        jobs.cancel(c, JOB, done.dedupe)


def _expect_issued(outcome: Outcome, name: str) -> None:
    match outcome:
        case Issued():
            return
        case Rejected(reason):
            raise Refused(f"the certificate of authority {name!r} cannot be issued: {reason}")
        case _:
            raise Conflict(f"the certificate of authority {name!r} waits for its issuer's key", "Apply again later")


def _wanted(c: Connection, issuer_id: int, overrides: Overrides) -> Wanted:
    issuer = authorities.get_issuer(c, issuer_id)
    spki = keys.get_key(c, issuer.key_id).spki
    return Wanted(
        subject=parse_name(issuer.subject), sans=(), spki=spki, key=parse_public_key(spki),
        # An imported authority's may have been made another way than ours: its leaves point to it.
        extensions=(subject_key_identifier(issuer.ski),), overrides=overrides,
    )  # fmt: skip


def _parse_wish(job: jobs.JobRow) -> Wish:
    return Wish(**json.loads(job.payload))


def _parse_origin(origin_id: str) -> tuple[int, str, int]:
    """Issuer, role of its certificate, sequence: `7:self:1`, `7:subordinate:2`, `7:cross-3:1`."""
    issuer_id, role, sequence = origin_id.split(":")
    return int(issuer_id), role.partition("-")[0], int(sequence)


def _authority(c: Connection, authority_id: int) -> tuple[authorities.AuthorityRow, AuthoritySpec]:
    row = authorities.get_authority(c, authority_id)
    return row, authority_spec(row)


def signing_issuer(c: Connection, spec: AuthoritySpec) -> int:
    """The issuer that signs an authority declared below another one. Raises NotFound, Conflict."""
    above = authorities.get_authority_by_name(c, spec.issuer)
    # One that waits for its next generation's certificate still signs with the one it has.
    if above.current_issuer_id is None or above.lifecycle == "retired":
        state = above.lifecycle.replace("_", " ")
        raise Conflict(f"authority {above.name!r} cannot sign: it is {state}", "Finish or revive it first")
    return above.current_issuer_id


def find_cross_partner(c: Connection, authority_id: int, issuer_id: int | None, now: datetime) -> int | None:
    """The newest generation beside `issuer_id` (None: the one to come) whose certificate is still valid."""
    moment = to_epoch(now)
    for row in reversed(authorities.list_issuers(c, authority_id)):
        own = authorities.find_ca_certificate(c, row.id) if row.id != issuer_id else None
        if own is not None and own.not_before <= moment < own.not_after:
            return row.id
    return None
