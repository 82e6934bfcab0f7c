"""What a lint says, and what it may look at."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum

from pkiconf.model.certificate import IssuerFacts


class Severity(StrEnum):
    """`ERROR` stops the certificate: a MUST of its source is broken. `WARNING`: a SHOULD is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """`lint` names the rule, `detail` says what was seen, `source` is the section that asks for something else."""

    lint: str
    severity: Severity
    detail: str
    source: str

    def __str__(self) -> str:
        return f"{self.detail} ({self.source}) [{self.lint}]"


@dataclass(frozen=True, slots=True)
class LintContext:
    """`self_issued`: the issuer signs this certificate for its own key, as a root does.

    `seen` is for the lints alone: what they found in octets that come again and again under this issuer. It goes with
    the context, so facts that change take it with them.
    """

    issuer: IssuerFacts
    self_issued: bool = False
    seen: dict[Hashable, bool] = field(default_factory=dict, compare=False, repr=False)


def error(lint: str, detail: str, source: str) -> Finding:
    return Finding(lint, Severity.ERROR, detail, source)


def warning(lint: str, detail: str, source: str) -> Finding:
    return Finding(lint, Severity.WARNING, detail, source)
