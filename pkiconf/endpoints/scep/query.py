"""What stands in a SCEP query (RFC 8894 §4.1), as clients really write it.

Some escape nothing of the base64, some only a part of it, some escape twice; Cisco breaks it into lines. A `+` is a
digit here and never a blank. So the query is read as it was sent, not as a framework reads forms.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

from pkiconf.errors import Malformed

_ALPHABET: Final = bytes.maketrans(b" -_", b"++/")
_BLANKS: Final = b"\r\n\t"
_ESCAPES: Final = 3
"""A message is escaped once, twice by some, and a proxy may do it again."""


def read_query(query: str) -> tuple[str, str]:
    """`operation` in lower case, and `message` as it was sent; empty where they are missing. The first of each counts,
    their names in any case."""
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        found.setdefault(name.strip().lower(), value)
    operation = unquote_to_bytes(found.get("operation", "").strip()).decode("latin-1")
    return operation.strip().lower(), found.get("message", "")


def decode_message(text: str) -> bytes:
    """The octets of a message. Raises Malformed."""
    data = text.encode("utf-8", "replace")
    for _ in range(_ESCAPES):
        if b"%" not in data:
            break
        data = unquote_to_bytes(data)
    digits = data.translate(_ALPHABET, _BLANKS).rstrip(b"=")
    if not digits:
        raise Malformed("the message is empty", "Send it by POST, as GetCACaps says, or base64-encoded in `message`")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the message is not base64 (RFC 4648 §4)") from None
