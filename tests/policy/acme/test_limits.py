"""So many within so long."""

from __future__ import annotations

import pytest

from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.policy.acme.limits import check_rate
from pkiconf.spec.acme import RateLimit

NOW = 1_900_000_000
LIMIT = RateLimit.model_validate({"count": 3, "per": "1h"})


@pytest.mark.parametrize("marking", [None, NOW - 3600, NOW - 7200])
def test_within(marking: int | None) -> None:
    check_rate(LIMIT, marking, NOW, "orders")


@pytest.mark.parametrize(("marking", "wait"), [(NOW, 3600), (NOW - 3599, 1), (NOW - 1800, 1800)])
def test_beyond_it_is_said_when_to_come_back(marking: int, wait: int) -> None:
    with pytest.raises(ACMEProblem, match=f"3 within 1h is the limit; come back in {wait} seconds") as caught:
        check_rate(LIMIT, marking, NOW, "orders")
    assert caught.value.problem.type is ProblemType.RATE_LIMITED
    assert caught.value.retry_after == wait
    check_rate(LIMIT, marking, NOW + wait, "orders")
