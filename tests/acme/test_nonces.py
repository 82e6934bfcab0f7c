"""Nonces (RFC 8555 §6.5): recognised without a look into the database, good once, for an hour."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.acme.nonces import KEY_NAME, LENGTH, LIFETIME, Nonces
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.store import keys
from pkiconf.store.nonces import open_ledger
from tests.world import World

BOOT = "11111111-2222-4333-8444-555555555555"


def _nonces(world: World) -> Nonces:
    return Nonces(world.parts, open_ledger(world.parts.db, BOOT))


@pytest.fixture
def nonces(world: World) -> Iterator[Nonces]:
    made = _nonces(world)
    yield made
    made.close()


def refused(nonces: Nonces, text: str) -> str:
    with pytest.raises(ACMEProblem) as caught:
        nonces.redeem(text)
    assert caught.value.problem.type is ProblemType.BAD_NONCE
    return caught.value.detail


def test_a_nonce_is_good_once(nonces: Nonces) -> None:
    first, second = nonces.make(), nonces.make()
    assert first != second
    assert len(first) == LENGTH
    nonces.check(first)
    nonces.check(first)
    nonces.redeem(first)
    assert "used before" in refused(nonces, first)
    nonces.redeem(second)


def test_another_process_accepts_it_and_neither_accepts_it_again(nonces: Nonces, world: World) -> None:
    other = _nonces(world)
    made = other.make()
    nonces.redeem(made)
    refused(other, made)
    refused(nonces, made)
    other.close()


def test_the_key_is_one_sealed_secret_of_the_database(nonces: Nonces, world: World) -> None:
    def make(_: int) -> str:
        with closing(_nonces(world)) as own:
            return own.make()

    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(make, range(4)):
            nonces.redeem(made)
    stored = world.parts.db.read(lambda c: keys.get_secret(c, KEY_NAME))
    assert stored.wrapping_key_id == world.parts.keyring.master.ids[0]


def test_it_expires(nonces: Nonces, world: World) -> None:
    early, late = nonces.make(), nonces.make()
    world.pass_time(timedelta(seconds=LIFETIME - 1))
    nonces.redeem(early)
    world.pass_time(timedelta(seconds=1))
    assert "has expired" in refused(nonces, late)


def test_pruning_makes_no_used_nonce_good_again(nonces: Nonces, world: World) -> None:
    used = nonces.make()
    nonces.redeem(used)
    assert nonces.prune() == 0
    world.pass_time(timedelta(seconds=LIFETIME + 601))
    assert nonces.prune() == 1
    assert nonces.prune() == 0
    world.pass_time(timedelta(seconds=-LIFETIME - 601))  # the clock is set back
    assert "used before" in refused(nonces, used)


def test_it_is_not_pruned_at_every_call(nonces: Nonces, world: World) -> None:
    used = nonces.make()
    nonces.redeem(used)
    world.pass_time(timedelta(seconds=LIFETIME + 600))
    assert nonces.prune() == 0
    world.pass_time(timedelta(seconds=299))
    assert nonces.prune() == 0
    world.pass_time(timedelta(seconds=1))
    assert nonces.prune() == 1


def test_every_bit_is_covered(nonces: Nonces) -> None:
    made = base64.urlsafe_b64decode(nonces.make() + "=")
    assert len(made) == 32
    for bit in range(256):
        changed = bytearray(made)
        changed[bit // 8] ^= 1 << bit % 8
        assert "none that this server made" in refused(nonces, base64.urlsafe_b64encode(changed)[:LENGTH].decode())


@pytest.mark.parametrize("change", [lambda n: n + "=", lambda n: n[:-1], lambda n: n + "A", lambda n: f" {n[1:]}"])
def test_another_spelling_is_refused(nonces: Nonces, change: object) -> None:
    made = nonces.make()
    assert callable(change)
    refused(nonces, change(made))
    # The last character carries four bits; the other two have to be zero.
    for last in "BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if last != made[-1]:
            refused(nonces, made[:-1] + last)
    nonces.redeem(made)


def test_nonces_of_another_installation_are_refused(nonces: Nonces, world: World) -> None:
    foreign = Nonces(world.parts, open_ledger(world.parts.db, BOOT))
    foreign._key = bytes(32)
    assert "none that this server made" in refused(nonces, foreign.make())
    foreign.close()


@given(
    st.text(max_size=60) | st.binary(min_size=32, max_size=32).map(lambda o: base64.urlsafe_b64encode(o)[:43].decode())
)
def test_any_text_is_refused_as_a_bad_nonce(text: str) -> None:
    assert "none that this server made" in refused(_KEPT, text)


class _NoLedger:
    """Nothing that fails its MAC gets this far."""

    def epoch(self) -> bytes:
        return bytes(4)


_KEPT = Nonces.__new__(Nonces)
_KEPT._key = bytes(range(32))
_KEPT._ledger = _NoLedger()  # type: ignore[assignment]
