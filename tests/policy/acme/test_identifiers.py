"""Identifiers as clients write them (RFC 8555 §7.1.4, RFC 8738)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.model.acme import ACMEProblem, Identifier, IdentifierType, ProblemType
from pkiconf.policy.acme import MOST_IDENTIFIERS, parse_identifiers
from pkiconf.policy.acme.identifiers import find_identifier, general_name

TYPES = ProblemType


def dns(*values: str) -> list[dict[str, str]]:
    return [{"type": "dns", "value": value} for value in values]


def ip(*values: str) -> list[dict[str, str]]:
    return [{"type": "ip", "value": value} for value in values]


def refused(records: Any) -> ACMEProblem:
    with pytest.raises(ACMEProblem) as caught:
        parse_identifiers(records)
    return caught.value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Web.CORP.example", "web.corp.example"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("*.corp.example", "*.corp.example"),
        ("localhost", "localhost"),
        ("intranet", "intranet"),
        ("*.intranet", "*.intranet"),
        ("web.internal", "web.internal"),
    ],
)
@pytest.mark.row("F110")
def test_a_name_has_one_spelling(written: str, read: str) -> None:
    assert parse_identifiers(dns(written)) == (Identifier(IdentifierType.DNS, read),)


@pytest.mark.parametrize("value", ["192.0.2.1", "2001:db8::1", "::1", "2001:db8:0:1:1:1:1:1"])
def test_canonical_addresses(value: str) -> None:
    (identifier,) = parse_identifiers(ip(value))
    assert identifier == Identifier(IdentifierType.IP, value)
    assert find_identifier(general_name(identifier)) == identifier


def test_repetitions_are_dropped_and_the_order_is_kept() -> None:
    found = parse_identifiers(dns("b.example", "A.example", "a.example", "B.EXAMPLE"))
    assert [identifier.value for identifier in found] == ["b.example", "a.example"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("web.corp.example.", "trailing"),
        (".corp.example", "leading"),
        ("web..example", "doubled"),
        ("", "1 to 253"),
        ("a" * 64 + ".example", "1 to 63"),
        (".".join(["abcdefgh"] * 30), "1 to 253"),
        ("w*.corp.example", "whole leftmost label"),
        ("*web.corp.example", "whole leftmost label"),
        ("web.*.example", "whole leftmost label"),
        ("*.*.example", "whole leftmost label"),
        ("*", "whole leftmost label"),
        ("*.", "empty label"),
        ("under_score.example", "letters, digits and inner hyphens"),
        ("-web.example", "letters, digits and inner hyphens"),
        ("web.example:443", "letters, digits and inner hyphens"),
        ("https://web.example", "letters, digits and inner hyphens"),
        ("web.example\0", "letters, digits and inner hyphens"),
        ("web.example\n", "letters, digits and inner hyphens"),
        (" web.example", "letters, digits and inner hyphens"),
        ("xn--a.example", "no A-label"),
        ("☃\ud800.example", "internationalised"),
        ("192.0.2.1", "type ip"),
        ("[2001:db8::1]", "type ip"),
        ("2001:db8::1", "type ip"),
        ("1.2.3", "ends in a number"),
        ("web.123", "ends in a number"),
    ],
)
def test_names_that_no_certificate_could_hold(value: str, says: str) -> None:
    error = refused(dns(value))
    assert error.problem.type is TYPES.REJECTED_IDENTIFIER
    assert says in error.problem.detail
    assert error.problem.identifier is not None


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8::1", "2001:db8::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
    ],
)
def test_another_spelling_of_an_address_is_told_the_right_one(value: str, right: str) -> None:
    error = refused(ip(value))
    assert error.problem.type is TYPES.REJECTED_IDENTIFIER
    assert f"Write {right}" in error.problem.detail


@pytest.mark.parametrize(
    "value", ["", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1/32", "fe80::1%eth0", "web.example", "[::1]"]
)  # fmt: skip
def test_what_is_no_address(value: str) -> None:
    assert refused(ip(value)).problem.type is TYPES.REJECTED_IDENTIFIER


@pytest.mark.parametrize(
    "records",
    [None, {}, "web.example", 7, [], ["web.example"], [None], [[]], [{}], [{"type": "dns"}], [{"value": "a.example"}],
     [{"type": "dns", "value": 7}], [{"type": 1, "value": "a.example"}], [{"type": "dns", "value": None}],
     [{"type": "dns", "value": ["a.example"]}]],
)  # fmt: skip
def test_what_is_no_list_of_identifiers(records: Any) -> None:
    error = refused(records)
    assert error.problem.type is TYPES.MALFORMED
    assert error.problem.subproblems == ()


@pytest.mark.parametrize("kind", ["DNS", "email", "permanent-identifier", "", "dns\0", "x" * 1000])
def test_other_types_are_named_with_those_there_are(kind: str) -> None:
    error = refused([{"type": kind, "value": "web.example"}])
    assert error.problem.type is TYPES.UNSUPPORTED_IDENTIFIER
    assert "dns and ip" in error.problem.detail
    assert len(error.problem.detail) < 300


def test_the_most() -> None:
    names = [f"h{number}.example" for number in range(MOST_IDENTIFIERS)]
    assert len(parse_identifiers(dns(*names))) == MOST_IDENTIFIERS
    error = refused(dns(*names, "one.more.example"))
    assert error.problem.type is TYPES.MALFORMED
    assert str(MOST_IDENTIFIERS) in error.problem.detail


def test_several_bad_ones_are_each_named() -> None:
    error = refused([*dns("good.example", "bad..example", "*"), *ip("2001:DB8::1")])
    assert error.problem.type is TYPES.REJECTED_IDENTIFIER
    assert error.problem.identifier is None
    named = [sub.identifier.value for sub in error.problem.subproblems if sub.identifier]
    assert named == ["bad..example", "*", "2001:DB8::1"]


def test_bad_ones_of_several_kinds_are_compound() -> None:
    error = refused([*dns("bad..example"), {"type": "email", "value": "a@b.example"}])
    assert error.problem.type is TYPES.COMPOUND
    assert [sub.type for sub in error.problem.subproblems] == [
        TYPES.REJECTED_IDENTIFIER,
        TYPES.UNSUPPORTED_IDENTIFIER,
    ]


@given(
    st.lists(st.sampled_from(["a.example", "b.example", "bad..example", "*", "c.example.", "192.0.2.1"]), min_size=1)
)
def test_one_bad_one_anywhere_refuses_all(values: list[str]) -> None:
    good = {"a.example", "b.example"}
    if set(values) <= good:
        assert {found.value for found in parse_identifiers(dns(*values))} == set(values)
        return
    error = refused(dns(*values))
    said = [error.problem, *error.problem.subproblems]
    assert [sub.identifier.value for sub in said if sub.identifier] == [v for v in values if v not in good]


@given(st.text(max_size=80), st.sampled_from(["dns", "ip"]))
def test_whatever_comes_is_read_or_refused(value: str, kind: str) -> None:
    try:
        (identifier,) = parse_identifiers([{"type": kind, "value": value}])
    except ACMEProblem:
        return
    assert parse_identifiers([identifier.record]) == (identifier,)
    assert identifier.value.isascii()
    assert identifier.value == identifier.value.lower()
    assert Identifier.parse(str(identifier)) == identifier
