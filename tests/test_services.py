"""What is made when it is asked for first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pkiconf.services import Later
from tests.world import World


def test_of_several_threads_one_makes_it() -> None:
    together, made = threading.Barrier(8), []

    def make() -> object:
        made.append(object())
        threading.Event().wait(0.05)  # long enough for the others to come
        return made[-1]

    later = Later(make)

    def ask() -> object:
        together.wait(10)
        return later.get()

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
    assert {one.result() for one in asking} == set(made)
    assert len(made) == 1
    assert later.made is made[0]


def test_what_failed_is_made_when_it_is_asked_for_again() -> None:
    tries = iter([OSError("no"), None])

    def make() -> str:
        failure = next(tries)
        if failure is not None:
            raise failure
        return "made"

    later = Later(make)
    with pytest.raises(OSError, match="no"):
        later.get()
    assert later.made is None
    assert later.get() == "made"


def test_closing_makes_nothing(sqlite_world: World) -> None:
    sqlite_world.services.close()
    assert sqlite_world.services._timestamping.made is None
