"""What clients may send: members of the right type, or a sentence that names the one that is not.

Members that are not known are ignored, as RFC 8555 asks (§7.3, §7.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pkiconf.endpoints.acme.strict import decode_base64url, is_list_of_text, malformed

Wish = Mapping[str, Any]

# RFC 3339 §5.6; datetime alone would read much more.
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def text_of(wish: Wish, name: str) -> str | None:
    """None where it is left out, or null."""
    value = wish.get(name)
    if value is not None and not isinstance(value, str):
        raise malformed(f"member {name!r} is not a string")
    return value


def flag_of(wish: Wish, name: str) -> bool | None:
    value = wish.get(name)
    if value is not None and not isinstance(value, bool):
        raise malformed(f"member {name!r} is neither true nor false")
    return value


def texts_of(wish: Wish, name: str) -> tuple[str, ...] | None:
    value = wish.get(name)
    if value is None:
        return None
    if not is_list_of_text(value):
        raise malformed(f"member {name!r} is not an array of strings")
    return tuple(value)


def number_of(wish: Wish, name: str) -> int | None:
    value = wish.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise malformed(f"member {name!r} is not an integer")
    return value


def octets_of(wish: Wish, name: str) -> bytes:
    if wish.get(name) is None:
        raise malformed(f"the payload has no member {name!r}")
    return decode_base64url(wish[name], f"member {name!r}")


def moment_of(wish: Wish, name: str) -> int | None:
    """Epoch seconds of an RFC 3339 timestamp; a fraction of a second is dropped."""
    text = text_of(wish, name)
    if text is None:
        return None
    try:
        if not _TIMESTAMP.fullmatch(text):
            raise ValueError
        return int(datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        raise malformed(f"member {name!r} is no RFC 3339 time, such as 2030-01-31T12:00:00Z") from None


def is_deactivation(wish: Wish) -> bool:
    """Whether it asks for `"status": "deactivated"` (§7.3.6, §7.5.2); other statuses are a server's to set."""
    return text_of(wish, "status") == "deactivated"
