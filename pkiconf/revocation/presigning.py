"""OCSP answers signed in the background, for authorities that ask for it (RFC 9919: pre-produced responses).

One job for each issuer goes through its certificates, a slice at a time, so that other work gets its turn: through all
of them when the oldest answer has lived half its life. What was issued or revoked since is found by looking at some
more of them each time, again and again; then a job goes through these. An answer is used only while the certificate's
row still says what it said when the answer was signed, so none can be stale.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkiconf.authority.service_certificates import OCSP, ServiceCertificate, ServiceCertificates
from pkiconf.clock import to_epoch
from pkiconf.der.ocsp import CertID
from pkiconf.der.ocsp_client import encode_cert_id
from pkiconf.errors import SigningUnavailable, Unavailable
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.policy.serials import serial_bytes
from pkiconf.revocation.ocsp import SKEW, encode_answer, sign_answer, status_of
from pkiconf.spec.status import OCSPSpec
from pkiconf.steps import Step
from pkiconf.store import authorities, jobs, keys, ocsp_answers
from pkiconf.store.database import Connection
from pkiconf.store.epochs import get_stamp
from pkiconf.store.jobs import JobRow
from pkiconf.store.ocsp_answers import LAST_SERIAL, WHOLE, AnswerRow, Range, Unanswered

PRESIGN_JOB: Final = "ocsp.presign"

SLICE: Final = 2.0
"""Seconds after which other work gets its turn."""

BATCH: Final = 250
"""How many answers share a commit."""

GLANCE: Final = 5_000
"""How many certificates of an issuer are looked at in one round of chores: some 10 ms for each hash."""

_FORGOTTEN_AT_ONCE: Final = 10_000
_SERVING: Final = ("active", "retiring")


@dataclass(frozen=True, slots=True)
class _Issuer:
    row: authorities.IssuerRow
    spki: bytes
    spec: OCSPSpec


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a job has come: behind `after`, for this hash; empty for the first. `within`: what it goes through."""

    within: Range
    hash_algorithm: str = ""
    after: bytes = b""

    def encode(self) -> str:
        octets = {"from": self.within.after, "until": self.within.until, "after": self.after}
        return json.dumps({name: value.hex() for name, value in octets.items()} | {"hash": self.hash_algorithm})


def _parse_place(payload: str) -> _Place:
    said: dict[str, str] = json.loads(payload)
    within = Range(bytes.fromhex(said.get("from", "")), bytes.fromhex(said.get("until", LAST_SERIAL.hex())))
    return _Place(within, said.get("hash", ""), bytes.fromhex(said.get("after", "")))


@dataclass(frozen=True, slots=True)
class Presigning:
    parts: Parts
    services: ServiceCertificates
    _seen: dict[int, bytes] = field(default_factory=dict)
    """Up to where each issuer's certificates were looked at in this round through them."""

    def queue_due(self) -> int:
        """Have every issuer gone through whose oldest answer has lived half its life, that has none, or one from the
        future; of others, some certificates where one has no answer. How many issuers."""
        now = self.parts.now()
        found = ((one.row.id, self._due(one, now)) for one in self.parts.db.read(lambda c: _asking(c)))
        due = [(issuer_id, within) for issuer_id, within in found if within is not None]

        def queue(c: Connection) -> int:
            new = [place for place in due if jobs.find_job(c, PRESIGN_JOB, str(place[0])) is None]
            for issuer_id, within in new:
                jobs.queue(c, PRESIGN_JOB, str(issuer_id), _Place(within).encode(), to_epoch(now))
            return len(new)

        return self.parts.db.write(Step.JOB_CLAIM, queue, durable=False) if due else 0

    def _due(self, one: _Issuer, now: datetime) -> Range | None:
        """Which of its certificates are to be gone through."""
        look, issuer_id = self.parts.db.look, one.row.id
        if look(lambda c: jobs.find_job(c, PRESIGN_JOB, str(issuer_id))) is not None:
            return None
        oldest = look(lambda c: ocsp_answers.oldest(c, issuer_id))
        newest = look(lambda c: ocsp_answers.newest(c, issuer_id))
        if oldest is None or newest is None or oldest < _half_life_ago(one.spec, now) or newest > to_epoch(now + SKEW):
            return WHOLE
        after = self._seen.get(issuer_id, b"")
        within = look(lambda c: ocsp_answers.reach(c, issuer_id, after, GLANCE))
        self._seen[issuer_id] = b"" if within.until == LAST_SERIAL else within.until
        try:
            wishes = [self._wish(one, str(algorithm), now)[1] for algorithm in one.spec.presign]
        except (SigningUnavailable, Unavailable):
            return None  # nobody could sign; whoever asks is told so, and the log
        missing = any(look(lambda c, wish=wish: ocsp_answers.unanswered(c, wish, within, 1)) for wish in wishes)  # type: ignore[misc]
        return within if missing else None

    def work_on(self, job: JobRow, lease: int) -> bool:
        """Sign for a while; whether there is more to be done. Each batch keeps the claim for `lease` seconds more.

        Raises Conflict when somebody else has taken the job; SigningUnavailable, Unavailable.
        """
        issuer_id = int(job.dedupe)
        one = self.parts.db.read(lambda c: next((one for one in _asking(c) if one.row.id == issuer_id), None))
        if one is None:  # no longer declared, or the issuer has ended
            self.parts.db.write(Step.OCSP_PRESIGN, lambda c: ocsp_answers.forget_all(c, issuer_id), durable=False)
            return False
        place = _parse_place(job.payload)
        until = time.monotonic() + SLICE
        hashes: tuple[str, ...] = tuple(map(str, one.spec.presign))
        at, after = 0, place.within.after
        if place.hash_algorithm in hashes:
            at, after = hashes.index(place.hash_algorithm), place.after
        while at < len(hashes):
            last = self._batch(job, one, hashes[at], Range(after, place.within.until), lease)
            at, after = (at, last) if last else (at + 1, place.within.after)
            if time.monotonic() >= until and at < len(hashes):
                self._remember(job, _Place(place.within, hashes[at], after))
                return True
        if place.within == WHOLE:
            self._forget(issuer_id, hashes)
        return False

    def _forget(self, issuer_id: int, hashes: Sequence[str]) -> None:
        """What nobody will ask for; the oldest of these would make the issuer due for ever."""
        db, now = self.parts.db, to_epoch(self.parts.now())
        db.write(Step.OCSP_PRESIGN, lambda c: ocsp_answers.forget_ended(c, issuer_id, now), durable=False)

        def forget(c: Connection) -> int:
            return ocsp_answers.forget_other_hashes(c, issuer_id, hashes, _FORGOTTEN_AT_ONCE)

        while db.write(Step.OCSP_PRESIGN, forget, durable=False):
            pass

    def _wish(self, one: _Issuer, hash_algorithm: str, now: datetime) -> tuple[ServiceCertificate, ocsp_answers.Wish]:
        """Which answers are good, and who signs them. Raises SigningUnavailable, Unavailable."""
        issuer_id = one.row.id
        responder = self.services.get(issuer_id, OCSP, self.parts.db.look(lambda c: get_stamp(c, issuer_id)))
        return responder, ocsp_answers.Wish(
            issuer_id,
            hash_algorithm,
            serial_bytes(responder.id.serial_number),
            to_epoch(now),
            _half_life_ago(one.spec, now),
            to_epoch(now + SKEW),
        )

    def _batch(self, job: JobRow, one: _Issuer, hash_algorithm: str, within: Range, lease: int) -> bytes:
        """The last serial number that was answered; empty when there is none left."""
        now = self.parts.now()
        responder, wish = self._wish(one, hash_algorithm, now)
        found = self.parts.db.look(lambda c: ocsp_answers.unanswered(c, wish, within, BATCH))
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

    def _remember(self, job: JobRow, place: _Place) -> None:
        """Queued again while it is claimed, a job stays, with its new place."""
        payload, now = place.encode(), to_epoch(self.parts.now())
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
