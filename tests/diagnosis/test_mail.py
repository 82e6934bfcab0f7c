"""What a check-up says of links that were to be mailed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from pkiconf.diagnosis.finding import Finding, Severity
from pkiconf.diagnosis.mail import check_mail
from tests.enrolment.office import Office, mailing
from tests.world import OPERATOR, World

TO = "jane@corp.example"


@pytest.fixture
def office(world: World) -> Iterator[Office]:
    with mailing(world) as made:
        yield made


def look(office: Office) -> list[Finding]:
    return office.world.parts.db.read(lambda c: list(check_mail(c, office.world.clock.now())))


def texts(office: Office) -> list[str]:
    return [finding.text for finding in look(office) if finding.severity is Severity.WARNING]


def test_mail_that_went_out_or_is_about_to(office: Office) -> None:
    office.preapprove("email:jane@corp.example", email=TO)
    assert texts(office) == []
    office.work()
    office.world.pass_time(timedelta(hours=1))
    assert [(finding.severity, finding.text) for finding in look(office)] == [(Severity.OK, "nothing waits")]


def test_mail_that_nobody_sends(office: Office) -> None:
    office.preapprove("email:jane@corp.example", email=TO)
    office.world.pass_time(timedelta(minutes=11))
    (finding,) = look(office)
    assert finding.text == f"the link of request 1 for {TO} waits to be mailed"
    assert finding.remedy == "Is the worker running?"


@pytest.mark.parametrize(
    ("reply", "word"), [("550 no such user", "was refused"), ("451 later", "could not be mailed yet")]
)
def test_mail_that_the_server_does_not_take(office: Office, reply: str, word: str) -> None:
    assert office.mail is not None
    office.mail.refuse[TO] = reply
    office.preapprove("email:jane@corp.example", email=TO)
    office.work()
    office.world.pass_time(timedelta(minutes=11))
    (found,) = texts(office)
    assert word in found
    assert reply in found
    office.world.services.enrolment.grants.resend(1, OPERATOR, email="jane@home.example")
    office.work()
    assert texts(office) == []  # the link that was not mailed leads nowhere any more
