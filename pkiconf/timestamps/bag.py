"""The parts of this room, wired."""

from __future__ import annotations

from collections.abc import Sequence
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
from pkiconf.timestamps.clock_watch import AskServers, ClockWatch
from pkiconf.timestamps.service import Timestamps

PATIENCE: Final = 1.5
"""Seconds in which servers of time have to answer."""


def make_timestamps(parts: Parts, services: ServiceCertificates, network: Network) -> Timestamps:
    def read() -> ClockSettings:
        return parts.db.read(load_settings).clock

    def stamped() -> int:
        return parts.db.read(lambda c: max((latest(c, row.id) for row in list_authorities(c)), default=0))

    return Timestamps(parts, services, ClockWatch(parts.timepiece, read, stamped, asking(parts, network)))


def asking(parts: Parts, network: Network) -> AskServers:
    """Until most of them agree, or for so long as patience lasts."""

    def ask(servers: Sequence[str], limit: int) -> list[TimeAnswer]:
        def enough(answers: Sequence[TimeAnswer]) -> bool:
            found = bound(answers, len(servers))
            return found is not None and found <= limit

        return network.ask_time(servers, parts.timepiece, Deadline.within(PATIENCE), enough)

    return ask
