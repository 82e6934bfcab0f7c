"""Scenarios of ACME clients: one that was cut off and comes again, a worker killed in a validation."""

from __future__ import annotations

from dataclasses import replace

from pkiconf.services import Services
from pkiconf.steps import Step
from tests.crash.acme_client import WORD
from tests.crash.child import Place
from tests.crash.ct_scenarios import CT_SCENARIOS
from tests.crash.scenarios import PKI_SCENARIOS, Command, Scenario
from tests.wholeness import rows

_APPLY = ("apply", "{folder}/acme.yaml")


def _is(order: str, authorization: str) -> object:
    def check(services: Services, place: Place, side: str) -> None:
        assert rows(services, "SELECT count(*) FROM acme_account") == [(1,)]
        assert rows(services, "SELECT status FROM acme_order") == [(order,)]
        assert rows(services, "SELECT status FROM acme_authorization") == [(authorization,)]

    return check


def deactivated(services: Services, place: Place, side: str) -> None:
    """Authorization and order end together, or not at all."""
    before, after = _is("pending", "pending"), _is("invalid", "deactivated")
    (before if side == "before" else after)(services, place, side)  # type: ignore[operator]


def registered(services: Services, place: Place, side: str) -> None:
    assert rows(services, "SELECT status FROM acme_account") == [("valid",)]


def ordered(services: Services, place: Place, side: str) -> None:
    """The client finds its order again by the list of its orders."""
    assert rows(services, "SELECT status FROM acme_order") == [("pending",)]
    assert rows(services, "SELECT count(*) FROM acme_authorization") == [(1,)]


def issued_once(services: Services, place: Place, side: str) -> None:
    assert rows(services, "SELECT status FROM acme_order") == [("valid",)]
    assert rows(services, "SELECT count(*) FROM certificate WHERE origin_kind = 'acme'") == [(1,)]


def validated_once(services: Services, place: Place, side: str) -> None:
    _is("ready", "valid")(services, place, side)  # type: ignore[operator]
    events = rows(services, "SELECT count(*) FROM audit_event WHERE body LIKE '%acme-authorization.validate%'")
    assert events == [(1,)]


def _client(step: Step, what: str, check: object, *before: str, about: str = "", shared: bool = True) -> Scenario:
    """`before` are acts that come first; a worker is one of them."""
    prepare: tuple[Command, ...] = (_APPLY, *((WORD, act) for act in before))
    return Scenario(step, (WORD, what), check, prepare=prepare, about=about, shared=shared)  # type: ignore[arg-type]


_PROVED = ("respond", "worker")
SCENARIOS = (
    *PKI_SCENARIOS,
    *CT_SCENARIOS,
    _client(Step.ACME_ACCOUNT_WRITE, "register", registered),
    _client(Step.ACME_ORDER_CREATE, "order", ordered),
    replace(_client(Step.ACME_ORDER_WRITE, "deactivate", deactivated, "order"), finish=()),
    # The worker that goes on does what the client had asked for.
    _client(Step.ACME_CHALLENGE_ACCEPT, "respond", validated_once),
    _client(Step.JOB_CLAIM, "worker", validated_once, "respond", about="of-a-validation"),
    _client(Step.ACME_VALIDATED, "worker", validated_once, "respond"),
    _client(Step.CERTIFICATE_RESERVE, "finalize", issued_once, *_PROVED, about="of-an-order"),
    _client(Step.CERTIFICATE_COMPLETE, "finalize", issued_once, *_PROVED, about="of-an-order"),
)
