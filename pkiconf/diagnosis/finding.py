"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pkiconf.errors import PkiconfError


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works now
    ERROR = "error"  # something does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is the name of what was looked at; `remedy` is empty where all is well."""

    severity: Severity
    check: str
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(Severity.OK, check, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, check, text, remedy)


def error(check: str, text: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, check, text, remedy)


def findings_of(check: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a check found; that it could not look is a finding too."""
    try:
        return list(look())
    except PkiconfError as ex:
        return [error(check, ex.detail, ex.hint or "See the message; then run this again")]
