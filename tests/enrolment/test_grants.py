"""Certificates that are approved before there is a key: proposed, approved, offered, sent again, expired."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.model.durations import Duration
from pkiconf.model.names import Attribute, RFC822Name
from pkiconf.model.request import Overrides
from pkiconf.reconciler.state import Action
from pkiconf.store import grants as store
from pkiconf.store.database import Connection
from tests.enrolment.office import Office, token_of, wish
from tests.world import OPERATOR, make_csr

JANE = "email:jane@corp.example"


@pytest.mark.row("F17")
def test_preapproval_says_everything_beforehand(both: Office) -> None:
    offer = both.preapprove(JANE, validity=Overrides(days=30))
    request = both.world.services.requests.get(offer.number)
    assert (request.row.state, request.row.subject, request.names) == (
        "awaiting_claim", "O=Example Corp,CN=Jane Doe", (JANE,),
    ) or request.row.subject == "CN=Jane Doe,O=Example Corp"  # fmt: skip
    assert not request.has_key
    assert offer.expires_at == both.world.clock.now() + timedelta(days=7)
    assert offer.url.reveal().startswith(b"https://pki.corp.example/claim/")
    (submitted,), (approved,) = both.told("request.submit"), both.told("request.approve")
    assert submitted["address"] == approved["address"] == f"request/{offer.number}"
    assert approved["actor"] == "operator:test"


def test_nothing_that_is_stored_leads_to_the_link(office: Office) -> None:
    token = token_of(office.preapprove(JANE))
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert token not in office.everything()
    assert token not in str(office.world.services.enrolment.grants.find(1))


def test_every_link_is_another(office: Office) -> None:
    tokens = {token_of(office.preapprove(JANE)) for _ in range(3)}
    tokens |= {token_of(office.world.services.enrolment.grants.resend(1, OPERATOR)) for _ in range(3)}
    assert len(tokens) == 6


@pytest.mark.parametrize(
    ("sans", "more", "said"),
    [
        ((), {"subject": ""}, "would name nobody"),
        (("dns:www.other.example",), {"template": "servers"}, r"www\.other\.example is not allowed by the template"),
        ((JANE,), {"template": "issuing/nothing"}, "there is no template"),
        ((JANE,), {"validity": Overrides(days=400)}, "365"),
        ((JANE,), {"email": "jane@corp.example"}, "no mail server is declared"),
        ((JANE,), {"email": "jane"}, "is not local-part@domain"),
        ((JANE,), {"email": "jane@corp.example\r\nBcc: all@corp.example"}, "e-mail address|DNS name"),
        ((JANE,), {"email": "jane doe@corp.example"}, "no dot-atom"),
        ((), {"subject": "CN=Example Issuing,O=Example Corp"}, "that of authority 'issuing' itself"),
    ],
)
def test_what_could_not_be_issued_is_not_approved(
    office: Office, sans: tuple[str, ...], more: dict[str, object], said: str
) -> None:
    with pytest.raises((Refused, NotFound), match=said):
        office.preapprove(*sans, **more)
    with pytest.raises((Refused, NotFound), match=said):
        office.world.services.enrolment.grants.propose(wish(*sans, **more), OPERATOR)  # type: ignore[arg-type]
    assert office.rows("SELECT * FROM request") == []
    assert office.rows("SELECT * FROM job WHERE kind = 'mail'") == []


def test_an_approval_that_reaches_past_the_template_is_refused(office: Office) -> None:
    """The template fixes the organization: another one is not dropped in silence."""
    with pytest.raises(Refused, match="the template fixes the subject"):
        office.preapprove(template="fixed", subject="CN=Jane,O=Other Corp")
    office.preapprove(template="fixed", subject="CN=Jane")


@pytest.mark.parametrize("change", ["state: absent", "enabled: false"])
def test_no_approval_from_a_template_that_issues_nothing(office: Office, change: str) -> None:
    office.change("name: person, ", f"name: person, {change}, ", Action.RETIRE)
    with pytest.raises(Refused, match=r"is (retired|disabled)"):
        office.preapprove(JANE)


@pytest.mark.parametrize("actor", [SYSTEM, Actor("acme", "x", "jws"), Actor("link", "request-1", "claim-link")])
def test_only_a_person_approves(office: Office, actor: Actor) -> None:
    grants = office.world.services.enrolment.grants
    number = grants.propose(wish(JANE), OPERATOR)
    acts: tuple[Callable[[], object], ...] = (
        lambda: grants.preapprove(wish(JANE), actor),
        lambda: grants.approve(number, Overrides(), actor),
        lambda: grants.resend(number, actor),
    )
    for act in acts:
        with pytest.raises(Refused, match="may not do"):
            act()
    assert office.state(number) == "pending"


def test_a_link_is_not_good_for_ever(office: Office) -> None:
    grants = office.world.services.enrolment.grants
    with pytest.raises(Refused, match="Give at most 90d"):
        grants.preapprove(wish(JANE), OPERATOR, Duration(91, "d"))
    assert office.rows("SELECT * FROM request") == []


@pytest.mark.row("F23")
def test_a_request_without_a_key_is_approved_with_changes(both: Office) -> None:
    grants = both.world.services.enrolment.grants
    number = grants.propose(wish(JANE), OPERATOR)
    assert both.state(number) == "pending"
    changes = Overrides(
        set_subject=(Attribute("2.5.4.3", "Jane Roe"),), add_sans=(RFC822Name("roe@corp.example"),), days=10
    )
    offer = grants.approve(number, changes, OPERATOR)
    request = both.world.services.requests.get(number)
    assert offer.number == number
    assert request.row.state == "awaiting_claim"
    assert "Jane Roe" in request.row.subject
    assert request.names == (JANE, "email:roe@corp.example")
    assert both.rows("SELECT actor, decision FROM approval") == [("operator:test", "approve")]
    with pytest.raises(Conflict, match="awaiting claim already"):
        grants.approve(number, Overrides(), OPERATOR)


def test_changes_that_the_template_forbids_leave_it_pending(office: Office) -> None:
    grants = office.world.services.enrolment.grants
    number = grants.propose(wish("dns:a.corp.example", template="servers", subject="CN=a.corp.example"), OPERATOR)
    with pytest.raises(Refused, match=r"b\.other\.example in the common name is not allowed"):
        grants.approve(number, Overrides(set_subject=(Attribute("2.5.4.3", "b.other.example"),)), OPERATOR)
    assert office.state(number) == "pending"
    assert grants.find(number) is not None


@pytest.mark.row("F23")
def test_what_has_a_key_is_signed_and_what_has_none_is_approved(office: Office) -> None:
    grants, requests = office.world.services.enrolment.grants, office.world.services.requests
    with_key = requests.submit("servers", make_csr("a.corp.example", ("a.corp.example",)), OPERATOR)
    without = grants.propose(wish(JANE), OPERATOR)
    acts: tuple[Callable[[], object], ...] = (
        lambda: grants.approve(with_key, Overrides(), OPERATOR),
        lambda: grants.resend(with_key, OPERATOR),
    )
    for act in acts:
        with pytest.raises(Conflict, match="has brought its key"):
            act()
    with pytest.raises(Conflict, match=r"brings no key.*pkiconf request approve"):
        requests.sign(without, Overrides(), OPERATOR)
    with pytest.raises(Conflict, match="not approved yet"):
        grants.resend(without, OPERATOR)
    for number in (0, -1, 99, 1 << 70):
        with pytest.raises(NotFound):
            grants.resend(number, OPERATOR)


@pytest.mark.row("F23")
def test_a_declined_request_is_not_sent_again(office: Office) -> None:
    grants, requests = office.world.services.enrolment.grants, office.world.services.requests
    offer = office.preapprove(JANE)
    requests.decline(offer.number, "she has left", OPERATOR)
    assert office.state(offer.number) == "declined"
    with pytest.raises(Conflict, match="declined cannot be offered"):
        grants.resend(offer.number, OPERATOR)


def test_what_is_sent_again_meanwhile_does_not_end(both: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look for what is overdue and the write that ends it."""
    number, world = both.preapprove(JANE).number, both.world
    world.pass_time(timedelta(days=8))
    look = store.list_overdue

    def looked_before(c: Connection, now: int, most: int) -> list[store.GrantRow]:
        return [replace(row, token_number=row.token_number - 1) for row in look(c, now, most)]

    monkeypatch.setattr(store, "list_overdue", looked_before)
    assert world.services.enrolment.grants.expire_overdue() == 0
    assert both.state(number) == "awaiting_claim"


def test_what_nobody_claims_expires_and_may_be_sent_again(both: Office) -> None:
    grants = both.world.services.enrolment.grants
    offer = both.preapprove(JANE)
    both.world.pass_time(timedelta(days=6))
    assert grants.expire_overdue() == 0
    both.world.pass_time(timedelta(days=1))
    both.work()
    assert both.state(offer.number) == "expired"
    assert grants.expire_overdue() == 0
    (told,) = both.told("request.expire")
    assert told["actor"] == "system:pkiconf"
    again = grants.resend(offer.number, OPERATOR, Duration(2, "h"))
    assert both.state(offer.number) == "awaiting_claim"
    assert again.expires_at == both.world.clock.now() + timedelta(hours=2)
    assert token_of(again) != token_of(offer)


def test_requests_without_a_key_are_listed_with_the_others(office: Office) -> None:
    requests = office.world.services.requests
    office.world.services.enrolment.grants.propose(wish(JANE), OPERATOR)
    requests.submit("servers", make_csr("a.corp.example", ("a.corp.example",)), OPERATOR)
    found = requests.search(("pending",), {})
    assert [request.has_key for request in found] == [False, True]
    assert [request.row.id for request in requests.search((), {"name": "*jane*"})] == [1]
