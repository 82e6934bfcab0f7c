"""Validation of challenges (RFC 8555 §8, RFC 8737, RFC 8738) and CAA (RFC 8659, RFC 8657), as jobs of the worker.

A job is claimed without waiting for the disk: when a power cut forgets that, somebody else claims it. Each attempt ends
in one durable transaction. Of two that validate one authorization, because the first was thought dead, the claim lets
only the second end its attempt.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pkiconf.acme import settle
from pkiconf.acme.authorizations import VALIDATION_JOB, pause_after
from pkiconf.authority.settings import NAME as SETTINGS
from pkiconf.clock import to_epoch
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.network import Network, Proof
from pkiconf.errors import Conflict
from pkiconf.issuance.parts import Parts
from pkiconf.model.acme import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeType,
    Identifier,
    IdentifierType,
    Problem,
    ProblemType,
)
from pkiconf.model.acme_urls import URLs
from pkiconf.model.actor import SYSTEM
from pkiconf.policy import caa
from pkiconf.policy.acme.terms import CAA_LIFETIME
from pkiconf.policy.authorization import Action, check_may
from pkiconf.spec.acme import ACMEPolicySpec
from pkiconf.spec.settings import Settings
from pkiconf.steps import Step
from pkiconf.store import acme_validations, jobs
from pkiconf.store import settings as stored_settings
from pkiconf.store.acme_validations import ValidationRow
from pkiconf.store.database import Connection
from pkiconf.store.jobs import JobRow

_SPARE: Final = 20
"""Seconds that a claim outlives the longest attempt."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed job, and what it is about as it stood then; nothing where there is no such authorization any more."""

    job: JobRow
    row: ValidationRow | None
    settings: Settings

    @property
    def identifier(self) -> Identifier:
        assert self.row is not None
        return Identifier(IdentifierType(self.row.kind), self.row.value)


class Validations:
    """Claims, asks the network through what it is handed, and settles. All of it may be called from many threads."""

    def __init__(self, parts: Parts, network: Network) -> None:
        self._parts = parts
        self._network = network
        self._settings: tuple[int, Settings] = (0, Settings())
        self._policies: dict[int, tuple[int, ACMEPolicySpec]] = {}

    def claim(self, holder: str, most: int, leaving: Collection[str] = ()) -> list[Task]:
        """At most `most` that are due, for `holder` alone while an attempt may last. Those of `leaving`, payloads of
        jobs, stay where they are."""
        now = to_epoch(self._parts.now())
        due_at = self._parts.db.look(lambda c: jobs.next_due(c, VALIDATION_JOB))
        if due_at is None or due_at > now or most < 1:
            return []
        settings = self._current_settings()
        until = now + int(settings.validation.timeout.seconds) + _SPARE

        def claim(c: Connection) -> list[Task]:
            claimed = jobs.claim_of_kind(c, VALIDATION_JOB, holder, now, until, most, leaving=leaving)
            return [Task(job, acme_validations.find(c, int(job.dedupe)), settings) for job in claimed]

        return self._parts.db.write(Step.JOB_CLAIM, claim, durable=False)

    def next_due(self, leaving: Collection[str] = ()) -> int | None:
        """When there will be something to claim, epoch seconds; `leaving` as in `claim`."""
        return self._parts.db.look(lambda c: jobs.next_due(c, VALIDATION_JOB, leaving=leaving))

    def attempt(self, task: Task) -> None:
        """One attempt, ended in one transaction with what it found; of what is not pending any more the job just ends.
        Raises Unavailable when that could not be recorded: the claim then runs out, and somebody tries again."""
        if task.row is None or not self._is_open(task.row):
            self._end(task, None, settled=False)
            return
        try:
            problem = self._find_problem(task)
        except Exception:
            log.exception("validating %s failed", task.row.name)
            problem = Problem(ProblemType.SERVER_INTERNAL, "validation failed for a reason that is in the server's log")
        self._end(task, problem, settled=True)

    def give_back(self, task: Task) -> None:
        """It was not attempted to the end, because this process stops: the next one need not wait for the claim."""
        with suppress(Conflict):
            self._parts.db.write(Step.JOB_CLAIM, lambda c: jobs.give_back(c, task.job), durable=False)

    def _is_open(self, row: ValidationRow) -> bool:
        return (
            row.status == AuthorizationStatus.PENDING
            and row.accepted is not None
            and row.account_status == AccountStatus.VALID
            and row.expires_at > to_epoch(self._parts.now())
        )

    def _find_problem(self, task: Task) -> Problem | None:
        row, settings = task.row, task.settings.validation
        assert row is not None
        deadline = Deadline.within(settings.timeout.seconds)
        # The key of the account as it is now: one that was changed has to be proved anew (RFC 8555 §7.3.5).
        proof = Proof(task.identifier, ChallengeType(row.accepted or ""), row.token, f"{row.token}.{row.thumbprint}")
        problem = self._network.find(proof, settings, deadline)
        if problem is None and self._asks_caa(row):
            problem = self._caa_problem(task, row, deadline)
        return problem

    def _caa_problem(self, task: Task, row: ValidationRow, deadline: Deadline) -> Problem | None:
        found = self._network.relevant_caa(row.value, task.settings.validation, deadline)
        if isinstance(found, Problem):
            return found
        account = URLs(task.settings.enrolment_url).account(row.account)
        wish = caa.Wish(task.settings.acme.caa_identities, account, row.accepted or "", bool(row.wildcard))
        why = caa.refusal(found, wish)
        return Problem(ProblemType.CAA, f"CAA records of {row.value} forbid it: {why}") if why else None

    def _asks_caa(self, row: ValidationRow) -> bool:
        """CAA is about DNS names (RFC 8738 §7: not about addresses)."""
        return row.kind == IdentifierType.DNS and self._policy(row).caa

    def _policy(self, row: ValidationRow) -> ACMEPolicySpec:
        known = self._policies.get(row.policy_id)
        if known is None or known[0] != row.policy_generation:
            known = self._policies[row.policy_id] = (
                row.policy_generation,
                ACMEPolicySpec.model_validate(json.loads(row.policy)),
            )
        return known[1]

    def _current_settings(self) -> Settings:
        row = self._parts.db.look(lambda c: stored_settings.find_setting(c, SETTINGS))
        if row is None:
            return Settings()
        if self._settings[0] != row.generation:
            self._settings = (row.generation, Settings.model_validate(json.loads(row.spec)))
        return self._settings[1]

    def _end(self, task: Task, problem: Problem | None, *, settled: bool) -> None:
        def end(c: Connection) -> None:
            now = to_epoch(self._parts.now())
            # The job last: rows are locked in the order in which answering a challenge locks them.
            if not settled:
                jobs.finish(c, task.job)
            elif problem is None or task.job.attempts >= task.settings.validation.attempts:
                self._settle(c, task, problem, now)
                jobs.finish(c, task.job)
            else:
                settle.note_attempt(c, int(task.job.dedupe), problem)
                jobs.fail(c, task.job, problem.detail, now, pause_after(task.job.attempts))

        with suppress(Conflict):  # it took so long that another worker has it now
            self._parts.db.write(Step.ACME_VALIDATED, end)

    def _settle(self, c: Connection, task: Task, problem: Problem | None, now: int) -> None:
        row = task.row
        assert row is not None
        address = f"acme-authorization/{row.name}"
        check_may(SYSTEM, Action.ACME_VALIDATE, address)
        settle.settle(c, row.id, problem, now)
        status = acme_validations.status_of(c, row.id)
        if status not in (AuthorizationStatus.VALID, AuthorizationStatus.INVALID):
            return  # it was deactivated meanwhile
        if problem is None and self._asks_caa(row):
            acme_validations.shorten(c, row.id, now + CAA_LIFETIME)
        told: dict[str, object] = {
            "identifier": str(task.identifier), "account": row.account, "challenge": row.accepted, "status": status,
        }  # fmt: skip
        if problem is not None:
            told["problem"] = problem.record
        self._parts.record(c, SYSTEM, "acme-authorization.validate", address, told)
