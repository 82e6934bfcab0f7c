"""Everything of timestamps in one frozen value, for endpoints and command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.network import Network
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.model.time_source import TimeAnswer
from pkiconf.policy.time_source import bound
from pkiconf.spec.timestamp import ClockSettings
from pkiconf.store.authorities import list_authorities
from pkiconf.store.timestamps import latest
from pkiconf.timestamps.clock_inquiry import ClockInquiry
from pkiconf.timestamps.clock_watch import AskServers, ClockWatch
from pkiconf.timestamps.records import TimestampRecords
from pkiconf.timestamps.service import Timestamps

PATIENCE: Final = 1.5
"""Seconds in which servers of time have to answer."""


@dataclass(frozen=True)
class Timestamping:
    service: Timestamps
    records: TimestampRecords
    clock_inquiry: ClockInquiry


def make_timestamping(parts: Parts, services: ServiceCertificates, network: Network) -> Timestamping:
    def read() -> ClockSettings:
        return parts.db.read(load_settings).clock

    def stamped() -> int:
        return parts.db.read(lambda c: max((latest(c, row.id) for row in list_authorities(c)), default=0))

    asked = _asking(parts, network)
    service = Timestamps(parts, services, ClockWatch(parts.timepiece, read, stamped, asked))
    return Timestamping(service, TimestampRecords(parts), ClockInquiry(parts, asked))


def _asking(parts: Parts, network: Network) -> AskServers:
    """Until most of them agree, or for so long as patience lasts."""

    def ask(servers: Sequence[str], limit: int) -> list[TimeAnswer]:
        def enough(answers: Sequence[TimeAnswer]) -> bool:
            found = bound(answers, len(servers))
            return found is not None and found <= limit

        return network.ask_time(servers, parts.timepiece, Deadline.within(PATIENCE), enough)

    return ask
