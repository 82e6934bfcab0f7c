"""The times that an order may ask for (RFC 8555 §7.4); epoch seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.certificate import IssuerFacts
from pkiconf.model.request import Overrides
from pkiconf.policy.validity import decide_validity
from pkiconf.spec.template import TemplateSpec

_SKEW: Final = 3600
"""How far back a start may lie: clocks differ."""


def check_times(
    template: TemplateSpec, issuer: IssuerFacts, not_before: int | None, not_after: int | None, now: int
) -> None:
    """Raise ACMEProblem `malformed` for times that would not be honoured to the second. An order that gives only a
    start gets the template's length from there; the end is limited by the template's `max_validity`, or, where it has
    none, by its `validity`: a client does not choose how long it is trusted."""
    if not_before is None and not_after is None:
        return
    if not_before is not None and not_before < now - _SKEW:
        raise _malformed(f"notBefore {_text(not_before)} lies in the past", "Leave it out")
    wish = overrides(not_before, not_after)
    limit = template.max_validity or template.validity
    try:
        decide_validity(template.validity, limit, wish, issuer, datetime.fromtimestamp(now, UTC))
    except Refused as ex:
        raise _malformed(ex.detail, ex.hint or "Leave out notBefore and notAfter") from None


def overrides(not_before: int | None, not_after: int | None) -> Overrides:
    return Overrides(not_before=_moment(not_before), not_after=_moment(not_after))


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _malformed(detail: str, hint: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.MALFORMED, f"{detail}. {hint}")
