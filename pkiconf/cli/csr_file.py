"""A certificate request from a file that somebody names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pkiconf.cli.output import read_in

_REMEDY: Final = (
    "Name a file that begins with -----BEGIN CERTIFICATE REQUEST-----; `pkiconf csr new` and `openssl req -new` write "
    "one"
)


def read_csr(path: Path) -> bytes:
    """The file as it is, once it is known to hold a request; `-` is standard input. Raises Unavailable, and Malformed,
    Unverified or UnsupportedAlgorithm that name the file."""
    from pkiconf.der.csr import parse_csr
    from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified

    data, where = read_in(path), "standard input" if str(path) == "-" else str(path)
    try:
        parse_csr(data)
    except Malformed as ex:
        raise Malformed(f"{where} is no certificate request: {ex.detail}", _REMEDY) from None
    except (Unverified, UnsupportedAlgorithm) as ex:
        raise type(ex)(f"{where}: {ex.detail}", ex.hint) from None
    return data
