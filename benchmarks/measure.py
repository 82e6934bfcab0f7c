"""Rates and CPU time of a piece of work, and the raw speed of the machine beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

SERVER: Final = "PKICONF_STATUS_SERVER"
"""The variable that names what serves; gunicorn where it is not set."""


@dataclass(frozen=True)
class Figure:
    """`rate` is pieces of work a second; `cpu` milliseconds of this process for each."""

    rate: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.rate:9,.0f}/s   {self.cpu:7.3f} ms CPU each"


def run(work: Callable[[int], object], count: int, threads: int = 1) -> Figure:
    """Do `work` for 0 … count-1."""
    cpu, clock = _cpu(), time.perf_counter()
    if threads == 1:
        for number in range(count):
            work(number)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(count)))
    seconds = time.perf_counter() - clock
    return Figure(count / seconds, (_cpu() - cpu) / count * 1000)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def raw_signing() -> Figure:
    """P-256 signatures over 600 octets, one thread: what the machine can do at this moment."""
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    message = bytes(600)
    return run(lambda _: key.sign(message, algorithm), 3000)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """`with timed() as seconds: …; seconds()`."""
    begun = time.perf_counter()
    yield lambda: time.perf_counter() - begun


def middle(work: Callable[[], float], times: int = 5) -> float:
    return median(work() for _ in range(times))


def show(what: str, figure: object, target: str, reference: str = "") -> None:
    print(f"{what:58} {figure!s:38} target {target:24} {reference}", flush=True)
