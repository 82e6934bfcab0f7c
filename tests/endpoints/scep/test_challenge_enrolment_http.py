"""From the page to a certificate, all over HTTP: a challenge is good once, for its names, for its time, for one of two
that come at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from cryptography import x509

from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.model.scep import NOT_PROVED, BoundNames
from tests.endpoints.scep.test_ndes_http import Page
from tests.endpoints.scep.test_ndes_pages import fleet
from tests.scep.place import terms_of
from tests.scep_client import Answer, Device, Wish, make_request, message, read_answer
from tests.wholeness import rows
from tests.world import OPERATOR, World

URL = "/certsrv/issuing/device/mscep/mscep.dll"


class Enrolment:
    """One request that a device sends as often as it likes."""

    def __init__(
        self,
        page: Page,
        challenge: str | None,
        transaction: str,
        *,
        number: int = 0,
        name: str = "device-7",
        dns: tuple[str, ...] = (),
    ) -> None:
        self.page, self.device = page, Device.fresh(number)
        csr = make_request(self.device.key, name, dns, challenge)
        place = page.world.services.scep.places.find("issuing", "device")
        recipient = place.presented(page.world.clock.now()).head.der
        self.sent = message(self.device, csr, recipient, Wish(transaction=transaction))

    def send(self, peer: str = "192.0.2.7", **headers: str) -> Answer:
        answer = self.page.client.request("POST", f"{URL}?operation=PKIOperation", self.sent, headers, peer=peer)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-pki-message")
        return read_answer(answer.body, self.device.key)


def refused(answer: Answer) -> None:
    assert (answer.status, answer.fail_info, answer.text) == ("2", "2", NOT_PROVED)


@pytest.mark.row("F116", "F122", "F123")
def test_a_challenge_of_the_page_enrols_once(world: World) -> None:
    page = Page(world)
    challenge = fleet(page.ask().body)
    first = Enrolment(page, challenge, "T1")
    issued = first.send()
    assert issued.status == "0"
    assert first.send().certificates == issued.certificates  # a lost answer costs nothing
    refused(Enrolment(page, challenge, "T2", number=1).send())
    assert rows(world.services, "SELECT count(*) FROM certificate WHERE origin_kind = 'scep'") == [(1,)]
    assert rows(world.services, "SELECT consumed_by FROM scep_challenge") == [("1.T1",)]


@pytest.mark.row("F122")
def test_it_is_good_for_an_hour(sqlite_world: World) -> None:
    page = Page(sqlite_world)
    early, late = (Enrolment(page, fleet(page.ask().body), name, number=n) for n, name in enumerate(("early", "late")))
    sqlite_world.pass_time(timedelta(minutes=59))
    assert early.send().status == "0"
    sqlite_world.pass_time(timedelta(minutes=1))
    refused(late.send())


def test_of_two_that_come_at_once_one_gets_a_certificate(world: World) -> None:
    page = Page(world)
    challenge = fleet(page.ask().body)
    devices = [Enrolment(page, challenge, f"T{number}", number=number) for number in range(2)]
    begin, answers = threading.Barrier(2), {}

    def send(number: int) -> None:
        begin.wait()
        answers[number] = devices[number].send()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers.values()) == ["0", "2"]
    assert rows(world.services, "SELECT count(*) FROM certificate WHERE origin_kind = 'scep'") == [(1,)]


@pytest.mark.row("F123", "F127")
def test_a_bound_challenge_enrols_exactly_its_names_once(world: World) -> None:
    page = Page(world)
    names = BoundNames(parse_name_text("CN=device-7"), (parse_general_name_text("dns:d7.corp.example"),))
    made = world.services.scep.challenges.create(terms_of(world).template_id, OPERATOR, bound=names)
    challenge = made.reveal().decode()
    refused(Enrolment(page, challenge, "T1", dns=("d7.corp.example", "admin.corp.example")).send())
    refused(Enrolment(page, challenge, "T2", name="admin", dns=("d7.corp.example",)).send())
    refused(Enrolment(page, challenge, "T3").send())
    issued = Enrolment(page, challenge, "T4", dns=("d7.corp.example",)).send()
    assert issued.status == "0"
    found = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["d7.corp.example"]
    assert issued.certificate.subject.rfc4514_string() == "CN=device-7"
    refused(Enrolment(page, challenge, "T5", number=1, dns=("d7.corp.example",)).send())


@pytest.mark.parametrize("challenge", [None, "", "0000000000000000"])
def test_without_a_challenge_nothing_is_issued(sqlite_world: World, challenge: str | None) -> None:
    page = Page(sqlite_world)
    refused(Enrolment(page, challenge, "T1").send())
    assert rows(sqlite_world.services, "SELECT count(*) FROM certificate WHERE origin_kind = 'scep'") == [(0,)]


@pytest.mark.row("F84", "F130")
def test_devices_come_from_listed_networks_only(sqlite_world: World) -> None:
    acl = ", ip_acl: { allow: [10.20.0.0/16], applies_to: scep }"
    page = Page(sqlite_world, scep=acl, trusted_proxies="10.9.0.0/16")
    challenge = fleet(page.ask().body)  # the page is for anybody
    for operation in ("GetCACaps", "GetCACert", "GetNextCACert", "PKIOperation&message=x", ""):
        for peer, headers in (
            ("192.0.2.7", {"x_forwarded_for": "10.20.0.1"}),
            ("10.9.0.1", {"x_forwarded_for": "10.20.0.1, 192.0.2.7"}),
        ):
            answer = page.ask(f"{URL}?operation={operation}", authorization=None, peer=peer, **headers)
            assert (answer.status, "not offered to your address" in answer.text) == (403, True)
    answer = page.client.request("POST", URL, b"x", {"x_real_ip": "10.20.0.1"}, peer="192.0.2.7")
    assert answer.status == 403
    inside = page.ask(f"{URL}?operation=GetCACaps", authorization=None, peer="10.20.0.1")
    assert inside.status == 200
    assert challenge
