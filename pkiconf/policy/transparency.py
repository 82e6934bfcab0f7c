"""What certificate transparency asks of a template and of its certificates: which logs, and when to ask them again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pkiconf.der import oids
from pkiconf.der.transparency import LogKey, parse_log_key
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.spec.template import TemplateSpec
from pkiconf.spec.transparency import CTSpec, LogSpec

SKEW: Final = 300
"""Seconds by which a log's clock may differ from ours."""

_SHORTEST_PAUSE: Final = 60
_LONGEST_PAUSE: Final = 3600


def check_transparency(spec: TemplateSpec) -> None:
    """Raise Refused for a template whose certificates no log could see."""
    if spec.ct is None:
        return
    if spec.basic_constraints.ca:
        raise Refused("ct: certificates of authorities are not shown to logs", "Remove ct, or basic_constraints.ca")
    if {oids.CT_POISON, oids.CT_TIMESTAMPS} & {row.oid for row in spec.extensions.custom}:
        raise Refused("extensions.custom: with ct, poison and timestamps are put in by themselves", "Remove them there")
    for log in spec.ct.logs:
        key_of(log)


def key_of(log: LogSpec) -> LogKey:
    """Raises Refused for a key that cannot be a log's."""
    try:
        return parse_log_key(log.spki)
    except (Malformed, UnsupportedAlgorithm) as ex:
        raise Refused(f"ct.logs: {log.url}: {ex.detail}", ex.hint or "Take the key from the log's operator") from None


def logs_for(spec: CTSpec, not_after: datetime) -> tuple[LogSpec, ...]:
    """Those that take a certificate with this end. Raises Refused where they are fewer than have to promise."""
    found = tuple(log for log in spec.logs if _takes(log, not_after))
    if len(found) < spec.required_scts:
        raise Refused(
            f"{len(found)} of the template's logs take a certificate that ends on {not_after:%Y-%m-%d}, and"
            f" {spec.required_scts} have to",
            "Declare logs for that time in ct.logs, or ask for another validity",
        )
    return found


def _takes(log: LogSpec, not_after: datetime) -> bool:
    interval = log.not_after
    if interval is None:
        return True
    begins = interval.from_ is None or interval.from_ <= not_after
    return begins and (interval.until is None or not_after < interval.until)


def is_stale(timestamp: int, reserved_at: int, now: int) -> bool:
    """Whether a log's `timestamp` (milliseconds) is from before the precertificate was, or from the future; the others
    are epoch seconds."""
    return not (reserved_at - SKEW) * 1000 <= timestamp <= (now + SKEW) * 1000


def pause_before_next(age: int) -> int:
    """For how many seconds to leave logs alone that were too few for a certificate of that age: a quarter of it."""
    return min(max(age // 4, _SHORTEST_PAUSE), _LONGEST_PAUSE)
