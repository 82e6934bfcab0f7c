"""What a raw signature costs while something else is measured: a figure is told as so many of them.

A machine whose cores are all busy signs some 15 % slower than an idle one, and shared machines change from minute to
minute. So a process of its own signs a little, again and again, for as long as the measurement lasts: about a
hundredth of one core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

Kind = Literal["P-256", "RSA-2048"]

_PAUSE: Final = 0.2
_AT_ONCE: Final = {"P-256": 40, "RSA-2048": 3}


@dataclass
class Reference:
    """`cpu` is milliseconds of a raw signature, once the measurement is over."""

    kind: Kind
    cpu: float = 0.0


@contextmanager
def beside(kind: Kind = "P-256") -> Iterator[Reference]:
    """Signs while the block lasts."""
    reference = Reference(kind)
    command = [sys.executable, "-m", "benchmarks.reference", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has a key
        yield reference
        reference.cpu = float(process.communicate("\n")[0])


def _signer(kind: str) -> Callable[[], bytes]:
    message = bytes(600)
    if kind == "P-256":
        ec_key = ec.generate_private_key(ec.SECP256R1())
        return lambda: ec_key.sign(message, ec.ECDSA(hashes.SHA256()))
    rsa_key = rsa.generate_private_key(65537, 2048)
    return lambda: rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def main(kind: str) -> None:
    """Signs until there is a line on standard input, then prints the milliseconds of CPU of one signature."""
    sign, number = _signer(kind), _AT_ONCE[kind]
    for _ in range(number):
        sign()
    print("ready", flush=True)
    os.set_blocking(0, False)
    cpu, count = 0.0, 0
    while not count or not _is_told():
        begun = time.process_time()
        for _ in range(number):
            sign()
        cpu += time.process_time() - begun
        count += number
        time.sleep(_PAUSE)
    print(f"{cpu / count * 1000:.4f}", flush=True)


def _is_told() -> bool:
    try:
        return os.read(0, 64) is not None
    except BlockingIOError:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
