"""A child's tie to its supervisor: a pipe that breaks when the supervisor is gone, however it went."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

VARIABLE: Final = "PKICONF_LIFELINE"


def hold_lifeline() -> None:
    """In a child: end this process (SIGTERM to itself) when the supervisor's end of the pipe closes."""
    number = os.environ.pop(VARIABLE, None)
    if number is not None:
        threading.Thread(target=_wait, args=(int(number),), name="lifeline", daemon=True).start()


def _wait(descriptor: int) -> None:
    try:
        os.read(descriptor, 1)  # nothing is ever written: it returns when the other end closes
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGTERM)
