"""Comparing specs as trees."""

from __future__ import annotations

from typing import Any

import pytest

from pkiconf.model.secret import Secret
from pkiconf.reconciler.desired import keyed_mark
from pkiconf.reconciler.fields import describe, field_changes, flatten, show


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": None}, {}),
        ({}, {"a": None}),
        ({"a": "7d"}, {"a": "1w"}),
        ({"a": "24h"}, {"a": "1d"}),
        ({"a": "x"}, {"a": ["x"]}),
        ({"a": []}, {"a": None}),
        ({"a": {"b": None}}, {"a": {}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}),
    ],
)
def test_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert field_changes(before, after) == ()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": 1}, {"a": 2}, "a: 1 → 2"),
        ({"a": 1}, {}, "a: 1 → none"),
        ({}, {"a": False}, "a: none → false"),
        ({"a": 0}, {}, "a: 0 → none"),
        ({"a": "365d"}, {"a": "1y"}, "a: 365d → 1y"),  # a calendar year is no fixed number of days
        ({"a": "10"}, {"a": "10s"}, "a: 10 → 10s"),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, "a: [x, y] → [y, x]"),
        ({"a": None}, {"a": {}}, "a: none → {}"),
        ({"a": {}}, {"a": None}, "a: {} → none"),
        ({"a": None}, {"a": {"b": 1, "c": None}}, "a.b: none → 1"),
        ({"a": {"b": 1}}, {"a": None}, "a.b: 1 → none"),
        ({"a": {"b": 1}}, {"a": "text"}, "a: {b: 1} → text"),
        ({"a": "hmac:11"}, {"a": "hmac:22"}, "a: changed (secret)"),
        ({"a": None}, {"a": "hmac:22"}, "a: changed (secret)"),
        ({"a": "one\ntwo   three"}, {"a": "x" * 80}, f"a: one two three → {'x' * 59}…"),
        ({"a": 1, "b": 1}, {"b": 2, "a": 2}, "a: 1 → 2; b: 1 → 2"),
    ],
)
def test_different(before: dict[str, Any], after: dict[str, Any], told: str) -> None:
    assert describe(field_changes(before, after)) == told


def test_a_change_knows_what_it_lies_within() -> None:
    (change,) = field_changes({"key": {"size": 1}}, {"key": {"size": 2}})
    assert change.within("key")
    assert change.within("key.size")
    assert not change.within("key.siz")
    assert not change.within("ke", "size")


def test_shown_values_tell_no_secret() -> None:
    assert show("hmac:abcdef") == "(secret)"
    assert show({"a": "hmac:abcdef", "b": None, "c": True}) == "{a: (secret), c: true}"


def test_flatten_keeps_false_and_zero() -> None:
    spec = {"a": {"b": False, "c": None}, "d": 0, "e": [], "f": "", "g": ["x"]}
    assert list(flatten(spec)) == [("a.b", False), ("d", 0), ("g", ["x"])]


def test_marks_depend_on_key_and_secret_and_hide_both() -> None:
    one, other = keyed_mark(Secret(b"key 1")), keyed_mark(Secret(b"key 2"))
    assert one(Secret(b"hunter2")) == one(Secret(b"hunter2"))
    assert one(Secret(b"hunter2")) != one(Secret(b"hunter3"))
    assert one(Secret(b"hunter2")) != other(Secret(b"hunter2"))
    assert "hunter2" not in one(Secret(b"hunter2"))
