"""What is freed at once, and not only when the collector comes, which is seldom (`pkiconf.cli.long_running`)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Held:
    """Stands for whatever the frames of a request hold."""


@contextmanager
def no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def is_freed_after(refused: type[Exception], fn: Callable[[], object]) -> bool:
    """Whether the frame that called `fn` is gone as soon as what `fn` raised was caught."""
    kept: list[weakref.ref[_Held]] = []

    def request() -> None:
        held = _Held()
        kept.append(weakref.ref(held))
        fn()

    with no_collector():
        try:
            request()
        except refused:
            pass
        else:
            raise AssertionError("nothing was raised")
        return kept[0]() is None
