"""What most kinds have in common: every changed field is an update, nothing waits, and no file is read for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ValidationError

from pkiconf.reconciler.fields import FieldChange, describe, field_changes
from pkiconf.reconciler.kinds.kind import Verdict, View, Wait, problem_of
from pkiconf.reconciler.state import Action, Actual, Desired, Spec


class PlainKind:
    """These methods of a `Kind`, for those that mean nothing else by them."""

    def imply(self, view: View) -> Iterator[Desired]:
        return iter(())

    def compare(self, wish: Desired, standing: Actual, after: Spec) -> tuple[FieldChange, ...]:
        return field_changes(standing.spec, after)

    def judge(self, changes: Sequence[FieldChange], standing: Actual, after: Spec) -> Verdict:
        return Verdict(Action.UPDATE if changes else Action.UNCHANGED, describe(changes))

    def waiting(self, wish: Desired, standing: Actual | None, after: Spec, action: Action, view: View) -> Wait:
        return Wait()

    def files(self, wish: Desired, standing: Actual | None, action: Action) -> tuple[str, ...]:
        return ()


def misfit(model: type[BaseModel], after: Spec) -> str:
    """Why a spec is none of that model; empty if it is one."""
    try:
        model.model_validate(after)
    except ValidationError as error:
        return problem_of(error)
    return ""
