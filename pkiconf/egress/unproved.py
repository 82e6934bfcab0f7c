"""Why a proof was not found, as the client that asked for it will hear."""

from __future__ import annotations

import re
import ssl
from typing import Final

from pkiconf.model.acme import Problem, ProblemType

_SHOWN: Final = 100
_SURROUNDINGS: Final = re.compile(r"^\[[^]]*\] ?| ?\(_ssl\.c:\d+\)$")


class Unproved(Exception):
    """Raised within this room; whoever asks the network gets the problem as a value."""

    def __init__(self, type: ProblemType, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(type, detail)


def shown(octets: bytes, most: int = _SHOWN) -> str:
    """The beginning of what somebody sent, in quotes: printable ASCII alone, for logs and terminals will show it."""
    text = "".join(chr(octet) if 0x20 <= octet < 0x7F and octet != 0x22 else "." for octet in octets[:most])
    return f'"{text}"' + (" …" if len(octets) > most else "")


def reason(error: OSError) -> str:
    """What went wrong with a connection, in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        # Alerts that came carry no reason of their own in older versions, only a text.
        return (error.reason or _SURROUNDINGS.sub("", f"{error}")).lower().replace("_", " ")
    return (error.strerror or f"{error}" or type(error).__name__).lower()
