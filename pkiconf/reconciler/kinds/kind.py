"""What a declared kind has to say for itself. Everything else in the reconciler is the same for all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from pkiconf.authority.declared import Guard
from pkiconf.authority.telling import Telling
from pkiconf.errors import Malformed
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.reconciler.fields import FieldChange
from pkiconf.reconciler.state import (
    Action,
    Actual,
    ActualState,
    Change,
    Desired,
    DesiredState,
    Finding,
    Spec,
    kind_of,
    name_of,
)
from pkiconf.services import Services
from pkiconf.spec.document import Document
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class Declaring:
    """Who declares, and how a secret becomes the mark that stands for it in a spec."""

    owner: str
    mark: Callable[[Secret], str]


@dataclass(frozen=True)
class View:
    """What a comparison may look at. `actual` already carries the addresses that `moved:` gives;
    `resolved` fills up as specs are worked out, authorities before the templates that hang on them."""

    desired: DesiredState
    actual: ActualState
    now: datetime
    resolved: dict[str, Spec] = field(default_factory=dict)

    def find_spec(self, address: str) -> Spec | None:
        """The spec an object is about to have, else the one it has."""
        if address in self.resolved:
            return self.resolved[address]
        standing = self.actual.objects.get(address)
        return standing.spec if standing else None

    @cached_property
    def levels_below(self) -> Mapping[str, int]:
        """How many levels of authorities, declared or standing, there are below each authority that has any."""
        above = {
            name_of(row.address): row.spec.get("issuer") for row in self.actual.of_kind("authority") if not row.retired
        }
        for address, wish in self.desired.objects.items():
            if kind_of(address) == "authority" and not wish.absent:
                above[name_of(address)] = wish.explicit.get("issuer", above.get(name_of(address)))
        levels: dict[str, int] = {}
        for name in above:
            issuer, depth = above[name], 1
            # The bound ends a circle, which only hand-made rows can contain.
            while issuer in above and depth <= len(above):
                levels[issuer] = max(levels.get(issuer, 0), depth)
                issuer, depth = above[issuer], depth + 1
        return levels


@dataclass(frozen=True, slots=True)
class Verdict:
    """How several changed fields of one object are to be carried out, and why in one line."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What has to happen elsewhere, as a phrase after 'waits for'; `deferred`: before anything can be done here."""

    what: str = ""
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """One change about to be carried out. `wish` is what declares it, None for what is only retired or was read
    from a saved plan; `generation` is the row's precondition as it is by now; `guard` runs first in every
    transaction and raises Conflict when the change may no longer be made; `telling` is where what is told once goes,
    None for nowhere."""

    services: Services
    change: Change
    wish: Desired | None
    generation: int | None
    actor: Actor
    guard: Guard
    telling: Telling | None = None

    @property
    def after(self) -> Spec:
        """The whole spec to write. Raises Malformed for a saved plan that lost it."""
        if self.change.after is None:
            raise Malformed(f"{self.change.address}: the plan does not say what to write", "Plan again")
        return self.change.after

    @property
    def precondition(self) -> int:
        """Of a row that stands. Raises Malformed for a saved plan that lost it."""
        if self.generation is None:
            raise Malformed(f"{self.change.address}: the plan does not say which row it was made from", "Plan again")
        return self.generation


class Kind(Protocol):
    """One declared kind; its instance stands in `kinds.KINDS`, after the kinds it depends on."""

    name: str

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        """What the document wishes of this kind. Raises Malformed for a file that cannot be read as what it is."""
        ...

    def imply(self, view: View) -> Iterator[Desired]:
        """What exists although nobody wrote it, because of what others are resolved to."""
        ...

    def create(self, wish: Desired, view: View) -> Spec:
        """The whole spec of a new object: defaults under what was written."""
        ...

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        """The whole spec of a standing object: what stands under what was written."""
        ...

    def compare(self, wish: Desired, standing: Actual, after: Spec) -> tuple[FieldChange, ...]:
        """The changed fields, with those that live outside the spec (files, certificates)."""
        ...

    def judge(self, changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Verdict: ...

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        """Why this can never be, as a sentence; empty if it can."""
        ...

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        """Addresses that must be right before this one."""
        ...

    def waiting(self, wish: Desired, standing: Actual | None, after: Spec, action: Action, view: View) -> Wait: ...

    def files(self, wish: Desired, standing: Actual | None, action: Action) -> tuple[str, ...]:
        """Which of the wish's files this action reads (`key.file`, …)."""
        ...

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]: ...

    def observe(self, c: Connection) -> Iterator[Actual]:
        """Everything of this kind that stands, in the caller's transaction."""
        ...

    def perform(self, act: Act) -> None:
        """Make one change, in one or more transactions that each begin with `act.guard`; finishing what an earlier
        attempt left half done is part of it. Raises the errors of `pkiconf.errors`."""
        ...


def problem_of(error: Exception) -> str:
    """The first line an operator needs of a validation error."""
    errors: Sequence[Mapping[str, object]] = getattr(error, "errors", list)()
    if not errors:
        return str(error)
    place = ".".join(str(part) for part in errors[0].get("loc", ()))  # type: ignore[attr-defined]
    message = str(errors[0].get("msg", error)).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
