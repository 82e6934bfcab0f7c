"""Drains the job table and keeps ahead of the clock: interrupted intents, CRLs, service certificates, audit sealing.

Validations, for which a client waits, start as soon as the worker is woken. Everything else is a chore, done by another
thread, at most about once a second however often the worker is woken. Any number of workers may run, on any number of
hosts: jobs are claimed under a lease, and what is kept ahead of the clock is decided by rows, so doing it twice costs
work but harms nothing.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pkiconf.acme.authorizations import VALIDATION_JOB
from pkiconf.acme.validation_pool import ValidationPool
from pkiconf.authority import establish
from pkiconf.clock import to_epoch
from pkiconf.enrolment.outbox import JOB as MAIL_JOB
from pkiconf.errors import Conflict, NotFound, PkiconfError
from pkiconf.model.actor import SYSTEM
from pkiconf.revocation.presigning import PRESIGN_JOB
from pkiconf.revocation.revoke import CRL_JOB, crl_job, crl_of_job
from pkiconf.scep.intune.enrolment import SETTLE_JOB, parse_job_name
from pkiconf.scep.intune.revocations import POLL_JOB
from pkiconf.services import Services
from pkiconf.steps import Step
from pkiconf.store import authorities, inventory, jobs
from pkiconf.store.database import Connection
from pkiconf.store.jobs import JobRow
from pkiconf.wake import Alarm

LEASE_SECONDS: Final = 120
POLL_SECONDS: Final = 15.0
CHORE_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 60
"""Seconds until a CRL that could not be made is tried again, and there is none that could be served."""
STOP_SECONDS: Final = 7.0
"""How long attempts and chores that run may take to end when the worker is told to stop."""

log = logging.getLogger(__name__)

Handler = Callable[[Services, JobRow], str]
"""Does the job; empty when it is done, else what it waits for: it is then looked at again later."""


def _establish(services: Services, job: JobRow) -> str:
    return "" if services.establisher.establish(int(job.dedupe), SYSTEM) else "its certificate is not there yet"


def _make_crl(services: Services, job: JobRow) -> str:
    with suppress(NotFound):  # an issuer that was destroyed, or never signed, has no CRL
        services.crls.refresh(*crl_of_job(job.dedupe))
    return ""


def _send_mail(services: Services, job: JobRow) -> str:
    return services.enrolment.outbox.deliver(int(job.dedupe))


def _settle_intune(services: Services, job: JobRow) -> str:
    return services.scep.intune.enrolment.settle(parse_job_name(job.dedupe))


def _poll_intune(services: Services, job: JobRow) -> str:
    services.scep.intune.revocations.poll(job)
    return ""


def _presign(services: Services, job: JobRow) -> str:
    services.presigning.work_on(job, LEASE_SECONDS)
    return ""


HANDLERS: Final[Mapping[str, Handler]] = {
    establish.JOB: _establish,
    CRL_JOB: _make_crl,
    PRESIGN_JOB: _presign,
    MAIL_JOB: _send_mail,
    SETTLE_JOB: _settle_intune,
    POLL_JOB: _poll_intune,
}


@dataclass(frozen=True)
class Worker:
    services: Services
    name: str = f"{platform.node()}:{os.getpid()}"
    chores: Sequence[tuple[str, Callable[[], int]]] = ()
    """What this process keeps up besides, each with its name for the log."""
    _pruned: list[int] = field(default_factory=list)
    """The minute in which nonces were last pruned, and old generations looked at."""

    def run(self, alarm: Alarm, stopping: Callable[[], bool]) -> None:
        """Work until told to stop; woken by the alarm, and by the clock."""
        pool = ValidationPool(self.services.acme.validations, self.name, alarm.ring, tell=alarm.tell)
        # Logs are strangers, so what they have to see waits apart: nothing else stands still while one is silent.
        threads = (_Chores(self.run_chores, "chores"), _Chores(self.run_disclosures, "disclosures"))
        for chores in threads:
            chores.start()
        while not stopping():
            for chores in threads:
                chores.wake()
            self._attempt("starting validations", pool.start_due)
            alarm.wait(self._seconds_to_next(pool))
        stop_at = time.monotonic() + STOP_SECONDS
        pool.stop(STOP_SECONDS)
        for chores in threads:
            chores.stop(max(0.0, stop_at - time.monotonic()))

    def run_once(self) -> int:
        """Everything that is due now, validations to the end of their attempts; how many things were done. What fails
        is logged and tried again later."""
        pool = ValidationPool(self.services.acme.validations, self.name, lambda: None)
        done = 0
        while started := self._attempt("starting validations", pool.start_due):
            pool.wait_for_all()
            done += started
        done += self.run_disclosures() + self.run_chores()
        while more := self._attempt("signing OCSP answers ahead", self._presign):
            done += more
        return done

    def run_disclosures(self) -> int:
        """Certificates that wait for logs of certificate transparency."""
        return self._attempt("showing precertificates to logs", self.services.intents.sweep_precertificates)

    def run_chores(self) -> int:
        """Everything that is due now, but for validations."""
        done = self._attempt("resuming interrupted certificates", self.services.intents.sweep)
        self._attempt("looking for CRLs to renew", self._queue_crls)
        done += self._attempt("running jobs", self._run_jobs)
        done += self._attempt("renewing service certificates", self.services.service_certificates.renew_due)
        self._attempt("looking for OCSP answers to sign ahead", self.services.presigning.queue_due)
        done += self._attempt("signing OCSP answers ahead", self._presign)
        done += self._attempt("ending links that nobody used", self.services.enrolment.grants.expire_overdue)
        done += self._attempt("sealing the audit log", lambda: self.services.sealer.seal(self.services.parts.now()))
        if self._pruned != (minute := [to_epoch(self.services.parts.now()) // 60]):
            self._pruned[:] = minute
            self._attempt("forgetting expired nonces", self.services.acme.nonces.prune)
            done += self._attempt("ending old generations", self._end_issuers)
        for what, chore in self.chores:
            self._attempt(what, chore)
        return done

    def _seconds_to_next(self, pool: ValidationPool) -> float:
        try:
            return pool.seconds_to_next(to_epoch(self.services.parts.now()), POLL_SECONDS)
        except PkiconfError:  # starting them has said so
            return CHORE_SECONDS

    def _attempt(self, what: str, act: Callable[[], int]) -> int:
        try:
            return act()
        except PkiconfError as ex:
            log.warning("%s: %s", what, ex)
        except Exception:
            log.exception("%s failed", what)
        return 0

    def _run_jobs(self) -> int:
        done = 0
        # One by one, so that no job waits with its lease running while others are done.
        while (job := self._claim()) is not None:
            self._run(job)
            done += 1
        return done

    def _presign(self) -> int:
        """A slice of it: certificates may be many, and other chores wait meanwhile. They come again in a second."""
        job = self._claim((PRESIGN_JOB,))
        if job is not None:
            self._run(job)
        return int(job is not None)

    def _claim(self, kinds: Sequence[str] = ()) -> JobRow | None:
        now = to_epoch(self.services.parts.now())
        until = now + LEASE_SECONDS
        others = () if kinds else (VALIDATION_JOB, PRESIGN_JOB)
        claimed = self.services.parts.db.write(
            Step.JOB_CLAIM,
            lambda c: jobs.claim(c, self.name, now, until, kinds=kinds, other_than=others),
            durable=False,
        )
        return claimed[0] if claimed else None

    def _run(self, job: JobRow) -> None:
        db, now = self.services.parts.db, to_epoch(self.services.parts.now())
        handler = HANDLERS.get(job.kind)
        try:
            if handler is None:
                raise PkiconfError(f"no handler for jobs of kind {job.kind!r}")
            unfinished = handler(self.services, job)
        except Exception as ex:
            unfinished = str(ex) if isinstance(ex, PkiconfError) else type(ex).__name__
            log.warning("job %s %s: %s", job.kind, job.dedupe, unfinished, exc_info=not isinstance(ex, PkiconfError))

        def end(c: Connection) -> None:
            if unfinished:
                # A key that is to be had again must not wait long until there is a CRL again.
                pause = min(jobs.pause(job.attempts), LONGEST_PAUSE) if job.kind == CRL_JOB else None
                jobs.fail(c, job, unfinished, now, pause)
            else:
                jobs.finish(c, job)

        with suppress(Conflict):  # the handler ended it itself, or it took so long that another worker has it now
            db.write(Step.JOB_FINISH, end)

    def _queue_crls(self) -> int:
        """Whoever is free makes them, one worker each."""
        due = {(issuer_id, part.shard) for issuer_id, part in self.services.crls.schedule.due()}
        now = to_epoch(self.services.parts.now())

        def queue(c: Connection) -> None:
            for place in sorted(due):
                if jobs.find_job(c, CRL_JOB, crl_job(*place)) is None:  # one that failed waits for its time
                    jobs.queue(c, CRL_JOB, crl_job(*place), "{}", now)

        if due:
            self.services.parts.db.write(Step.JOB_CLAIM, queue)
        return len(due)

    def _end_issuers(self) -> int:
        """An old generation whose last certificate has ended, good or revoked, needs no CRL and no OCSP any more."""
        now = to_epoch(self.services.parts.now())

        def ended(c: Connection) -> list[int]:
            return [
                row.id
                for row in authorities.list_issuers(c)
                if row.state == "retiring" and not inventory.has_unended(c, row.id, now)
            ]

        old = self.services.parts.db.read(ended)
        for issuer_id in old:
            self.services.parts.db.write(Step.AUTHORITY_UPDATE, partial(_end_issuer, issuer_id))
        return len(old)


class _Chores:
    """Runs them in a thread: when woken, but not again before a second has passed, and at every poll."""

    def __init__(self, run: Callable[[], object], name: str) -> None:
        self._run = run
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self, seconds: float) -> None:
        """Let those that run come to their end, for so long."""
        self._stopped.set()
        self._woken.set()
        self._thread.join(seconds)

    def _loop(self) -> None:
        while True:
            self._woken.wait(POLL_SECONDS)
            self._woken.clear()
            if self._stopped.is_set():
                return
            self._run()
            self._stopped.wait(CHORE_SECONDS)


def _end_issuer(issuer_id: int, c: Connection) -> None:
    authorities.set_issuer_state(c, issuer_id, "retiring", "ended")
