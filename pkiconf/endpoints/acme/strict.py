"""JSON and base64url as JOSE wants them (RFC 7515 §2, §5.2): one meaning for every text, or none."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeGuard

from pkiconf.model.acme import ACMEProblem, ProblemType

JSONObject = Mapping[str, Any]

_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def malformed(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.MALFORMED, detail)


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object whose members, at any depth, have different names. Raises ACMEProblem `malformed`.

    Refused besides: what is not UTF-8, NaN and infinities, halves of surrogate pairs and NUL, which no database and
    no client would give back as they came.
    """
    try:
        found = _decoder.decode(text.decode())
    except (UnicodeDecodeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8"
        raise malformed(f"{what} is {why}") from None
    except ValueError as error:
        raise malformed(f"{what} is not JSON: {_reason(error)}") from None
    if not isinstance(found, dict):
        raise malformed(f"{what} is not a JSON object")
    if b"\\u" in text or b"\0" in text:
        _check_texts(found, what)
    return found


def decode_base64url(text: object, what: str) -> bytes:
    """Octets of unpadded base64url without anything else in it, in the one spelling they have (RFC 7515 §2).

    Raises ACMEProblem `malformed`.
    """
    if not isinstance(text, str):
        raise malformed(f"{what} is not a string")
    try:
        given = text.encode("ascii")
        octets = binascii.a2b_base64(given.translate(_TO_STANDARD) + b"=" * (-len(given) % 4))
    except ValueError:  # binascii.Error and UnicodeEncodeError are such
        octets, given = b"", b"="
    if encode_base64url(octets).encode() != given:
        raise malformed(f"{what} is not base64url without padding (RFC 7515 §2)")
    return octets


def encode_base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def is_list_of_text(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member occurs twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return str(error)[:100]


def _check_texts(value: object, what: str) -> None:
    """Only where an escape could have hidden one: two in a thousand requests."""
    pending = [value]
    while pending:
        now = pending.pop()
        if isinstance(now, dict):
            pending += [*now.keys(), *now.values()]
        elif isinstance(now, list):
            pending += now
        elif isinstance(now, str) and ("\0" in now or any("\ud800" <= c <= "\udfff" for c in now)):
            raise malformed(f"{what} has a text with NUL or half a surrogate pair in it")
