"""/metrics for Prometheus: requests of this server's processes, and what the database says at the moment."""

from __future__ import annotations

import collections
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import falcon
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pkiconf.clock import to_epoch
from pkiconf.endpoints.caching import answer_once
from pkiconf.endpoints.wsgi import App
from pkiconf.errors import PkiconfError
from pkiconf.revocation.crl_schedule import Freshness
from pkiconf.services import Services
from pkiconf.store import authorities, crls, inventory, jobs, ocsp_answers, requests
from pkiconf.store.database import Connection

log = logging.getLogger(__name__)

_REQUESTS: Final = Counter("pkiconf_requests", "Requests answered", ["protocol", "method", "status"])
_SECONDS: Final = Histogram(
    "pkiconf_request_seconds", "Time to answer", ["protocol"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)  # fmt: skip
_AGE: Final = "pkiconf_ocsp_oldest_answer_seconds"
_SINCE: Final = "pkiconf_ocsp_oldest_answer_since"
# Of each process both, because only together they say whether the age still counts; `_Recent` makes one of them all.
_OLDEST_ANSWER: Final = Gauge(_AGE, "Age of an OCSP answer", multiprocess_mode="liveall")
_OLDEST_SINCE: Final = Gauge(_SINCE, "When that began to count", multiprocess_mode="liveall")
_RECENT: Final = 60.0
_TIMESTAMPS: Final = Counter(
    "pkiconf_timestamps", "Timestamps asked for, and what became of them", ["protocol", "result"]
)


@functools.cache
def _counters(protocol: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(protocol, method, str(status)), _SECONDS.labels(protocol)


def observe_request(protocol: str, method: str, status: int, seconds: float) -> None:
    """`protocol` and `method` come from short lists: every combination is kept for as long as the process lives."""
    count, timing = _counters(protocol, method, status)
    count.inc()
    timing.observe(seconds)


def observe_timestamp(protocol: str, result: str) -> None:
    """`result` is `granted`, or the failure that the client was told."""
    _outcome(protocol, result).inc()


@functools.cache
def _outcome(protocol: str, result: str) -> Counter:
    return _TIMESTAMPS.labels(protocol, result)


class _Oldest:
    """The age of the oldest OCSP answer that this process gave of late: the largest since the minute before this one
    began. `_largest` is of this minute alone."""

    def __init__(self) -> None:
        self._since = self._largest = self._told = 0.0

    def observe(self, produced_at: datetime, now: datetime) -> None:
        age, at = (now - produced_at).total_seconds(), now.timestamp()
        if not self._since <= at < self._since + _RECENT:
            before = self._largest if self._since <= at < self._since + 2 * _RECENT else age
            self._since, self._largest, self._told = at, age, max(age, before)
            _OLDEST_ANSWER.set(self._told)  # before the other: a scrape between them must not believe the old one
            _OLDEST_SINCE.set(at)
        elif age > self._largest:
            self._largest = age
            if age > self._told:
                self._told = age
                _OLDEST_ANSWER.set(age)


_oldest: Final = _Oldest()


def observe_answer(produced_at: datetime, now: datetime) -> None:
    """A signed OCSP answer that was given at `now`."""
    _oldest.observe(produced_at, now)


_Counts = Sequence[tuple[int, str, int]]
COUNTS_KEPT: Final = 60.0
"""Seconds for which certificates are not counted again: that goes through all of them."""


class _Recent:
    """What `collectors` say, with one age of the oldest OCSP answer for all processes. A process that gives no answers
    any more leaves its last age standing: it does not count once it is two minutes old."""

    def __init__(self, collectors: Sequence[Collector], now: Callable[[], datetime]) -> None:
        self._collectors = collectors
        self._now = now

    def collect(self) -> Iterator[Metric]:
        said: dict[str, dict[str, float]] = {_AGE: {}, _SINCE: {}}
        for collector in self._collectors:
            for metric in collector.collect():
                if metric.name in said:
                    said[metric.name] = {sample.labels.get("pid", ""): sample.value for sample in metric.samples}
                else:
                    yield metric
        now = self._now().timestamp()
        ages = [
            said[_AGE].get(process, 0.0)
            for process, since in said[_SINCE].items()
            if since <= now < since + 2 * _RECENT
        ]
        yield GaugeMetricFamily(
            _AGE,
            "Age, when it was given, of the oldest OCSP answer given within the last minute or two; 0 if none was",
            value=max(ages, default=0.0),
        )


class _DatabaseCollector:
    """What is looked up at each scrape; certificates are counted now and then. `monotonic` gives seconds on a clock
    that is never set."""

    def __init__(self, services: Services, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._monotonic = monotonic
        self._counted: tuple[float, _Counts] = (float("-inf"), ())

    def collect(self) -> Iterator[Metric]:
        parts = self._services.parts
        up = GaugeMetricFamily("pkiconf_database_up", "Whether the database could be read")
        try:
            counts, fresh = self._counts(), self._services.crls.schedule.freshness()
            found = parts.db.read(lambda c: _gauges(c, to_epoch(parts.now()), counts, fresh))
        except PkiconfError as ex:
            log.error("/metrics: %s", ex)
            found = []
        up.add_metric([], int(bool(found)))
        yield up
        yield from found

    def _counts(self) -> _Counts:
        at, counts = self._counted
        if (now := self._monotonic()) >= at + COUNTS_KEPT:
            counts = self._services.parts.db.read(inventory.count_by_status)
            self._counted = (now, counts)
        return counts


def _gauges(c: Connection, now: int, counts: _Counts, fresh: Mapping[int, Freshness]) -> list[Metric]:
    names = {row.id: row.name for row in authorities.list_authorities(c)}
    issuers = authorities.list_issuers(c)
    labels = {row.id: [names.get(row.authority_id, "?"), str(row.generation)] for row in issuers}
    certificates = GaugeMetricFamily(
        "pkiconf_certificates", "Certificates by status", labels=["authority", "generation", "status"]
    )
    for issuer_id, status, number in counts:
        if issuer_id in labels:  # it may have been destroyed since they were counted
            certificates.add_metric([*labels[issuer_id], status], number)
    age = GaugeMetricFamily(
        "pkiconf_crl_age_seconds", "Age of the oldest CRL served", labels=["authority", "generation"]
    )
    left = GaugeMetricFamily(
        "pkiconf_crl_seconds_left", "Until the first CRL served ends", labels=["authority", "generation"]
    )
    behind = GaugeMetricFamily(
        "pkiconf_crl_epochs_behind", "Revocations not yet in a CRL", labels=["authority", "generation"]
    )
    ends = GaugeMetricFamily(
        "pkiconf_authority_seconds_left", "Until the authority's certificate ends", labels=["authority", "generation"]
    )
    for issuer in issuers:
        if (worst := fresh.get(issuer.id)) is not None:
            age.add_metric(labels[issuer.id], worst.age)
            left.add_metric(labels[issuer.id], worst.left)
            behind.add_metric(labels[issuer.id], worst.behind)
        if (own := authorities.find_ca_certificate(c, issuer.id)) is not None:
            ends.add_metric(labels[issuer.id], own.not_after - now)
    presigned = GaugeMetricFamily(
        "pkiconf_ocsp_oldest_presigned_seconds",
        "Age of the oldest OCSP answer that stands ready, signed ahead of time",
        labels=["authority", "generation"],
    )
    withheld = GaugeMetricFamily(
        "pkiconf_crl_withheld",
        "CRLs not published because they contradict the one before",
        labels=["authority", "generation"],
    )
    held_back = collections.Counter(row.issuer_id for row in crls.withheld(c))
    for issuer in issuers:
        withheld.add_metric(labels[issuer.id], held_back[issuer.id])
        if (oldest := ocsp_answers.oldest(c, issuer.id)) is not None:
            presigned.add_metric(labels[issuer.id], now - oldest)
    waiting = GaugeMetricFamily("pkiconf_certificate_requests", "Requests by state", labels=["state"])
    for state, number in requests.count_by_state(c).items():
        waiting.add_metric([state], number)
    due = GaugeMetricFamily("pkiconf_jobs_overdue", "Jobs that should have been done", value=_overdue(c, now))
    return [certificates, age, left, behind, withheld, presigned, ends, waiting, due]


def _overdue(c: Connection, now: int) -> int:
    return sum(1 for job in jobs.list_jobs(c, limit=10_000) if job.due_at <= now)


class MetricsResource:
    def __init__(self, services: Services, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        collectors: list[Collector] = [_REQUESTS, _SECONDS, _OLDEST_ANSWER, _OLDEST_SINCE, _TIMESTAMPS]
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            collectors = [multiprocess.MultiProcessCollector(None)]  # type: ignore[no-untyped-call]
        self.registry.register(_Recent(collectors, services.parts.now))
        self.registry.register(_DatabaseCollector(services, monotonic))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = CONTENT_TYPE_LATEST
        answer_once(resp, generate_latest(self.registry))

    on_head = on_get


def mount(app: App, services: Services) -> None:
    app.add_route("/metrics", MetricsResource(services))
