"""A device, SCEP over HTTP and Intune over HTTPS: issue, refuse, time out, revoke. The device's messages are made and
read by a stranger's CMS, and its certificate is looked at by a stranger's library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.name import _ASN1Type

from pkiconf.errors import Unavailable
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.scep import NOT_PROVED
from tests.endpoints.client import Client, client_of
from tests.intune_client import make_csr
from tests.intune_server import Fault, Said, error, never, reset
from tests.intune_tenant import SID
from tests.intune_world import Device, IntuneWorld
from tests.revocation.pki import PKI, question
from tests.scep_client import Answer, Wish, device_key, message, poll_message, read_answer
from tests.scep_client import Device as Messenger

URL = "/scep/issuing/device/pkiclient.exe"
SUCCESS, FAILURE, PENDING = "0", "2", "3"


@dataclass
class Place:
    """Where devices go."""

    world: IntuneWorld
    client: Client

    def recipient(self) -> bytes:
        """The registration authority's certificate, as a client finds it in the bag."""
        bag = cms.ContentInfo.load(self.client.get(f"{URL}?operation=GetCACert").body)["content"]["certificates"]
        return bytes(bag[0].chosen.dump())

    def enrol(self, device: Device, messenger: Messenger | None = None, **wish: Any) -> Answer:
        return self.send(device.csr, device, messenger, **wish)

    def send(self, content: bytes, device: Device, messenger: Messenger | None = None, **wish: Any) -> Answer:
        sent = message(messenger or MESSENGER, content, self.recipient(), Wish(transaction=device.transaction, **wish))
        answer = self.client.post(f"{URL}?operation=PKIOperation", sent)
        assert answer.status == 200, answer.text
        assert answer.headers["content-type"] == "application/x-pki-message"
        read = read_answer(answer.body, device_key(0))
        assert read.transaction == device.transaction
        return read

    def status(self, serial: int) -> ocsp.OCSPCertStatus:
        """As relying parties hear it, over OCSP."""
        pki = self.client.pki
        asked = question(pki.issuer("issuing"), serial)
        answer = self.client.post("/ocsp/issuing", asked, content_type="application/ocsp-request")
        return ocsp.load_der_ocsp_response(answer.body).certificate_status

    def authority(self) -> bytes:
        return self.client.pki.issuer("issuing").public_bytes(Encoding.DER)

    def serials(self) -> list[int]:
        """Of everything that Intune let in, whatever became of it."""
        rows = self.world.rows("SELECT serial FROM scep_intune")
        return [int.from_bytes(serial) for (serial,) in rows]


MESSENGER = Messenger.fresh()


@pytest.fixture
def place(world: IntuneWorld) -> Place:
    return Place(world, client_of(PKI(world.pki)))


def _told(place: Place) -> list[str]:
    return [act for act in place.world.stand_in.acts if act not in ("token", "endpoints")]


@pytest.mark.row("F120")
def test_issue(place: Place) -> None:
    device = place.world.device()
    answer = place.enrol(device)
    assert answer.status == SUCCESS
    assert _told(place) == ["validateRequest", "successNotification"]
    certificate = answer.certificate
    assert certificate.subject.rfc4514_string() == "CN=laptop-7"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SID]
    told = place.world.stand_in.of("successNotification")[0].content
    assert told["transactionId"] == device.transaction
    assert int(told["certificateSerialNumber"], 16) == certificate.serial_number
    assert place.status(certificate.serial_number) is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("string", [_ASN1Type.UTF8String, _ASN1Type.PrintableString])
def test_a_challenge_is_far_longer_than_the_standard_allows(place: Place, string: _ASN1Type) -> None:
    device = place.world.device(string=string)
    assert len(device.challenge) > 2000  # RFC 2985 has 255 at most
    assert place.enrol(device).status == SUCCESS


def test_intune_is_told_before_the_device_hears(place: Place) -> None:
    """Not only before in our own words: while Intune is being told, no answer has left."""
    left: list[bool] = []
    answers: list[Answer] = []

    def looks(handler: Any) -> None:
        left.append(bool(answers))
        handler.say(Said(200, {"code": "Success", "errorDescription": ""}))

    place.world.stand_in.faults["successNotification"].append(looks)
    answers.append(place.enrol(place.world.device()))
    assert left == [False]


@pytest.mark.row("F120")
def test_refuse(place: Place) -> None:
    device = place.world.device(name="domain-controller")
    answer = place.enrol(device)
    assert (answer.status, answer.fail_info, answer.text) == (FAILURE, "2", NOT_PROVED)
    assert _told(place) == ["validateRequest", "failureNotification"]
    assert place.serials() == []


def test_the_template_refuses_what_intune_let_in(place: Place) -> None:
    place.world.apply(names={"allow": {"dns": ["*.other.example"]}})
    answer = place.enrol(place.world.device())
    assert answer.status == FAILURE
    assert _told(place) == ["validateRequest", "failureNotification"]
    told = place.world.stand_in.of("failureNotification")[0].content
    assert "not allowed by the template" in told["errorDescription"] or "does not allow" in told["errorDescription"]
    assert place.serials() == []


@pytest.mark.row("F121")
def test_a_template_can_name_the_sid(place: Place) -> None:
    place.world.apply(
        names={"allow": {"dns": ["*.corp.example"], "cn": ["*"], "uri": ["tag:microsoft.com,2022-09-14:sid:"]}}
    )
    assert place.enrol(place.world.device()).status == SUCCESS


def test_issuing_fails_for_our_own_reasons(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    recipient = place.recipient()
    monkeypatch.setattr(Place, "recipient", lambda self: recipient)

    def fails(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(Pipeline, "issue", fails)
    device = place.world.device()
    sent = message(MESSENGER, device.csr, recipient, Wish(transaction=device.transaction))
    assert place.client.post(URL, sent).status == 503
    assert _told(place) == ["validateRequest", "failureNotification"]
    assert place.world.stand_in.of("failureNotification")[0].content["hResult"] == 0x80004005


@pytest.mark.row("F120")
def test_time_out(place: Place) -> None:
    assert place.enrol(place.world.device()).status == SUCCESS
    place.world.hurry()
    place.world.stand_in.forget()
    place.world.stand_in.always["validateRequest"] = never
    before = place.serials()
    answer = place.enrol(place.world.device())
    assert (answer.status, answer.fail_info, answer.text) == (FAILURE, "2", NOT_PROVED)
    assert _told(place) == ["validateRequest"]
    assert place.serials() == before


@pytest.mark.row("F120")
def test_time_out_of_the_notification(place: Place) -> None:
    assert place.enrol(place.world.device()).status == SUCCESS
    place.world.hurry()
    before = place.serials()
    place.world.stand_in.always["successNotification"] = never
    answer = place.enrol(place.world.device())
    assert (answer.status, answer.fail_info, answer.certificates) == (FAILURE, "2", ())
    (serial,) = set(place.serials()) - set(before)
    assert place.status(serial) is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize("fault", [error(500), reset, Said(200, {"code": "Unknown"}), Said(200, b"<html>")])
def test_what_intune_was_not_told_of_is_revoked_and_nobody_has_it(place: Place, fault: Fault) -> None:
    place.world.stand_in.always["successNotification"] = fault
    device = place.world.device()
    answer = place.enrol(device)
    assert (answer.status, answer.fail_info, answer.certificates) == (FAILURE, "2", ())
    (serial,) = place.serials()
    assert place.status(serial) is ocsp.OCSPCertStatus.REVOKED
    poll = place.send(poll_message(place.authority(), device.csr), device, message_type="20")
    assert (poll.status, poll.certificates) == (FAILURE, ())
    assert _fetched(place, device, serial) == ()


def _fetched(place: Place, device: Device, serial: int) -> tuple[bytes, ...]:
    """By GetCert."""
    issuer = asn1_x509.Certificate.load(place.authority()).subject
    asked = cms.IssuerAndSerialNumber({"issuer": issuer, "serial_number": serial}).dump()
    return place.send(bytes(asked), device, message_type="21").certificates


def test_what_intune_is_not_told_of_yet_is_not_fetched(place: Place) -> None:
    device = place.world.device()
    issued = place.world.issue(device)
    assert _fetched(place, device, issued.id.serial_number) == ()
    place.world.intune.enrolment.issued(device.request, issued)
    assert _fetched(place, device, issued.id.serial_number) == (issued.der,)


def test_after_that_the_device_may_begin_again(place: Place) -> None:
    device = place.world.device()
    place.world.stand_in.faults["successNotification"] += [error(500)]
    assert place.enrol(device).status == FAILURE
    place.world.stand_in.forget()
    answer = place.enrol(device)
    assert answer.status == SUCCESS
    assert _told(place) == ["validateRequest", "successNotification"]
    assert len(place.serials()) == 2
    assert place.status(answer.certificate.serial_number) is ocsp.OCSPCertStatus.GOOD


def test_who_lost_the_answer_gets_it_again_and_nobody_is_asked_twice(place: Place) -> None:
    device = place.world.device()
    first = place.enrol(device)
    assert place.enrol(device).certificates == first.certificates
    poll = place.send(poll_message(place.authority(), device.csr), device, message_type="20")
    assert poll.certificates == first.certificates
    assert _told(place) == ["validateRequest", "successNotification"]


def test_who_died_before_telling_tells_when_asked_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a crash between signing and telling: the device asks again, with the same request or with a poll."""
    device = place.world.device()
    enrolment = type(place.world.intune.enrolment)

    class Died(BaseException):
        """What no handler of ours catches."""

    def dies(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(enrolment, "issued", dies)
        with pytest.raises(Died):
            place.enrol(device)
    assert _told(place) == ["validateRequest"]
    answer = place.send(poll_message(place.authority(), device.csr), device, message_type="20")
    assert answer.status == SUCCESS
    assert _told(place) == ["validateRequest", "successNotification"]
    place.world.pass_time(timedelta(hours=1))
    place.world.work()
    assert place.status(answer.certificate.serial_number) is ocsp.OCSPCertStatus.GOOD


def test_who_died_and_is_not_asked_again_in_time_has_it_withdrawn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = place.world.device()

    class Died(BaseException):
        """What no handler of ours catches."""

    def dies(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(type(place.world.intune.enrolment), "issued", dies)
        with pytest.raises(Died):
            place.enrol(device)
    place.world.pass_time(timedelta(hours=1))
    place.world.work()
    (serial,) = place.serials()
    assert place.status(serial) is ocsp.OCSPCertStatus.REVOKED
    poll = place.send(poll_message(place.authority(), device.csr), device, message_type="20")
    assert (poll.status, poll.certificates) == (FAILURE, ())


@pytest.mark.row("F120")
def test_revoke(place: Place) -> None:
    certificate = place.enrol(place.world.device()).certificate
    issuer = certificate.issuer.rfc4514_string()
    context = place.world.stand_in.revoke(f"00{certificate.serial_number:x}", issuer)
    assert place.status(certificate.serial_number) is ocsp.OCSPCertStatus.GOOD
    place.world.pass_time(timedelta(minutes=6))
    place.world.work()
    assert place.status(certificate.serial_number) is ocsp.OCSPCertStatus.REVOKED
    (result,) = place.world.stand_in.results
    assert result == {"requestContext": context, "succeeded": True, "errorCode": "None", "errorMessage": None}


def test_what_intune_let_in_intune_renews(place: Place) -> None:
    """A device that is no longer managed has its old certificate, and no challenge."""
    device = place.world.device()
    old = place.enrol(device)
    holder = MESSENGER.holding(old.certificate.public_bytes(Encoding.DER))
    place.world.stand_in.forget()
    for kind in ("17", "19"):
        assert place.enrol(place.world.bare_device(), holder, message_type=kind).status == FAILURE
    assert _told(place) == []
    place.world.stand_in.tenant.change(is_targeted=False)
    assert place.enrol(place.world.device(), holder, message_type="17").status == FAILURE
    place.world.stand_in.tenant.change(is_targeted=True)
    place.world.stand_in.forget()
    assert place.enrol(place.world.device(), holder, message_type="17").status == SUCCESS
    assert _told(place) == ["validateRequest", "successNotification"]


def _revoked(place: Place, certificate: x509.Certificate) -> Device:
    named = CertificateID(place.client.pki.issuer_id("issuing"), certificate.serial_number)
    place.world.pki.services.revocations.revoke(named, RevocationReason.SUPERSEDED, SYSTEM)
    return _of_another_key(place)


def _ended(place: Place, certificate: x509.Certificate) -> Device:
    place.world.pass_time(certificate.not_valid_after_utc - place.world.pki.clock.now() + timedelta(seconds=1))
    return _of_another_key(place)


def _for_other_names(place: Place, certificate: x509.Certificate) -> Device:
    return _of_another_key(place, sans=[x509.DNSName("hidden.corp.example")])


def _of_another_key(place: Place, **asks: Any) -> Device:
    challenge = place.world.stand_in.tenant.challenge()
    return Device(place.world, make_csr(challenge, key=device_key(1), **asks), challenge)


@pytest.mark.parametrize("what", [_revoked, _ended, _for_other_names])
def test_only_a_good_certificate_speaks_for_another_key(
    place: Place, what: Callable[[Place, x509.Certificate], Device]
) -> None:
    """Another device's request, sent on in a message of one's own: Intune is not even asked."""
    mine = place.enrol(place.world.device()).certificate
    holder = MESSENGER.holding(mine.public_bytes(Encoding.DER))
    place.world.stand_in.forget()
    victims = what(place, mine)
    answer = place.enrol(victims, holder)
    assert (answer.status, answer.fail_info, answer.text) == (FAILURE, "2", NOT_PROVED)
    assert _told(place) == []


def test_a_good_certificate_speaks_for_another_key(place: Place) -> None:
    mine = place.enrol(place.world.device()).certificate
    holder = MESSENGER.holding(mine.public_bytes(Encoding.DER))
    assert place.enrol(_of_another_key(place), holder).status == SUCCESS


def test_a_revoked_certificate_is_not_handed_out_again(place: Place) -> None:
    """Nor is its transaction told of twice: asked again, the device begins anew, and Intune decides anew."""
    device = place.world.device()
    first = place.enrol(device).certificate
    issuer_id = place.client.pki.issuer_id("issuing")
    revoked = CertificateID(issuer_id, first.serial_number)
    place.world.pki.services.revocations.revoke(revoked, RevocationReason.KEY_COMPROMISE, SYSTEM)
    place.world.stand_in.forget()
    assert place.enrol(device).status == FAILURE, "its key is known to be compromised"
    assert _told(place) == ["validateRequest", "failureNotification"]
