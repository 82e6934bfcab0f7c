"""Scenarios of links: approved, mailed by a worker, fetched by a device, sent again; killed in between."""

from __future__ import annotations

from pkiconf.enrolment.links import Links
from pkiconf.model.secret import Secret
from pkiconf.services import Services
from pkiconf.steps import Step
from pkiconf.store import grants
from tests.crash.child import Place
from tests.crash.link_client import FETCH, NUMBER
from tests.crash.scenarios import Scenario
from tests.mail_server import standing_mail
from tests.wholeness import rows

_APPLY = ("apply", "{folder}/mail.yaml")
_PREAPPROVE = (
    "request", "preapprove", "--template", "issuing/tablet", "--subject", "CN=Jane's iPad", "--apple", "--email",
    "jane@corp.example",
)  # fmt: skip


def token_of(services: Services, number: int) -> Secret:
    """Of the link of a request, derived as the outbox does."""
    links = Links(services.parts)
    links.open()
    grant = services.parts.db.read(lambda c: grants.get_grant(c, number))
    assert grant.token_salt is not None
    return links.token(grant.token_salt, number)


def mailed(services: Services, place: Place, side: str) -> None:
    """Its link arrived: once, or as the same message again when nobody knew that it had been handed over."""
    token = token_of(services, NUMBER).reveal().decode()
    messages = [message for message in standing_mail().messages if token in message.get_content()]
    assert len(messages) == (2 if side == "before" else 1)
    assert len({message["Message-ID"] for message in messages}) == 1
    assert rows(services, "SELECT state FROM mail") == [("sent",)]
    assert rows(services, "SELECT count(*) FROM job WHERE kind = 'mail'") == [(0,)]


def approved(services: Services, place: Place, side: str) -> None:
    """One request for each command line that came to its end, each with its grant and its mail."""
    wanted = 1 if side == "before" else 2
    counts = [rows(services, f"SELECT count(*) FROM {table}")[0][0] for table in ("enrolment_grant", "mail")]
    states = rows(services, "SELECT state FROM request WHERE id >= :first", first=NUMBER)
    assert (counts, states) == ([wanted, wanted], [("awaiting_claim",)] * wanted)


def fetched(services: Services, place: Place, side: str) -> None:
    """What was fetched is counted; what nobody got costs at most one of the times that a link may be fetched."""
    fetches = [(1 if side == "before" else 2,)]
    assert rows(services, "SELECT fetches FROM enrolment_grant") == fetches
    assert rows(services, "SELECT count(*) FROM scep_challenge") == fetches
    assert rows(services, "SELECT state FROM request WHERE id = :id", id=NUMBER) == [("awaiting_claim",)]


MAIL_SCENARIOS = (
    Scenario(Step.REQUEST_DECIDE, _PREAPPROVE, approved, prepare=(_APPLY,), about="in-advance", shared=True),
    Scenario(Step.MAIL_END, ("worker", "--once"), mailed, prepare=(_APPLY, _PREAPPROVE), shared=True),
    Scenario(Step.PROFILE_FETCH, FETCH, fetched, prepare=(_APPLY, _PREAPPROVE), shared=True),
)
