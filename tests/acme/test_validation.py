"""Validation jobs: claimed, attempted, ended; what clients and operators see of it, and what happens once only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pkiconf.acme.authorizations import VALIDATION_JOB
from pkiconf.acme.validation import Task, Validations
from pkiconf.authority.settings import DeclaredSettings
from pkiconf.egress.network import Proof
from pkiconf.errors import Unavailable
from pkiconf.model.acme import (
    Account,
    Authorization,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    OrderStatus,
    Problem,
    ProblemType,
)
from pkiconf.model.acme_urls import URLs
from pkiconf.policy.caa import CAARecord
from pkiconf.spec.settings import Settings
from pkiconf.steps import Step
from pkiconf.store import jobs
from tests.acme.place import Place, at_once, make_account_key
from tests.network import NOT_THERE, ScriptedNetwork
from tests.world import OPERATOR

NAME = "web.corp.example"
HTTP, DNS, TLS = ChallengeType.HTTP_01, ChallengeType.DNS_01, ChallengeType.TLS_ALPN_01


class Case:
    """One account with one order, whose first authorization is being validated."""

    def __init__(self, place: Place, *names: str, challenge: ChallengeType = HTTP, **policy: Any) -> None:
        place.policy(**policy)
        self.place = place
        self.account: Account = place.account()
        self.order = place.order(self.account, *(names or (NAME,)))
        for name in self.order.authorizations:
            self.respond(name, challenge)

    @property
    def network(self) -> ScriptedNetwork:
        return self.place.world.network

    @property
    def validations(self) -> Validations:
        found: Validations = self.place.acme.validations
        return found

    def respond(self, name: str, challenge: ChallengeType) -> None:
        self.place.acme.authorizations.respond(self.account, name, challenge)

    def authorization(self, number: int = 0) -> Authorization:
        found: Authorization = self.place.acme.authorizations.get(self.account, self.order.authorizations[number])
        return found

    def order_status(self) -> OrderStatus:
        found: OrderStatus = self.place.acme.orders.get(self.account, self.order.name).status
        return found

    def claim(self, holder: str = "w1", most: int = 16) -> list[Task]:
        return self.validations.claim(holder, most)

    def run(self) -> int:
        tasks = self.claim()
        for task in tasks:
            self.validations.attempt(task)
        return len(tasks)

    def run_to_the_end(self) -> list[int]:
        """Attempts and the seconds between them."""
        pauses = []
        while (due_at := self.validations.next_due()) is not None:
            pauses.append(max(0, due_at - self.place.now))
            self.place.world.pass_time(timedelta(seconds=pauses[-1]))
            self.run()
        return pauses

    def jobs(self) -> list[Any]:
        return self.place.world.parts.db.read(lambda c: jobs.list_jobs_of_kind(c, VALIDATION_JOB))

    def records(self) -> list[dict[str, Any]]:
        return [record["details"] for record in self.place.records("acme-authorization.validate")]

    def configure(self, **settings: Any) -> None:
        declared = DeclaredSettings(self.place.world.parts)
        row = self.place.rows("SELECT generation FROM setting WHERE name = 'settings'")
        spec = Settings.model_validate(settings).model_dump(mode="json")
        declared.write(spec, "yaml:default", row[0][0] if row else None, OPERATOR)


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.row("F97")
def test_a_proof_that_is_found(place: Place) -> None:
    case = Case(place)
    case.network.proofs.add(NAME)
    assert case.run() == 1
    found = case.authorization()
    assert found.status is AuthorizationStatus.VALID
    assert [(one.type, one.status) for one in found.challenges if one.status != "pending"] == [
        (HTTP, ChallengeStatus.VALID)
    ]
    assert case.order_status() is OrderStatus.READY
    assert case.jobs() == []
    assert case.records() == [
        {"identifier": f"dns:{NAME}", "account": case.account.name, "challenge": "http-01", "status": "valid"}
    ]


@pytest.mark.parametrize("challenge", [HTTP, DNS, TLS])
def test_what_the_network_is_asked(sqlite_place: Place, challenge: ChallengeType) -> None:
    case = Case(sqlite_place, challenge=challenge)
    token = case.authorization().challenges[0].token
    case.run()
    (proof,) = case.network.asked
    assert proof.identifier.value == NAME
    assert (proof.challenge, proof.token) == (challenge, token)
    assert proof.key_authorization == f"{token}.{case.account.thumbprint}"


def test_a_wildcard_is_proved_by_the_name_below_it(sqlite_place: Place) -> None:
    case = Case(sqlite_place, "*.corp.example", challenge=DNS)
    case.network.proofs.add("corp.example")
    case.run()
    assert case.network.asked[0].identifier.value == "corp.example"
    assert case.order_status() is OrderStatus.READY


def test_the_account_s_key_of_now_counts(sqlite_place: Place) -> None:
    """RFC 8555 §7.3.5: a key authorization made with the former key proves nothing."""
    case = Case(sqlite_place)
    changed = case.place.acme.accounts.change_key(case.account, make_account_key())
    case.run()
    assert case.network.asked[0].key_authorization.endswith("." + changed.thumbprint)


def test_an_order_waits_for_all_its_names(place: Place) -> None:
    case = Case(place, "a.corp.example", "b.corp.example")
    case.network.proofs.add("a.corp.example")
    assert case.run() == 2
    assert case.order_status() is OrderStatus.PENDING
    case.network.proofs.add("b.corp.example")
    case.run_to_the_end()
    assert case.order_status() is OrderStatus.READY


# --- what is not found ----------------------------------------------------------------------------------------------


def test_an_attempt_that_fails_is_told_and_made_again(place: Place) -> None:
    case = Case(place)
    case.run()
    found = case.authorization()
    assert found.status is AuthorizationStatus.PENDING
    (challenge,) = [one for one in found.challenges if one.type is HTTP]
    assert challenge.status is ChallengeStatus.PROCESSING
    assert challenge.error is not None
    assert challenge.error.detail == NOT_THERE.detail
    (job,) = case.jobs()
    assert (job.attempts, job.due_at, job.claimed_by, job.last_error) == (1, place.now + 1, None, NOT_THERE.detail)
    assert case.records() == []
    case.network.proofs.add(NAME)
    place.world.pass_time(timedelta(seconds=1))
    case.run()
    assert case.order_status() is OrderStatus.READY


def test_after_the_last_attempt_it_has_failed(place: Place) -> None:
    case = Case(place)
    assert case.run_to_the_end() == [0, 1, 3, 10]
    found = case.authorization()
    assert found.status is AuthorizationStatus.INVALID
    (challenge,) = [one for one in found.challenges if one.status is ChallengeStatus.INVALID]
    assert challenge.error is not None
    assert challenge.error.type is ProblemType.CONNECTION
    assert case.order_status() is OrderStatus.INVALID
    assert case.jobs() == []
    (record,) = case.records()
    assert (record["status"], record["problem"]["detail"]) == ("invalid", NOT_THERE.detail)


@pytest.mark.parametrize("attempts", [1, 2, 7])
def test_how_many_attempts_is_a_setting(sqlite_place: Place, attempts: int) -> None:
    case = Case(sqlite_place)
    case.configure(validation={"attempts": attempts})
    assert case.run_to_the_end() == [0, 1, 3, 10, 30, 60, 60][:attempts]
    assert case.authorization().status is AuthorizationStatus.INVALID


def test_settings_reach_the_network_as_soon_as_they_change(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    ports: list[int] = []

    class Looking(ScriptedNetwork):
        def find(self, proof: Proof, settings: Any, deadline: Any) -> Problem | None:
            ports.append(settings.http_port)
            return NOT_THERE

    case.place.world.services.acme.validations._network = Looking()
    case.run()
    for port in (5002, 5003):
        case.configure(validation={"http_port": port})
        case.place.world.pass_time(timedelta(seconds=10))
        case.run()
    assert ports == [80, 5002, 5003]


def test_an_error_of_ours_is_logged_and_tried_again(sqlite_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    case = Case(sqlite_place)

    def broken(proof: Proof) -> Problem | None:
        raise ZeroDivisionError("secret details")

    case.network.script = broken
    case.run_to_the_end()
    assert "ZeroDivisionError" in caplog.text
    found = case.authorization()
    assert found.status is AuthorizationStatus.INVALID
    (error,) = [one.error for one in found.challenges if one.error]
    assert error.type is ProblemType.SERVER_INTERNAL
    assert "secret" not in error.detail


# --- what is over already -------------------------------------------------------------------------------------------


def deactivated(case: Case) -> None:
    case.place.acme.authorizations.deactivate(case.account, case.order.authorizations[0])


def account_deactivated(case: Case) -> None:
    case.place.acme.accounts.deactivate(case.account, OPERATOR)


def account_ended_beside_it(case: Case) -> None:
    """As an order that was made in the same moment sees it: its authorization is still pending."""
    ended = "UPDATE acme_account SET status = 'deactivated'"
    case.place.write(Step.ACME_ACCOUNT_WRITE, lambda c: c.exec_driver_sql(ended))


def expired(case: Case) -> None:
    case.place.world.pass_time(timedelta(days=60))


@pytest.mark.parametrize("over", [deactivated, account_deactivated, account_ended_beside_it, expired])
def test_the_job_of_what_is_over_just_ends(place: Place, over: Callable[[Case], None]) -> None:
    case = Case(place)
    case.network.proofs.add("*")
    over(case)
    before = place.rows("SELECT status, error, validated_at FROM acme_authorization")
    assert case.run() == 1
    assert case.network.asked == []
    assert case.jobs() == []
    assert place.rows("SELECT status, error, validated_at FROM acme_authorization") == before
    assert case.records() == []


@pytest.mark.parametrize("problem", [None, NOT_THERE])
@pytest.mark.parametrize("over", [deactivated, account_deactivated])
def test_what_ends_while_it_is_validated_stays_ended(
    place: Place, over: Callable[[Case], None], problem: Problem | None
) -> None:
    case = Case(place)
    case.configure(validation={"attempts": 1})

    def meanwhile(proof: Proof) -> Problem | None:
        over(case)
        return problem

    case.network.script = meanwhile
    case.run()
    assert place.rows("SELECT status FROM acme_authorization") in ([("deactivated",)], [("revoked",)])
    assert place.rows("SELECT status FROM acme_order") == [("invalid",)]
    assert case.jobs() == []
    assert case.records() == []


def test_a_job_of_nothing_just_ends(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    case.place.write(  # an authorization that was never there
        Step.ACME_CHALLENGE_ACCEPT, lambda c: jobs.queue(c, VALIDATION_JOB, "999", "{}", 0)
    )
    case.network.proofs.add("*")
    assert case.run() == 2
    assert case.jobs() == []


# --- once only ------------------------------------------------------------------------------------------------------


def test_a_claim_is_one_worker_s_alone(place: Place) -> None:
    case = Case(place)
    (task,) = case.claim("w1")
    assert case.claim("w2") == []
    assert case.claim("w1") == []
    place.world.pass_time(timedelta(seconds=29))
    assert case.claim("w2") == []
    case.network.proofs.add("*")
    case.validations.attempt(task)
    assert case.order_status() is OrderStatus.READY


def test_what_a_dead_worker_had_claimed_is_taken_over(place: Place) -> None:
    case = Case(place)
    assert len(case.claim("dead")) == 1
    place.world.pass_time(timedelta(seconds=31))
    case.network.proofs.add("*")
    assert case.run() == 1
    assert case.order_status() is OrderStatus.READY


@pytest.mark.parametrize("late", [None, NOT_THERE])
def test_one_that_was_only_thought_dead_changes_nothing(place: Place, late: Problem | None) -> None:
    """Its claim is another's now: whatever it finds comes too late, before and after the other has ended it."""
    case = Case(place)
    case.configure(validation={"attempts": 1})
    (slow,) = case.claim("slow")
    place.world.pass_time(timedelta(seconds=31))
    (taken,) = case.claim("quick")
    case.network.script = lambda proof: late
    case.validations.attempt(slow)
    assert case.authorization().status is AuthorizationStatus.PENDING
    assert case.records() == []
    case.network.script = lambda proof: NOT_THERE if late is None else None
    case.validations.attempt(taken)
    ended = case.authorization().status
    case.network.script = lambda proof: late
    case.validations.attempt(slow)
    assert case.authorization().status is ended
    assert ended is (AuthorizationStatus.INVALID if late is None else AuthorizationStatus.VALID)
    assert len(case.records()) == 1


def test_many_workers_at_once_validate_each_once(place: Place) -> None:
    names = [f"w{number}.corp.example" for number in range(12)]
    case = Case(place, *names)
    case.network.proofs.add("*")

    def work(holder: str) -> Callable[[], int]:
        def run() -> int:
            done = 0
            while tasks := case.claim(holder, 2):
                for task in tasks:
                    case.validations.attempt(task)
                done += len(tasks)
            return done

        return run

    counts = at_once(*(work(f"w{number}") for number in range(4)))
    assert sum(counts) == 12
    assert sorted(proof.identifier.value for proof in case.network.asked) == sorted(names)
    assert case.order_status() is OrderStatus.READY
    assert len(case.records()) == 12


def test_an_answer_given_again_makes_no_second_validation(place: Place) -> None:
    case = Case(place)
    (task,) = case.claim()
    case.respond(case.order.authorizations[0], HTTP)
    case.respond(case.order.authorizations[0], DNS)
    assert len(case.jobs()) == 1
    case.network.proofs.add("*")
    case.validations.attempt(task)
    case.respond(case.order.authorizations[0], HTTP)
    assert case.jobs() == []
    assert len(case.network.asked) == 1


def test_what_is_given_back_is_due_at_once_and_counts_for_nothing(place: Place) -> None:
    case = Case(place)
    (task,) = case.claim("w1")
    case.validations.give_back(task)
    case.validations.give_back(task)  # again: nothing
    (again,) = case.claim("w2")
    assert again.job.attempts == 1
    case.network.proofs.add("*")
    case.validations.attempt(task)  # the one that gave it back
    assert case.authorization().status is AuthorizationStatus.PENDING
    case.validations.attempt(again)
    assert case.authorization().status is AuthorizationStatus.VALID


def test_a_database_that_fails_at_the_end_loses_nothing(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(sqlite_place)
    case.network.proofs.add("*")
    (task,) = case.claim()

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(case.place.world.parts.db), "write", fail)
        with pytest.raises(Unavailable):
            case.validations.attempt(task)
    assert case.authorization().status is AuthorizationStatus.PENDING
    case.place.world.pass_time(timedelta(seconds=31))
    case.run()
    assert case.order_status() is OrderStatus.READY


def test_two_that_end_together_make_the_order_ready(place: Place) -> None:
    case = Case(place, "a.corp.example", "b.corp.example")
    gate = threading.Barrier(2)

    def together(proof: Proof) -> Problem | None:
        gate.wait(30)
        return None

    case.network.script = together
    at_once(*(lambda task=task: case.validations.attempt(task) for task in case.claim()))
    assert case.order_status() is OrderStatus.READY


# --- CAA ------------------------------------------------------------------------------------------------------------


def issue(value: str) -> tuple[CAARecord, ...]:
    return (CAARecord(0, "issue", value.encode()),)


def caa_case(place: Place, *names: str, challenge: ChallengeType = HTTP, **policy: Any) -> Case:
    case = Case(place, *names, challenge=challenge, caa=True, **policy)
    case.configure(
        base_url="http://pki.corp.example", acme={"caa_identities": ["pki.corp.example"]}, validation={"attempts": 1}
    )
    case.network.proofs.add("*")
    return case


def test_caa_is_asked_only_where_the_policy_says_so(sqlite_place: Place) -> None:
    case = Case(sqlite_place)
    case.network.proofs.add("*")
    case.network.caa[NAME] = issue(";")
    case.run()
    assert (case.network.asked_caa, case.order_status()) == ([], OrderStatus.READY)


def test_caa_that_allows_it_and_for_eight_hours(place: Place) -> None:
    case = caa_case(place)
    url = URLs("http://pki.corp.example").account(case.account.name)
    case.network.caa[NAME] = issue(f"pki.corp.example; accounturi={url}; validationmethods=http-01")
    case.run()
    assert case.order_status() is OrderStatus.READY
    assert case.authorization().expires_at == place.now + 8 * 3600
    place.world.pass_time(timedelta(hours=8))
    assert place.order(case.account, NAME).status is OrderStatus.PENDING


@pytest.mark.parametrize(
    "found",
    [
        issue("ca.example"),
        issue(";"),
        issue("pki.corp.example; accounturi=http://pki.corp.example/acme/acct/other"),
        issue("pki.corp.example; validationmethods=dns-01"),
        (CAARecord(128, "unheardof", b""),),
        Problem(ProblemType.CAA, "CAA records could not be looked up: SERVFAIL"),
    ],
)
def test_caa_that_forbids_it_or_cannot_be_learned(sqlite_place: Place, found: tuple[CAARecord, ...] | Problem) -> None:
    case = caa_case(sqlite_place)
    case.network.caa[NAME] = found
    case.run()
    assert case.authorization().status is AuthorizationStatus.INVALID
    assert case.order_status() is OrderStatus.INVALID
    (record,) = case.records()
    assert record["problem"]["type"] == "urn:ietf:params:acme:error:caa"


def test_every_name_has_its_own_caa(sqlite_place: Place) -> None:
    names = ("a.corp.example", "b.corp.example", "c.corp.example")
    case = caa_case(sqlite_place, *names)
    case.network.caa["c.corp.example"] = issue(";")
    case.run()
    assert sorted(case.network.asked_caa) == sorted(names)
    assert [case.authorization(number).status for number in range(3)].count(AuthorizationStatus.INVALID) == 1
    assert case.order_status() is OrderStatus.INVALID


def test_issuewild_counts_for_wildcards(sqlite_place: Place) -> None:
    case = caa_case(sqlite_place, "*.corp.example", challenge=DNS)
    case.network.caa["corp.example"] = (*issue("pki.corp.example"), CAARecord(0, "issuewild", b";"))
    case.run()
    assert case.order_status() is OrderStatus.INVALID


def test_addresses_have_no_caa(sqlite_place: Place) -> None:
    case = caa_case(sqlite_place, "10.0.0.7")
    case.run()
    assert case.network.asked_caa == []


def test_caa_is_not_asked_before_the_proof_is_found(sqlite_place: Place) -> None:
    case = caa_case(sqlite_place)
    case.network.proofs.clear()
    case.run()
    assert case.network.asked_caa == []
    assert json.dumps(case.records())
