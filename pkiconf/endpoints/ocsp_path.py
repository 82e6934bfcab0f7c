"""OCSP requests in URLs (RFC 9919 §5), as clients and proxies really send them.

They differ: `/`, `+` and `=` come escaped or not, once or twice, in either case; `+` as a space; the URL-safe
alphabet; line ends in between; no padding. Proxies merge two slashes into one, which takes a digit of the base64
away: the request's own length then tells how many are missing, but not where.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from itertools import combinations_with_replacement, islice
from typing import Final
from urllib.parse import unquote_to_bytes

MOST_READINGS: Final = 16
"""Each may cost a look at the database; a real request holds two slashes or so."""
_MOST_MISSING: Final = 2
_ALPHABET: Final = bytes.maketrans(b" -_", b"++/")


def readings(path: str) -> tuple[bytes, ...]:
    """Every request that `path`, what stands behind the responder's URL, may have been; nearly always one.

    None when it holds no base64. They need not be valid requests.
    """
    text = path.partition("?")[0].encode("utf-8", "replace")
    for _ in range(2):
        text = unquote_to_bytes(text)
    # A request is a SEQUENCE, so its base64 begins with M: slashes in front are the proxy's or the client's.
    digits, _, padding = text.translate(_ALPHABET, b"\r\n\t").lstrip(b"/").partition(b"=")
    if padding.strip(b"=/"):
        return ()
    missing = _size(digits) - len(digits)
    if missing < 0 and not digits[missing:].strip(b"/"):
        digits = digits[:missing]
    if 0 < missing <= _MOST_MISSING and b"/" in digits:
        candidates = list(islice(_with_slashes(digits, missing), MOST_READINGS))
    else:
        candidates = [digits]
    return tuple(dict.fromkeys(found for found in map(_decode, candidates) if found))


def _size(text: bytes) -> int:
    """How many base64 digits the DER that `text` begins with needs; len(text) when that cannot be told."""
    head = _decode(text[:8])
    if head is None or len(head) < 6:
        return len(text)
    if head[1] < 0x80:
        size = 2 + head[1]
    elif head[1] == 0x81:
        size = 3 + head[2]
    elif head[1] == 0x82:
        size = 4 + (head[2] << 8 | head[3])
    else:
        return len(text)
    return (size * 8 + 5) // 6


def _with_slashes(text: bytes, missing: int) -> Iterator[bytes]:
    # Wherever in a row of slashes one is put back, the text is the same.
    places = [place for place, digit in enumerate(text) if digit == ord("/") and text[place - 1 : place] != b"/"]
    for chosen in combinations_with_replacement(places, missing):
        pieces, last = [], 0
        for place in chosen:
            pieces += [text[last:place], b"/"]
            last = place
        yield b"".join((*pieces, text[last:]))


def _decode(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
