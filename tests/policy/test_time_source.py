from __future__ import annotations

import pytest

from pkiconf.model.time_source import TimeAnswer, TimeSample, TimeSilence
from pkiconf.policy.time_source import bound, describe, majority


def sample(offset: int, error: int = 0) -> TimeAnswer:
    return TimeSample("t", offset, error)


SILENT = TimeSilence("t", "no answer in time")


@pytest.mark.parametrize(("servers", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_most_of_them(servers: int, needed: int) -> None:
    assert majority(servers) == needed


@pytest.mark.parametrize(
    ("answers", "servers", "expected"),
    [
        ([], 1, None),
        ([SILENT], 1, None),
        ([sample(5)], 1, 5),
        ([sample(-5, 2)], 1, 7),
        ([sample(5)], 2, None),
        ([sample(5), sample(-9)], 2, 9),
        ([sample(1), sample(10**9), SILENT], 3, 10**9),
        ([sample(1), sample(10**9), sample(2)], 3, 2),
        ([sample(1), sample(2), SILENT], 3, 2),
        ([sample(1), SILENT, SILENT], 3, None),
        ([sample(0, 10**6), sample(3), sample(4)], 3, 4),
    ],
)
def test_what_most_can_vouch_for(answers: list[TimeAnswer], servers: int, expected: int | None) -> None:
    assert bound(answers, servers) == expected


def test_what_they_said_can_be_read() -> None:
    assert describe(TimeSample("a", -1_500_000, 2_000)) == "a: -1.500 s ± 0.002 s"
    assert describe(TimeSilence("b", "no answer in time")) == "b: no answer in time"
