"""JSON and base64url with one meaning each (RFC 7515 §2, §4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.endpoints.acme.strict import decode_base64url, encode_base64url, parse_object
from pkiconf.model.acme import ACMEProblem, ProblemType

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refused(text: bytes) -> str:
    with pytest.raises(ACMEProblem) as caught:
        parse_object(text, "it")
    assert caught.value.problem.type is ProblemType.MALFORMED
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":1,"a":2}', "occurs twice"),
        (b'{"a":1,"\\u0061":2}', "occurs twice"),
        (b'{"a":{"b":[{"c":1,"c":1}]}}', "occurs twice"),
        (b'{"a":NaN}', "NaN is no number"),
        (b'{"a":[-Infinity]}', "-Infinity is no number"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":["\\udfffx"]}', "surrogate"),
        (b'{"\\ud83d":1}', "surrogate"),
        (b'{"a":"\\u0000"}', "NUL"),
        (b'{"a":"\x00"}', "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "nested too deeply"),
        (b'{"a":' * 60_000 + b"1" + b"}" * 60_000, "nested too deeply"),
    ],
)
def test_what_has_no_meaning_or_two_is_refused(text: bytes, why: str) -> None:
    assert why in refused(text)


@pytest.mark.parametrize("text", [b'{"a":"\\ud83d\\ude00"}', '{"a":"😀"}'.encode(), b'{"a":"\\u00e9"}', b" { } "])
def test_other_texts_are_read(text: bytes) -> None:
    assert parse_object(text, "it") == json.loads(text)


def outcome(text: bytes) -> object:
    try:
        return parse_object(text, "it")
    except ACMEProblem as problem:
        return problem.problem.type


@given(st.dictionaries(st.text(), JSON_VALUES))
def test_an_object_is_read_or_refused_as_malformed(value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    found = outcome(text)
    assert found == value or (found is ProblemType.MALFORMED and b"\\u" in text)


@given(st.binary())
def test_any_octets_are_read_or_refused_as_malformed(text: bytes) -> None:
    found = outcome(text)
    assert found is ProblemType.MALFORMED or found == json.loads(text)


@given(st.binary())
def test_base64url_is_read_back(octets: bytes) -> None:
    assert decode_base64url(encode_base64url(octets), "it") == octets


@pytest.mark.parametrize(
    "text",
    ["=", "Zg==", "Zg=", "Z", "Zh", "Zg\n", " Zg", "Zm 8", "Zm+v", "Zm/v", "Zé", "ZmYZ=", "Zm9\0", "Zg.", "a" * 5],
)
def test_another_spelling_of_base64url_is_refused(text: str) -> None:
    with pytest.raises(ACMEProblem, match="base64url without padding"):
        decode_base64url(text, "it")


@pytest.mark.parametrize("value", [None, 1, True, [], {}, b"Zg"])
def test_what_is_no_text_is_no_base64url(value: object) -> None:
    with pytest.raises(ACMEProblem, match="it is not a string"):
        decode_base64url(value, "it")


@given(st.text())
def test_of_two_texts_one_at_most_has_the_octets(text: str) -> None:
    try:
        octets = decode_base64url(text, "it")
    except ACMEProblem:
        return
    assert encode_base64url(octets) == text
