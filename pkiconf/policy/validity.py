"""From when to when a certificate is valid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.certificate import IssuerFacts
from pkiconf.model.durations import Duration
from pkiconf.model.request import Overrides
from pkiconf.policy.overrides import check_overrides

_SECOND: Final = timedelta(seconds=1)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def decide_validity(
    default: Duration, limit: Duration | None, overrides: Overrides, issuer: IssuerFacts | None, now: datetime
) -> tuple[datetime, datetime]:
    """not_before and not_after, both included (RFC 5280 §4.1.2.5). `issuer` is None for a self-signed certificate.

    A template's default is shortened to `limit` and to the issuer's end. What a person asked for explicitly is
    never shortened: Refused if it does not fit.
    """
    check_overrides(overrides)
    start = _moment(overrides.not_before or now)
    explicit = overrides.not_after is not None or overrides.days is not None
    # Beyond the calendar lies no end that a person could have meant; a template's is shortened to the issuer's.
    endless = issuer is not None and not explicit
    end = _moment(overrides.not_after) if overrides.not_after else _end(start, _length(overrides, default), endless)
    if limit is not None:
        end = _within(end, _end(start, limit, True), explicit, f"the template's max_validity of {limit}")
    if issuer is not None:
        _check_start(start, issuer)
        end = _within(end, issuer.not_after, explicit, f"the end of authority {issuer.authority!r}")
    if end <= max(start, now):
        raise Refused(f"the certificate would already have ended on {_text(end)}")
    return start, end


def _moment(moment: datetime) -> datetime:
    """UTC, whole seconds: X.509 times carry no fractions."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _length(overrides: Overrides, default: Duration) -> Duration:
    return Duration(overrides.days, "d") if overrides.days is not None else default


def _end(start: datetime, length: Duration, endless: bool) -> datetime:
    # Both ends are included, so a 90-day certificate ends one second before the same clock time 90 days later.
    try:
        return length.after(start) - _SECOND
    except ValueError as error:
        if endless:
            return _LAST
        raise Refused(str(error)) from None


def _within(end: datetime, limit: datetime, explicit: bool, what: str) -> datetime:
    if end <= limit:
        return end
    if explicit:
        raise Refused(f"an end on {_text(end)} lies beyond {what}", f"The latest possible end is {_text(limit)}")
    return limit


def _check_start(start: datetime, issuer: IssuerFacts) -> None:
    if start < issuer.not_before:
        raise Refused(f"a start on {_text(start)} lies before authority {issuer.authority!r} is valid",
                      f"It is valid from {_text(issuer.not_before)}")  # fmt: skip
    if start >= issuer.not_after:
        raise Refused(
            f"authority {issuer.authority!r} ends on {_text(issuer.not_after)}, before the certificate would start",
            "Renew the authority, or roll it over",
        )


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
