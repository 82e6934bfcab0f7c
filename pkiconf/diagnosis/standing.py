"""What the database says of authorities, certificates, CRLs, jobs and the audit log, seen from now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.diagnosis.acme import check_acme
from pkiconf.diagnosis.finding import Finding, error, ok, warning
from pkiconf.diagnosis.mail import check_mail
from pkiconf.diagnosis.revocation import check_crls, check_presigned
from pkiconf.diagnosis.serving import WORKER, serving
from pkiconf.diagnosis.timestamps import check_timestamps
from pkiconf.store import authorities, health, jobs, service_certificates
from pkiconf.store.authorities import AuthorityRow
from pkiconf.store.database import Connection

SKEW: Final = timedelta(minutes=5)
LATE: Final = timedelta(minutes=10)
"""A worker that runs is never behind for so long."""

UNSEALED: Final = timedelta(hours=1)
NOTICE: Final = timedelta(days=90)
"""How long before its end an authority's certificate is told, or a quarter of its life if that is less."""

FAILED_OFTEN: Final = 3


def check_clock(c: Connection, now: datetime) -> Iterator[Finding]:
    last = health.last_act(c)
    if last is not None and from_epoch(last) > now + SKEW:
        yield error(
            "clock", f"it shows {now.isoformat()}, but the last act was recorded at {from_epoch(last).isoformat()}",
            "Set the clock (NTP) before anything is issued: certificates would begin at the wrong time",
        )  # fmt: skip
    else:
        yield ok("clock", now.isoformat())


def check_authorities(c: Connection, now: datetime) -> Iterator[Finding]:
    rows = authorities.list_authorities(c)
    found = [finding for row in rows for finding in (*_unfinished(row), *_ending(c, row, now))]
    yield from found or [ok("authorities", ", ".join(row.name for row in rows) or "none yet")]


def _unfinished(row: AuthorityRow) -> Iterator[Finding]:
    if row.lifecycle == "waiting_certificate":
        yield warning(
            "authorities", f"{row.name} waits for its certificate",
            f"Have `pkiconf authority csr {row.name}` signed, then `pkiconf authority install-cert {row.name} FILE`",
        )  # fmt: skip
    elif row.lifecycle == "creating":
        yield warning("authorities", f"{row.name} is not finished", "Run `pkiconf apply` again, or the worker")


def _ending(c: Connection, row: AuthorityRow, now: datetime) -> Iterator[Finding]:
    if row.current_issuer_id is None or row.lifecycle != "active":
        return
    own = authorities.find_ca_certificate(c, row.current_issuer_id)
    if own is None:
        return
    begin, end = from_epoch(own.not_before), from_epoch(own.not_after)
    remedy = f"`pkiconf authority renew {row.name}`, or raise key.generation in its declaration"
    if end < now:
        yield error("authorities", f"the certificate of {row.name} ended at {end.isoformat()}", remedy)
    elif end - now < min(NOTICE, (end - begin) / 4):
        days = (end - now).days
        yield warning("authorities", f"the certificate of {row.name} ends in {days} days, at {end.isoformat()}", remedy)


def check_service_certificates(c: Connection, now: datetime) -> Iterator[Finding]:
    found = []
    for authority, issuer in serving(c):
        rows = service_certificates.list_service_certificates(c, issuer.id)
        newest = {row.purpose: row for row in sorted(rows, key=lambda row: row.until_at) if row.serial is not None}
        for purpose, row in sorted(newest.items()):
            end = from_epoch(row.until_at)
            renew_at = end - timedelta(seconds=(row.until_at - row.from_at) / 3)
            what = f"the {purpose} certificate of {authority.name}"
            if end < now:
                found.append(warning("service certificates", f"{what} ended at {end.isoformat()}", WORKER))
            elif renew_at + timedelta(days=1) < now:
                text = f"{what} should have been renewed at {renew_at.isoformat()}"
                found.append(warning("service certificates", text, WORKER))
    yield from found or [ok("service certificates", "none is late")]


def check_jobs(c: Connection, now: datetime) -> Iterator[Finding]:
    found = []
    late = to_epoch(now - LATE)
    queue = jobs.list_jobs(c, limit=1000)
    overdue = [job for job in queue if job.due_at < late and (job.claimed_until or 0) < late]
    if overdue:
        since = from_epoch(overdue[0].due_at).isoformat()
        found.append(warning("jobs", f"{_are(len(overdue), 'job')} overdue, the oldest since {since}", WORKER))
    for job in queue:
        if job.last_error is not None and job.attempts >= FAILED_OFTEN:
            text = f"job {job.kind} {job.dedupe} has failed {job.attempts} times: {job.last_error}"
            found.append(warning("jobs", text, "Remove what the message names; it is tried again by itself"))
    waiting = health.interrupted(c, late)
    if waiting.count:
        since = from_epoch(waiting.oldest or 0).isoformat()
        found.append(
            warning("jobs", f"{_are(waiting.count, 'certificate')} begun and not finished, since {since}", WORKER)
        )
    yield from found or [ok("jobs", "none is late")]


def check_audit(c: Connection, now: datetime) -> Iterator[Finding]:
    backlog = health.unsealed(c)
    if backlog.oldest is not None and from_epoch(backlog.oldest) < now - UNSEALED:
        since = from_epoch(backlog.oldest).isoformat()
        yield warning("audit log", f"{_are(backlog.count, 'record')} not sealed yet, the oldest from {since}", WORKER)
    else:
        yield ok("audit log", f"{_are(backlog.count, 'new record')} to be sealed")


def _are(number: int, thing: str) -> str:
    return f"{number} {thing} is" if number == 1 else f"{number} {thing}s are"


CHECKS: Final[tuple[tuple[str, Callable[[Connection, datetime], Iterator[Finding]]], ...]] = (
    ("clock", check_clock),
    ("authorities", check_authorities),
    ("service certificates", check_service_certificates),
    ("CRLs", check_crls),
    ("OCSP", check_presigned),
    ("jobs", check_jobs),
    ("ACME", check_acme),
    ("timestamps", check_timestamps),
    ("mail", check_mail),
    ("audit log", check_audit),
)
