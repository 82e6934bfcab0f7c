"""Moves that cannot be made."""

from __future__ import annotations

from pkiconf.reconciler.moves import find_moves
from pkiconf.reconciler.state import Actual, ActualState, Desired, DesiredState


def desired(*wishes: Desired) -> DesiredState:
    return DesiredState({wish.address: wish for wish in wishes})


def actual(*addresses: str) -> ActualState:
    return ActualState(
        {address: Actual(address, {"name": address.rsplit("/")[-1]}, "yaml:default") for address in addresses}
    )


def wish(address: str, moved_from: str | None = None, *, absent: bool = False) -> Desired:
    return Desired(address, {}, "yaml:default", moved_from=moved_from, absent=absent)


def test_a_name_is_not_given_away_and_kept() -> None:
    moves = find_moves(desired(wish("authority/new", "authority/old"), wish("authority/old")), actual("authority/old"))
    assert dict(moves.addresses) == {}
    assert "declared too" in moves.refused["authority/new"]


def test_one_object_does_not_become_two() -> None:
    moves = find_moves(
        desired(wish("authority/a", "authority/old"), wish("authority/b", "authority/old")), actual("authority/old")
    )
    assert dict(moves.addresses) == {"authority/old": "authority/a"}
    assert "already moves to authority/a" in moves.refused["authority/b"]


def test_what_is_absent_does_not_move() -> None:
    moves = find_moves(desired(wish("authority/a", "authority/old", absent=True)), actual("authority/old"))
    assert not moves.addresses
    assert not moves.refused


def test_swapping_two_names_is_not_done_silently() -> None:
    state = actual("authority/a", "authority/b")
    moves = find_moves(desired(wish("authority/a", "authority/b"), wish("authority/b", "authority/a")), state)
    assert not moves.addresses
    assert len(moves.findings) == 2
    assert moves.renamed(state) is state


def test_a_move_of_nothing_is_a_creation() -> None:
    moves = find_moves(desired(wish("authority/new", "authority/old")), actual())
    assert not moves.addresses
    assert not moves.refused
