"""What Entra, Graph and Intune answer, read strictly: what is not exactly an answer is a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pkiconf.egress.https import HTTPSAnswer
from pkiconf.errors import Unavailable
from pkiconf.model.intune import RevocationRequest, Verdict

OK: Final = 200
_MOST_SHOWN: Final = 300


def read_object(answer: HTTPSAnswer, who: str) -> Mapping[str, Any]:
    """The JSON object that an answer is. Raises Unavailable."""
    found = _parsed(answer.body)
    if not isinstance(found, dict):
        raise Unavailable(f"{who} answered {answer.status} without a JSON object: {_shown(answer.body)}")
    return found


def read_verdict(answer: HTTPSAnswer, who: str) -> Verdict:
    """Raises Unavailable for what has no code, or whose code is no text."""
    found = read_object(answer, who)
    code, description = found.get("code"), found.get("errorDescription")
    if not isinstance(code, str) or not code:
        raise Unavailable(f"{who} answered without a code: {_shown(answer.body)}")
    return Verdict(code[:_MOST_SHOWN], one_line(description) if isinstance(description, str) else "")


def read_revocation_requests(answer: HTTPSAnswer, who: str) -> tuple[RevocationRequest, ...]:
    """An empty queue is an empty list; no list is a failure. Raises Unavailable."""
    listed = read_object(answer, who).get("value")
    if not isinstance(listed, list):
        raise Unavailable(f"{who} answered without a list of requests: {_shown(answer.body)}")
    return tuple(_revocation_request(one, who) for one in listed)


def _revocation_request(one: Any, who: str) -> RevocationRequest:  # noqa: ANN401 - whatever stands in the list
    context = one.get("requestContext") if isinstance(one, dict) else None
    if not isinstance(context, str) or not context:
        raise Unavailable(f"{who} gave a request without a context, which nobody can answer")
    serial, issuer = one.get("serialNumber"), one.get("issuerName")
    return RevocationRequest(
        context, serial if isinstance(serial, str) else "", issuer if isinstance(issuer, str) else ""
    )


def check_uploaded(answer: HTTPSAnswer, who: str) -> None:
    """Raise Unavailable unless it says that the results were taken: `true`, or the text of it."""
    value = read_object(answer, who).get("value")
    if value is not True and not (isinstance(value, str) and value.lower() == "true"):
        raise Unavailable(f"{who} did not take the results: {_shown(answer.body)}")


def complaint(answer: HTTPSAnswer) -> str:
    """What an answer that is no success says of itself, in one short line: OData's message, OAuth's description."""
    found = _parsed(answer.body)
    if not isinstance(found, dict):
        return _shown(answer.body)
    error = found.get("error")
    if isinstance(error, dict):
        parts = [error.get("code"), error.get("message")]
    else:
        parts = [error, found.get("error_description")]
    said = ": ".join(one_line(part) for part in parts if isinstance(part, str) and part)
    return said[:_MOST_SHOWN] or _shown(answer.body)


def one_line(text: str) -> str:
    """Short, and printable."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MOST_SHOWN]


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(body: bytes) -> str:
    text = one_line(body[:_MOST_SHOWN].decode("utf-8", "replace"))
    return f"{text!r}" if text else "nothing"
