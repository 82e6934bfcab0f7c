"""Mail: queued with what makes it necessary, sent by the worker, tried again, and void when its link is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage

import pytest

from pkiconf.clock import to_epoch
from pkiconf.egress.mail import MailServer as Server
from pkiconf.enrolment.letters import Letter, compose, hello_name
from pkiconf.enrolment.links import Links
from pkiconf.enrolment.outbox import JOB, Outbox, queue_mail
from pkiconf.errors import PkiconfError, Refused, Unavailable
from pkiconf.model.enrolment import Deliver
from pkiconf.model.secret import Secret
from pkiconf.reconciler.state import Action
from pkiconf.steps import Step
from pkiconf.store import jobs
from tests.enrolment.office import Office, mail_block, mailing, token_of
from tests.mail_server import PASSWORD, USER, mail_server, trusted_context
from tests.world import NOW, OPERATOR, World, make_csr

JANE = "email:jane@corp.example"
TO = "jane@corp.example"


@pytest.fixture
def both_post(world: World) -> Iterator[Office]:
    with mailing(world) as made:
        yield made


def invite(office: Office) -> str:
    """The token of a link that is about to be mailed."""
    return token_of(office.preapprove(JANE, email=TO))


def received(office: Office) -> list[EmailMessage]:
    assert office.mail is not None
    return office.mail.messages


def states(office: Office) -> list[str]:
    return [state for (state,) in office.rows("SELECT state FROM mail ORDER BY id")]


@pytest.mark.row("F19")
def test_the_link_is_mailed_by_the_worker(both_post: Office) -> None:
    token = invite(both_post)
    assert received(both_post) == []
    assert token not in both_post.everything()
    both_post.work()
    (message,) = received(both_post)
    assert (message["To"], message["From"]) == (TO, "Example PKI <pki@corp.example>")
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert f"    https://pki.corp.example/claim/{token}\n" in text.replace("\r\n", "\n")
    assert JANE in text
    assert "2030-01-08 12:00 UTC" in text
    assert states(both_post) == ["sent"]
    (told,) = both_post.told("mail.end")
    assert told["details"] == {"state": "sent", "recipient": TO}
    both_post.work()
    assert len(received(both_post)) == 1
    assert both_post.rows("SELECT * FROM job WHERE kind = 'mail'") == []


@pytest.mark.row("F127")
def test_mail_for_an_apple_device(post_office: Office) -> None:
    offer = post_office.preapprove(template="issuing/device", subject="CN=Jürgen's iPad", email=TO, apple=True)
    post_office.work()
    text = received(post_office)[0].get_content()
    assert f"/profile/{token_of(offer)}.mobileconfig" in text
    assert "Jürgen's iPad" in text
    assert "Profile Downloaded" in text


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_with_tls_and_a_password_that_lies_sealed(
    security: str, sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    context = trusted_context(sqlite_world.folder, monkeypatch)
    with mail_server(context, implicit=security == "tls", login=True) as found:
        office = Office(sqlite_world, found)
        office.declare(mail_block(found.port, f"security: {security}, username: {USER}, password: !env SMTP_PASSWORD"))
        assert PASSWORD not in office.everything()
        invite(office)
        office.work()
        assert (states(office), len(found.logins), found.tls) == (["sent"], 1, [True])


@pytest.mark.row("F23")
def test_sending_again_makes_what_waits_void(post_office: Office) -> None:
    old = invite(post_office)
    new = token_of(post_office.world.services.enrolment.grants.resend(1, OPERATOR, email="jane@home.example"))
    post_office.work()
    (message,) = received(post_office)
    assert message["To"] == "jane@home.example"
    assert new in message.get_content()
    assert old not in message.get_content()
    assert states(post_office) == ["void", "sent"]


def test_a_message_of_another_link_tells_nothing(both_post: Office) -> None:
    """Whatever left it waiting: it was written for a link that leads nowhere."""
    invite(both_post)
    for other in (0, 2):
        both_post.world.parts.db.write(Step.MAIL_END, lambda c, n=other: queue_mail(c, 1, n, TO, to_epoch(NOW)))  # type: ignore[misc]
    both_post.work()
    assert (states(both_post), len(received(both_post))) == (["sent", "void", "void"], 1)


@pytest.mark.parametrize("end", ["claimed", "declined", "expired"])
def test_what_has_ended_is_not_mailed(post_office: Office, end: str) -> None:
    token = invite(post_office)
    match end:
        case "claimed":
            post_office.world.services.enrolment.claims.claim(token, make_csr("", ()), "192.0.2.7")
        case "declined":
            post_office.world.services.requests.decline(1, "she has left", OPERATOR)
        case "expired":
            post_office.world.pass_time(timedelta(days=8))
    post_office.work()
    assert (states(post_office), received(post_office)) == (["void"], [])


@pytest.mark.row("F19")
def test_a_server_that_is_busy_is_asked_again_with_growing_pauses(post_office: Office) -> None:
    assert post_office.mail is not None
    post_office.mail.refuse[TO] = "451 come back later"
    invite(post_office)
    pauses = []
    for _ in range(4):
        post_office.work()
        job = post_office.world.parts.db.read(lambda c: jobs.find_job(c, JOB, "1"))
        assert job is not None
        wait = job.due_at - int(post_office.world.clock.now().timestamp())
        pauses.append(wait)
        post_office.world.pass_time(timedelta(seconds=max(wait, 61)))
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
    assert states(post_office) == ["queued"]
    ((error,),) = post_office.rows("SELECT error FROM mail")
    assert "451 come back later" in error
    post_office.mail.refuse.clear()
    post_office.work()
    assert (states(post_office), len(received(post_office))) == (["sent"], 1)


def test_what_is_refused_for_good_has_failed(post_office: Office) -> None:
    assert post_office.mail is not None
    post_office.mail.refuse[TO] = "550 no such user"
    token = invite(post_office)
    post_office.work()
    assert states(post_office) == ["failed"]
    assert post_office.rows("SELECT * FROM job WHERE kind = 'mail'") == []
    (told,) = post_office.told("mail.end")
    assert "550 no such user" in told["details"]["error"]
    assert token not in str(told)
    assert post_office.state(1) == "awaiting_claim"  # the operator sends it again, elsewhere
    post_office.world.services.enrolment.grants.resend(1, OPERATOR, email="jane@home.example")
    post_office.work()
    assert states(post_office) == ["failed", "sent"]


def test_a_server_that_is_down_is_not_tried_for_every_message(sqlite_world: World) -> None:
    tried: list[str] = []

    def down(server: Server, message: EmailMessage, sender: str, recipient: str) -> None:
        tried.append(recipient)
        raise Unavailable("mail server 192.0.2.1:25 did not answer in time")

    office = Office(sqlite_world)
    office.declare(mail_block(25))
    for _ in range(3):
        invite(office)
    outbox = Outbox(sqlite_world.parts, Links(sqlite_world.parts), down)
    assert [outbox.deliver(number) for number in (1, 2, 3)] == ["mail server 192.0.2.1:25 did not answer in time"] * 3
    assert tried == [TO]
    sqlite_world.pass_time(timedelta(seconds=60))
    assert outbox.deliver(2)
    assert len(tried) == 2


def test_a_message_that_was_sent_twice_is_the_same(sqlite_world: World) -> None:
    """The process dies between handing it over and recording that."""
    sent: list[EmailMessage] = []

    def dies(server: Server, message: EmailMessage, sender: str, recipient: str) -> None:
        sent.append(message)
        raise RuntimeError("power cut")

    office = Office(sqlite_world)
    office.declare(mail_block(25))
    invite(office)
    outbox = Outbox(sqlite_world.parts, Links(sqlite_world.parts), dies)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            outbox.deliver(1)
        sqlite_world.pass_time(timedelta(minutes=5))
    assert sent[0]["Message-ID"] == sent[1]["Message-ID"]
    assert sent[0].as_bytes() == sent[1].as_bytes()


def test_mail_waits_when_its_server_is_declared_no_more(post_office: Office) -> None:
    invite(post_office)
    post_office.world.apply(post_office.declared.replace("mail: {", "mail: null #"))
    post_office.work()
    assert states(post_office) == ["queued"]
    assert "no mail server is declared" in str(post_office.rows("SELECT error FROM mail"))


@pytest.mark.parametrize("number", [0, 2, 1 << 62])
def test_a_message_that_is_not_there_has_ended(office: Office, number: int) -> None:
    assert office.world.services.enrolment.outbox.deliver(number) == ""


def test_a_password_that_cannot_be_opened_sends_nothing(post_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    invite(post_office)
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    post_office.world.apply(
        post_office.declared.replace(
            "security: none", "security: starttls, username: pki, password: !env SMTP_PASSWORD"
        )
    )
    post_office.world.parts.db.write(
        Step.KEYSTORE_CREATE,
        lambda c: c.exec_driver_sql("DELETE FROM sealed_secret WHERE name = 'mail-password'"),
    )
    post_office.work()
    assert (states(post_office), received(post_office)) == (["queued"], [])


def letter(**changes: object) -> Letter:
    values: dict[str, object] = {
        "number": 1, "sender": "Example PKI <pki@corp.example>", "recipient": TO, "base": "https://pki.corp.example",
        "deliver": Deliver.CLAIM, "link": Secret(b"https://pki.corp.example/claim/" + b"x" * 43),
        "subject": "CN=Jane", "names": ("dns:a.example",), "expires_at": NOW, "created_at": NOW, **changes,
    }  # fmt: skip
    return Letter(**values)  # type: ignore[arg-type]


def test_what_names_hold_adds_no_header() -> None:
    """Names come from people; a line in one must stay in the text."""
    message = compose(letter(subject="CN=x\r\nBcc: all@corp.example\r\n\r\n<b>", names=("dns:a\nTo: b@c",)))
    assert sorted(message.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
         "MIME-Version"]
    )  # fmt: skip
    assert message.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "base", ["https://" + "long." * 30 + "example", "http://192.0.2.1:8000", "http://[2001:db8::1]"]
)
def test_a_link_stays_on_one_line(base: str) -> None:
    link = f"{base}/profile/{'x' * 43}.mobileconfig"
    content = compose(letter(base=base, link=Secret(link.encode()))).as_bytes().decode()
    assert f"    {link}\r\n" in content or re.search(r"Content-Transfer-Encoding: (quoted|base64)", content)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("https://pki.corp.example:8443/x", "pki.corp.example"),
        ("http://192.0.2.1:8000", "[192.0.2.1]"),
        ("http://[2001:db8::1]:8000", "[IPv6:2001:db8::1]"),
    ],
)
def test_what_a_mail_server_is_greeted_with(base: str, name: str) -> None:
    assert hello_name(base) == name


@pytest.mark.parametrize("kind", [Refused, Unavailable])
def test_no_error_of_mail_tells_the_link(
    post_office: Office, kind: type[PkiconfError], caplog: pytest.LogCaptureFixture
) -> None:
    assert post_office.mail is not None
    post_office.mail.refuse[TO] = "550 no" if kind is Refused else "451 later"
    token = invite(post_office)
    post_office.work()
    assert token not in caplog.text
    assert token not in post_office.everything()


def test_a_destroyed_authority_leaves_neither_links_nor_mail(both_post: Office) -> None:
    invite(both_post)
    apple = both_post.preapprove(template="issuing/device", subject="CN=Jane's iPad", email=TO, apple=True)
    both_post.world.services.enrolment.profiles.fetch(token_of(apple), "192.0.2.7")
    both_post.world.apply(
        "authorities: [{ name: root, state: absent }, { name: issuing, issuer: root, state: absent }]",
        allow=(Action.RETIRE,),
    )
    both_post.world.services.destruction.destroy("issuing", OPERATOR)
    for table in ("request", "enrolment_grant", "mail", "scep_challenge", "approval"):
        assert both_post.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    both_post.work()
    assert received(both_post) == []
    assert both_post.rows("SELECT * FROM job WHERE kind = 'mail'") == []
