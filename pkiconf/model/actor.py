"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for an act, and how that was proved. Recorded with every audited act.

    `kind` is `operator`, `system` or a protocol's name; `id` names one among its kind;
    `proved_by` says why we believe it (`local-shell`, `worker`, …).
    """

    kind: str
    id: str
    proved_by: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


SYSTEM = Actor("system", "pkiconf", "in-process")
