"""The table of features keeps its word: each row has a test that carries its number, and each number has a row."""

from __future__ import annotations

import pytest

from docs.features import NUMBER, PAGE, Row, collect, rows

MARKERS = collect()
ROWS = {row.number: row for row in rows(PAGE.read_text())}


@pytest.mark.parametrize("number", ROWS)
def test_a_claimed_row_has_a_test(number: str) -> None:
    assert MARKERS.get(number), f"docs/features.md claims {number}; no test carries @pytest.mark.row({number!r})"


@pytest.mark.parametrize("number", sorted(MARKERS))
def test_a_marked_row_is_on_the_page(number: str) -> None:
    assert NUMBER.fullmatch(number), f"{number!r} is no row: {sorted(MARKERS[number])}"
    assert number in ROWS, f"docs/features.md has no row {number}, which {sorted(MARKERS[number])} prove"


def test_no_row_stands_twice() -> None:
    numbers = [row.number for row in rows(PAGE.read_text())]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("number", ROWS)
def test_the_tests_that_the_page_names_exist(number: str) -> None:
    gone = set(ROWS[number].tests) - MARKERS.get(number, set())
    assert not gone, f"run `python -m docs.features`: {number} names tests that are no more"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_says_what_and_where(row: Row) -> None:
    assert len(row.can) > 15
    assert row.where
