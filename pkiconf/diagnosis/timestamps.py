"""What the database says of authorities that make timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pkiconf.authority.purposes import TSA
from pkiconf.clock import to_epoch
from pkiconf.diagnosis.finding import Finding, error, ok, warning
from pkiconf.issuance.issuer import authority_spec, load_settings
from pkiconf.store import authorities, service_certificates, timestamps
from pkiconf.store.database import Connection

NAME: Final = "timestamps"


def check_timestamps(c: Connection, now: datetime) -> Iterator[Finding]:
    rows = [row for row in authorities.list_authorities(c) if row.lifecycle == "active"]
    stamping = [row for row in rows if authority_spec(row).timestamp.enabled]
    if not stamping:
        return
    if not load_settings(c).clock.ntp:
        yield warning(
            NAME, "no time servers are declared, so a clock that is ahead is not noticed",
            "List three or more in settings.clock.ntp",
        )  # fmt: skip
    for row in stamping:
        if row.current_issuer_id is None:
            continue
        if service_certificates.find_service_certificate(c, row.current_issuer_id, TSA, to_epoch(now)) is None:
            yield warning(NAME, f"{row.name} has no certificate for them now", "The next request makes one")
        ahead = timestamps.latest(c, row.id) - (to_epoch(now) + 1) * 1_000_000
        if ahead > 0:
            yield error(
                NAME, f"{row.name} has attested a time that is {ahead / 1e6:.0f} s ahead of this clock",
                "Set the clock; time servers in settings.clock.ntp can tell that it is right now",
            )  # fmt: skip
    yield ok(NAME, ", ".join(row.name for row in stamping))
