"""OCSP answers signed in the background, for authorities that ask for it (RFC 9919: pre-produced responses).

One job for each issuer goes through its certificates, a slice at a time, so that other work gets its turn. An answer
is used only while the certificate's row still says what it said when the answer was signed, so none can be stale.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.authority.service_certificates import OCSP, ServiceCertificate, ServiceCertificates
from pkiconf.clock import to_epoch
from pkiconf.der.ocsp import CertID
from pkiconf.der.ocsp_client import encode_cert_id
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.ocsp import encode_answer, sign_answer, status_of
from pkiconf.spec.status import OCSPSpec
from pkiconf.steps import Step
from pkiconf.store import authorities, jobs, keys, ocsp_answers
from pkiconf.store.database import Connection
from pkiconf.store.jobs import JobRow
from pkiconf.store.ocsp_answers import AnswerRow, Unanswered

PRESIGN_JOB: Final = "ocsp.presign"

SLICE: Final = 2.0
"""Seconds after which other work gets its turn."""

BATCH: Final = 250
"""How many answers share a commit."""

_SERVING: Final = ("active", "retiring")


@dataclass(frozen=True, slots=True)
class _Issuer:
    row: authorities.IssuerRow
    spki: bytes
    spec: OCSPSpec


@dataclass(frozen=True, slots=True)
class Presigning:
    parts: Parts
    services: ServiceCertificates

    def queue_due(self) -> int:
        """Have every issuer gone through whose oldest answer has lived half its life, or that has none; how many."""
        now = self.parts.now()
        due = [
            one.row.id
            for one in self.parts.db.read(lambda c: _asking(c))
            if (oldest := self.parts.db.look(lambda c, of=one.row.id: ocsp_answers.oldest(c, of))) is None  # type: ignore[misc]
            or oldest < _half_life_ago(one.spec, now)
        ]

        def queue(c: Connection) -> int:
            new = [issuer_id for issuer_id in due if jobs.find_job(c, PRESIGN_JOB, str(issuer_id)) is None]
            for issuer_id in new:
                jobs.queue(c, PRESIGN_JOB, str(issuer_id), "{}", to_epoch(now))
            return len(new)

        return self.parts.db.write(Step.JOB_CLAIM, queue, durable=False) if due else 0

    def work_on(self, job: JobRow, lease: int) -> bool:
        """Sign for a while; whether there is more to be done. Each batch keeps the claim for `lease` seconds more.

        Raises Conflict when somebody else has taken the job; SigningUnavailable, Unavailable.
        """
        issuer_id = int(job.dedupe)
        one = self.parts.db.read(lambda c: next((one for one in _asking(c) if one.row.id == issuer_id), None))
        if one is None:  # no longer declared, or the issuer has ended
            self.parts.db.write(Step.OCSP_PRESIGN, lambda c: ocsp_answers.forget_all(c, issuer_id), durable=False)
            return False
        place: dict[str, str] = json.loads(job.payload)
        until = time.monotonic() + SLICE
        hashes: tuple[str, ...] = tuple(map(str, one.spec.presign))
        at, after = 0, b""
        if place.get("hash") in hashes:
            at, after = hashes.index(place["hash"]), bytes.fromhex(place["after"])
        while at < len(hashes):
            last = self._batch(job, one, hashes[at], after, lease)
            at, after = (at, last) if last else (at + 1, b"")
            if time.monotonic() >= until and at < len(hashes):
                self._remember(job, hashes[at], after)
                return True
        now = to_epoch(self.parts.now())
        self.parts.db.write(Step.OCSP_PRESIGN, lambda c: ocsp_answers.forget_ended(c, issuer_id, now), durable=False)
        return False

    def _batch(self, job: JobRow, one: _Issuer, hash_algorithm: str, after: bytes, lease: int) -> bytes:
        """The last serial number that was answered; empty when there is none left."""
        now, issuer_id = self.parts.now(), one.row.id
        responder = self.services.get(issuer_id, OCSP, self.parts.db.look(authorities.status_epochs)[issuer_id])
        signer = serial_bytes(responder.id.serial_number)
        wish = ocsp_answers.Wish(issuer_id, hash_algorithm, signer, to_epoch(now), _half_life_ago(one.spec, now))
        found = self.parts.db.look(lambda c: ocsp_answers.unanswered(c, wish, after=after, limit=BATCH))
        if not found:
            return b""
        rows = [self._signed(one, responder, row, hash_algorithm, now) for row in found]

        def write(c: Connection) -> None:
            jobs.renew(c, job, to_epoch(now) + lease)
            ocsp_answers.put(c, rows)

        self.parts.db.write(Step.OCSP_PRESIGN, write, durable=False)
        return found[-1].serial

    def _signed(
        self, one: _Issuer, responder: ServiceCertificate, row: Unanswered, hash_algorithm: str, now: datetime
    ) -> AnswerRow:
        serial_number = int.from_bytes(row.serial)
        der = encode_cert_id(one.row.subject, one.spki, serial_number, hash_algorithm)
        cert_id = CertID(der, hash_algorithm, b"", b"", serial_number)
        status = status_of(row.status, row.reason, row.revoked_at)
        data, next_update = encode_answer(responder, [(cert_id, status)], one.row.created_at, one.spec.validity, now)
        return AnswerRow(
            issuer_id=one.row.id, serial=row.serial, hash_algorithm=hash_algorithm, changed_epoch=row.changed_epoch,
            responder_serial=serial_bytes(responder.id.serial_number), produced_at=to_epoch(now),
            next_update=to_epoch(next_update), response_data=data, signature=sign_answer(responder, data, now),
        )  # fmt: skip

    def _remember(self, job: JobRow, hash_algorithm: str, after: bytes) -> None:
        """Queued again while it is claimed, a job stays, with its new place."""
        payload = json.dumps({"hash": hash_algorithm, "after": after.hex()})
        now = to_epoch(self.parts.now())
        self.parts.db.write(Step.JOB_CLAIM, lambda c: jobs.queue(c, job.kind, job.dedupe, payload, now), durable=False)


def _asking(c: Connection) -> Sequence[_Issuer]:
    """Issuers whose authority asks for answers ahead of time."""
    specs = {row.id: authority_spec(row).ocsp for row in authorities.list_authorities(c)}
    return [
        _Issuer(row, keys.get_key(c, row.key_id).spki, specs[row.authority_id])
        for row in authorities.list_issuers(c)
        if row.state in _SERVING and row.authority_id in specs and specs[row.authority_id].presign
    ]


def _half_life_ago(spec: OCSPSpec, now: datetime) -> int:
    return to_epoch(now) - (to_epoch(spec.validity.after(now)) - to_epoch(now)) // 2
