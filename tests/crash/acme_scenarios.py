"""Scenarios of ACME clients: one that was cut off and comes again, a worker killed in a validation."""

from __future__ import annotations

from dataclasses import replace

from pkiconf.services import Services
from pkiconf.steps import Step
from tests.crash import intune_client
from tests.crash.acme_client import WORD
from tests.crash.child import Place
from tests.crash.ct_scenarios import CT_SCENARIOS
from tests.crash.mail_scenarios import MAIL_SCENARIOS
from tests.crash.scenarios import PKI_SCENARIOS, Command, Scenario
from tests.crash.scep_scenarios import SCEP_SCENARIOS
from tests.crash.timestamp_scenarios import TIMESTAMP_SCENARIOS
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


def intune_knows(services: Services, place: Place, side: str) -> None:
    """The device has what it asked for again; Intune was told of it, and the job that would withdraw it is gone."""
    assert rows(services, "SELECT state FROM scep_intune") == [("told",)]
    assert rows(services, "SELECT status FROM certificate WHERE origin_kind = 'scep'") == [("good",)]
    assert (place.folder / "laptop.der").exists()


def withdrawn_unless_told(services: Services, place: Place, side: str) -> None:
    """The device does not come again: what Intune was not told of is revoked."""
    states = rows(
        services,
        "SELECT i.state, c.status FROM scep_intune i"
        " JOIN certificate c ON c.issuer_id = i.issuer_id AND c.serial = i.serial",
    )
    told = side == "after" and not rows(services, "SELECT 1 FROM audit_event WHERE body LIKE '%intune-withdraw%'")
    assert states in ([("told", "good")] if told else [("withdrawn", "revoked")], [])
    assert not (place.folder / "laptop.der").exists()


def _device(step: Step, about: str = "of-intune", *, comes_again: bool = True) -> Scenario:
    return Scenario(
        step,
        (intune_client.WORD, "enrol"),
        intune_knows if comes_again else withdrawn_unless_told,
        prepare=(("apply", "{folder}/intune.yaml"),),
        finish=None if comes_again else (),
        about=about,
        shared=True,
    )


_PROVED = ("respond", "worker")
SCENARIOS = (
    *PKI_SCENARIOS,
    *CT_SCENARIOS,
    *TIMESTAMP_SCENARIOS,
    *MAIL_SCENARIOS,
    *SCEP_SCENARIOS,
    _client(Step.ACME_ACCOUNT_WRITE, "register", registered),
    _client(Step.ACME_ORDER_CREATE, "order", ordered),
    replace(_client(Step.ACME_ORDER_WRITE, "deactivate", deactivated, "order"), finish=()),
    # The worker that goes on does what the client had asked for.
    _client(Step.ACME_CHALLENGE_ACCEPT, "respond", validated_once),
    _client(Step.JOB_CLAIM, "worker", validated_once, "respond", about="of-a-validation"),
    _client(Step.ACME_VALIDATED, "worker", validated_once, "respond"),
    _client(Step.CERTIFICATE_RESERVE, "finalize", issued_once, *_PROVED, about="of-an-order"),
    _client(Step.CERTIFICATE_COMPLETE, "finalize", issued_once, *_PROVED, about="of-an-order"),
    _device(Step.CERTIFICATE_COMPLETE),
    _device(Step.CERTIFICATE_COMPLETE, "of-intune-for-nobody", comes_again=False),
    _device(Step.INTUNE_WRITE),
    _device(Step.INTUNE_WRITE, "for-nobody", comes_again=False),
)
