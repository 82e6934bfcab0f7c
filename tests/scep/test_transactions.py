"""One answer for one transaction: retries, ids that are used twice, two at once, and what waits for a person."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.clock import to_epoch
from pkiconf.der.names import parse_name_text
from pkiconf.errors import NotSigned, SigningUnavailable
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.scep import NOT_PROVED, BoundNames
from pkiconf.policy.serials import serial_bytes
from pkiconf.scep.passphrases import Passphrases
from pkiconf.scep.terms import SCEPTerms
from pkiconf.signing.local import LocalSigner
from pkiconf.steps import Step
from pkiconf.store.scep_secrets import SecretKind, SecretRow, end_secrets
from tests.enrolment.office import wish as approved_beforehand
from tests.scep.devices import Fleet, fleet
from tests.scep.place import PASSPHRASE
from tests.scep_client import (
    Answer,
    Device,
    Wish,
    device_key,
    get_message,
    make_request,
    message,
    poll_message,
    read_answer,
)
from tests.wholeness import rows
from tests.world import OPERATOR, World

CHALLENGES = "{ enabled: true, challenges: true }"


def asked_for(device: Device, name: str = "device-1", challenge: str | None = PASSPHRASE) -> bytes:
    return make_request(device.key, name, challenge=challenge)


def test_a_lost_answer_is_given_again(world: World) -> None:
    devices = fleet(world)
    device, wish = Device.fresh(), Wish(transaction="AGAIN")
    request = asked_for(device)
    first = devices.ask(device, request, wish).certificate
    world.pass_time(timedelta(hours=23))
    assert devices.ask(device, request, wish).certificate == first
    assert (devices.issued(), devices.transactions()) == (1, 1)


def test_an_id_may_be_used_again_when_its_transaction_is_long_over(sqlite_world: World) -> None:
    """Clients that make it from their key have no other."""
    devices = fleet(sqlite_world)
    device, wish = Device.fresh(), Wish(transaction="KEY")
    first = devices.enrol(device, wish)
    sqlite_world.pass_time(timedelta(days=2))
    assert devices.enrol(device, wish) != first
    assert devices.enrol(device, wish, "device-1") != first
    assert (devices.issued(), devices.transactions()) == (2, 2)


def test_an_id_may_be_used_again_when_its_certificate_is_revoked(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device, wish = Device.fresh(), Wish(transaction="KEY")
    first = devices.enrol(device, wish)
    identity = CertificateID(devices.place.issuer_id, first.serial_number)
    sqlite_world.services.revocations.revoke(identity, RevocationReason.SUPERSEDED, OPERATOR)
    assert devices.enrol(device, wish) != first


@pytest.mark.parametrize("what", ["names", "key"])
def test_an_id_is_not_used_for_another_request(world: World, what: str) -> None:
    devices = fleet(world)
    device, other, wish = Device.fresh(), Device.fresh(1), Wish(transaction="TAKEN")
    devices.enrol(device, wish)
    again = device if what == "names" else other
    answer = devices.ask(again, asked_for(again, "device-2" if what == "names" else "device-1"), wish)
    assert (answer.status, answer.fail_info, answer.certificates) == ("2", "2", ())
    assert "used for another request" in (answer.text or "")
    assert (devices.issued(), devices.transactions()) == (1, 1)


def test_what_was_refused_does_not_take_the_id(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device, wish = Device.fresh(), Wish(transaction="TRIED")
    assert devices.ask(device, asked_for(device, challenge="wrong-passphrase"), wish).status == "2"
    devices.enrol(device, wish)


def test_an_id_is_one_for_each_template(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device, wish = Device.fresh(), Wish(transaction="ONE")
    devices.enrol(device, wish)
    Fleet(sqlite_world, "other").enrol(device, wish, "device-2")
    assert devices.issued() == 2


def together(*acts: Callable[[], Answer]) -> list[Answer]:
    """All at once, in the order given."""
    found: dict[int, Answer] = {}
    start = threading.Barrier(len(acts))

    def run(number: int) -> None:
        start.wait()
        found[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(acts))]


def test_the_same_request_twice_at_once_gets_one_certificate(world: World) -> None:
    devices = fleet(world)
    device, wish = Device.fresh(), Wish(transaction="TWICE")
    request = asked_for(device)
    answers = together(*[lambda: devices.ask(device, request, wish)] * 6)
    assert {answer.status for answer in answers} == {"0"}
    assert len({answer.certificates for answer in answers}) == 1
    assert (devices.issued(), devices.transactions()) == (1, 1)


def test_of_two_requests_under_one_id_at_once_one_wins(world: World) -> None:
    devices = fleet(world)
    device, wish = Device.fresh(), Wish(transaction="BOTH")
    requests = [asked_for(device, f"device-{number}") for number in range(4)]
    answers = together(*[lambda request=request: devices.ask(device, request, wish) for request in requests])
    assert sorted(answer.status for answer in answers) == ["0", "2", "2", "2"]
    won = next(answer for answer in answers if answer.status == "0")
    assert won.certificate.subject.rfc4514_string() == f"CN=device-{answers.index(won)}"
    assert (devices.issued(), devices.transactions()) == (1, 1)


def challenge_of(devices: Fleet) -> str:
    made = devices.world.services.scep.challenges.create(devices.place.template_id, OPERATOR)
    return made.reveal().decode()


@pytest.mark.row("F122")
def test_of_two_with_one_challenge_at_once_one_wins(world: World) -> None:
    devices = fleet(world, CHALLENGES)
    challenge = challenge_of(devices)
    both = [Device.fresh(0), Device.fresh(1)]
    answers = together(
        *[
            lambda device=device, n=n: devices.ask(
                device, asked_for(device, f"device-{n}", challenge), Wish(transaction=f"N{n}")
            )
            for n, device in enumerate(both)
        ]
    )
    assert sorted(answer.status for answer in answers) == ["0", "2"]
    lost = next(answer for answer in answers if answer.status == "2")
    assert (lost.fail_info, lost.text) == ("2", NOT_PROVED)
    assert (devices.issued(), devices.transactions()) == (1, 1)
    later = devices.ask(both[0], asked_for(both[0], "device-9", challenge), Wish(transaction="LATER"))
    assert (later.status, later.text) == ("2", NOT_PROVED)


def test_a_retry_needs_no_second_challenge(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, CHALLENGES)
    device, wish = Device.fresh(), Wish(transaction="RETRY")
    request = asked_for(device, challenge=challenge_of(devices))
    assert devices.ask(device, request, wish).certificate == devices.ask(device, request, wish).certificate


def test_a_refusal_that_is_not_the_challenges_fault_leaves_it_good(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, CHALLENGES, more=", names: { allow: { dns: ['*.corp.example'], cn: ['*'] } }")
    device, challenge = Device.fresh(), challenge_of(devices)
    wrong = make_request(device.key, dns=("device-1.elsewhere.example",), challenge=challenge)
    assert "elsewhere" in (devices.ask(device, wrong).text or "")
    assert devices.ask(device, asked_for(device, challenge=challenge)).status == "0"


@contextmanager
def without_signatures() -> Iterator[None]:
    """Every key gives certainly none."""
    signing = LocalSigner.sign

    def refusing(self: LocalSigner, order: object) -> bytes:
        raise NotSigned("the key was not to be had")

    LocalSigner.sign = refusing  # type: ignore[method-assign]
    try:
        yield
    finally:
        LocalSigner.sign = signing  # type: ignore[method-assign]


def test_a_certificate_that_was_given_up_gives_its_challenge_back(sqlite_world: World) -> None:
    """As when its key gave certainly no signature."""
    devices = fleet(sqlite_world, CHALLENGES)
    device, challenge, wish = Device.fresh(), challenge_of(devices), Wish(transaction="GIVEN")
    with without_signatures():
        answer = devices.ask(device, asked_for(device, challenge=challenge), wish)
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert devices.ask(device, asked_for(device, challenge=challenge), wish).status == "0"


def test_what_was_approved_beforehand_is_given_back_to_its_device(world: World) -> None:
    """With the challenge that it was claimed by, and no other: the next attempt is let in, and then nobody."""
    devices = fleet(world, CHALLENGES)
    wanted = approved_beforehand(template="issuing/device", subject="CN=device-1", apple=True)
    number = world.services.enrolment.grants.preapprove(wanted, OPERATOR).number
    another = challenge_of(devices)
    bound = BoundNames(parse_name_text("CN=device-1"), ())
    made = world.services.scep.challenges.create(devices.place.template_id, OPERATOR, bound=bound, grant_id=number)
    device, wish = Device.fresh(), Wish(transaction="GRANTED")
    request = make_request(device.key, "device-1", (), made.reveal().decode())
    assert devices.ask(device, asked_for(device, challenge=another)).status == "0"
    with without_signatures():
        assert devices.ask(device, request, wish).status == "2"
    assert world.services.requests.get(number).row.state == "awaiting_claim"
    assert [by is None for (by,) in rows(world.services, "SELECT consumed_by FROM scep_challenge ORDER BY id")] == [
        False, True,
    ]  # fmt: skip
    assert devices.ask(device, request, wish).status == "0"
    assert world.services.requests.get(number).row.state == "issued"
    stranger = Device.fresh(1)
    again = make_request(stranger.key, "device-1", (), made.reveal().decode())
    assert devices.ask(stranger, again).text == NOT_PROVED


def test_an_attempt_that_was_given_up_gives_no_other_attempts_challenge_back(world: World) -> None:
    """What let the first attempt in stays used, although the second has the same id."""
    devices = fleet(world, CHALLENGES)
    device, wish = Device.fresh(), Wish(transaction="SECOND")
    first, second = challenge_of(devices), challenge_of(devices)
    made = devices.ask(device, asked_for(device, challenge=first), wish).certificate
    identity = CertificateID(devices.place.issuer_id, made.serial_number)
    world.services.revocations.revoke(identity, RevocationReason.SUPERSEDED, OPERATOR)
    with without_signatures():
        assert devices.ask(device, asked_for(device, challenge=second), wish).status == "2"
    used = rows(world.services, "SELECT consumed_by FROM scep_challenge ORDER BY id")
    assert used == [("1.SECOND",), (None,)]
    assert devices.ask(device, asked_for(device, challenge=first), wish).text == NOT_PROVED
    assert devices.ask(device, asked_for(device, challenge=second), wish).status == "0"


@pytest.fixture
def waiting(world: World) -> Fleet:
    return fleet(world, "{ enabled: true, challenges: true, approval: true }")


def proved_by_challenge(devices: Fleet, device: Device) -> bytes:
    challenge = devices.world.services.scep.challenges.create(devices.place.template_id, OPERATOR)
    return asked_for(device, challenge=challenge.reveal().decode())


def poll(devices: Fleet, device: Device, request: bytes, transaction: str) -> Answer:
    wish = Wish(message_type="20", transaction=transaction)
    return devices.ask(device, poll_message(devices.place.path[0], request), wish)


def the_request(devices: Fleet) -> int:
    [(number,)] = rows(devices.world.services, "SELECT id FROM request")
    return int(number)


def test_what_waits_for_a_person_is_pending_and_then_there(waiting: Fleet) -> None:
    device, wish = Device.fresh(), Wish(transaction="WAIT")
    request = proved_by_challenge(waiting, device)
    answer = waiting.ask(device, request, wish)
    assert (answer.status, answer.certificates, answer.fail_info) == ("3", (), None)
    assert waiting.ask(device, request, wish).status == "3"
    assert poll(waiting, device, request, "WAIT").status == "3"
    found = waiting.world.services.requests.get(the_request(waiting))
    assert (found.row.subject, found.names) == ("CN=device-1", ("dns:device-1.corp.example",))
    assert found.row.submitted_by == "scep:issuing/device (192.0.2.7)"
    made = waiting.world.services.requests.sign(found.row.id, Overrides(days=10), OPERATOR)
    assert isinstance(made, Issued)
    assert poll(waiting, device, request, "WAIT").certificates == (made.der,)
    assert waiting.ask(device, request, wish).certificates == (made.der,)
    waiting.world.pass_time(timedelta(days=3))
    assert poll(waiting, device, request, "WAIT").certificates == (made.der,)


def test_what_a_person_declined_is_refused(waiting: Fleet) -> None:
    device = Device.fresh()
    request = proved_by_challenge(waiting, device)
    waiting.ask(device, request, Wish(transaction="NO"))
    waiting.world.services.requests.decline(the_request(waiting), "not ours", OPERATOR)
    for answer in (poll(waiting, device, request, "NO"), waiting.ask(device, request, Wish(transaction="NO"))):
        assert (answer.status, answer.fail_info) == ("2", "2")
        assert answer.text == "the request was declined: not ours"
    waiting.world.pass_time(timedelta(days=2))
    assert waiting.ask(device, proved_by_challenge(waiting, device), Wish(transaction="NO")).status == "3"


def test_a_passphrase_that_is_replaced_before_anything_is_reserved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = fleet(world)
    device, find = Device.fresh(), Passphrases.find

    def replaced(self: Passphrases, terms: SCEPTerms, presented: str) -> SecretRow | None:
        found, now = find(self, terms, presented), to_epoch(world.clock.now())
        end = partial(end_secrets, template_id=terms.template_id, kind=SecretKind.PASSPHRASE, until=now)
        world.parts.db.write(Step.SCEP_SECRET_WRITE, lambda c: end(c))
        return found

    monkeypatch.setattr(Passphrases, "find", replaced)
    answer = devices.ask(device, asked_for(device))
    assert (answer.status, answer.fail_info, answer.text) == ("2", "2", NOT_PROVED)
    assert (devices.issued(), devices.transactions()) == (0, 0)


def test_who_has_no_passphrase_does_not_even_wait(waiting: Fleet) -> None:
    device = Device.fresh()
    assert waiting.ask(device, asked_for(device, challenge="wrong-passphrase")).text == NOT_PROVED
    assert rows(waiting.world.services, "SELECT id FROM request") == []


def test_a_poll_by_another_key_or_for_nothing_finds_nothing(waiting: Fleet) -> None:
    device, other = Device.fresh(), Device.fresh(1)
    request = proved_by_challenge(waiting, device)
    waiting.ask(device, request, Wish(transaction="MINE"))
    for answer in (poll(waiting, other, request, "MINE"), poll(waiting, device, request, "NONE")):
        assert (answer.status, answer.fail_info, answer.certificates) == ("2", "4", ())


def test_what_a_poll_holds_is_not_looked_at(waiting: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor decrypted: the id and the key that signs decide."""
    device = Device.fresh()
    waiting.ask(device, proved_by_challenge(waiting, device), Wish(transaction="MINE"))
    for content in (b"", b"\x30\x00", b"nothing that could be read"):
        assert waiting.ask(device, content, Wish(message_type="20", transaction="MINE")).status == "3"
    unpadded = Wish(message_type="20", transaction="MINE", spoil_envelope=lambda der: der[:-16] + bytes(16))
    assert waiting.ask(device, b"\x30\x00", unpadded).status == "3"

    def never(*_: object) -> bytes:
        raise AssertionError("a poll was decrypted")

    monkeypatch.setattr(LocalSigner, "unwrap", never)
    assert waiting.ask(device, b"", Wish(message_type="20", transaction="MINE")).status == "3"


def test_without_a_proof_a_person_may_decide(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, "{ enabled: true, unproved: approval }")
    device = Device.fresh()
    assert devices.ask(device, asked_for(device, challenge=None)).status == "3"
    assert devices.ask(device, asked_for(device, challenge="anything else")).text == NOT_PROVED


def test_only_so_many_requests_of_a_template_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkiconf.scep.enrolment.MOST_WAITING", 2)
    devices = fleet(world, "{ enabled: true, unproved: approval }")
    device, first = Device.fresh(), Wish(transaction="FIRST")
    assert devices.ask(device, asked_for(device, challenge=None), first).status == "3"
    assert devices.ask(device, asked_for(device, challenge=None)).status == "3"
    answer = devices.ask(device, asked_for(device, challenge=None), client="198.51.100.9")
    assert (answer.status, answer.fail_info) == ("2", "2")
    assert "too many requests wait for a person" in (answer.text or "")
    assert devices.transactions() == len(rows(world.services, "SELECT id FROM request")) == 2
    assert devices.ask(device, asked_for(device, challenge=None), first).status == "3"  # it waits already
    other = fleet(world, "{ enabled: true, unproved: approval }")
    other.template, other.asked = "other", 10
    assert other.ask(device, asked_for(device, challenge=None)).status == "3"
    world.services.requests.decline(1, "not ours", OPERATOR)
    assert devices.ask(device, asked_for(device, challenge=None)).status == "3"


def test_of_one_client_only_so_many_wait(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, "{ enabled: true, unproved: approval, tries: { count: 2, per: 1h } }")
    device, first = Device.fresh(), Wish(transaction="FIRST")
    for _ in range(3):
        assert devices.ask(device, asked_for(device, challenge=None), first).status == "3"  # once, however often
    assert devices.ask(device, asked_for(device, challenge=None)).status == "3"
    assert devices.ask(device, asked_for(device, challenge=None)).text == NOT_PROVED
    assert devices.transactions() == 2
    assert devices.ask(device, asked_for(device, challenge=None), client="198.51.100.9").status == "3"
    sqlite_world.pass_time(timedelta(hours=1))
    assert devices.ask(device, asked_for(device, challenge=None)).status == "3"


@pytest.mark.parametrize("kind", ["21", "22"])
def test_certificates_and_lists_are_fetched(world: World, kind: str) -> None:
    devices = fleet(world)
    device = devices.enrolled()
    answer = devices.ask(device, get_message(device.certificate), devices.wish(message_type=kind))
    assert answer.status == "0", answer
    if kind == "21":
        assert answer.certificates == (device.certificate,)
    else:
        assert answer.crls == (world.services.crls.current(devices.place.issuer_id).der,)


@pytest.mark.parametrize("kind", ["21", "22"])
def test_what_was_not_issued_here_is_not_fetched(sqlite_world: World, kind: str) -> None:
    devices = fleet(sqlite_world)
    device, stranger = devices.enrolled(), Device.fresh(1)
    look_alike = Device.fresh(2)
    for asked in (stranger.certificate, look_alike.certificate, devices.place.path[0]):
        answer = devices.ask(device, get_message(asked), devices.wish(message_type=kind))
        assert (answer.status, answer.fail_info, answer.certificates, answer.crls) == ("2", "4", (), ())
    unread = devices.ask(device, b"\x02\x01\x01", devices.wish(message_type=kind))
    assert (unread.status, unread.fail_info, unread.text) == ("2", "4", answer.text)


@pytest.mark.parametrize("serial", [1, 0, -1, 2**159, 2**160, 2**400])
@pytest.mark.parametrize("kind", ["21", "22"])
def test_numbers_that_no_certificate_of_this_authority_has(sqlite_world: World, kind: str, serial: int) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    issuer = asn1_x509.Certificate.load(device.certificate).issuer
    asked = cms.IssuerAndSerialNumber({"issuer": issuer, "serial_number": serial}).dump()
    answer = devices.ask(device, bytes(asked), devices.wish(message_type=kind))
    assert (answer.status, answer.fail_info, answer.certificates, answer.crls) == ("2", "4", (), ())


def test_what_is_not_signed_yet_is_not_fetched(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = fleet(sqlite_world)
    device, request, wish = Device.fresh(), asked_for(Device.fresh()), Wish(transaction="LATER")
    assert devices.recipient  # the registration authority has its certificate

    def busy(*_: object) -> bytes:
        raise SigningUnavailable("the key is busy")

    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", busy)
        assert devices.ask(device, request, wish).status == "3"
    [(serial,)] = rows(sqlite_world.services, "SELECT serial FROM certificate WHERE status = 'reserved'")
    issuer = asn1_x509.Certificate.load(devices.place.path[0]).subject
    asked = cms.IssuerAndSerialNumber({"issuer": issuer, "serial_number": int.from_bytes(serial)}).dump()
    fetch = Wish(message_type="21", transaction="FETCH")
    answer = devices.ask(device, bytes(asked), fetch)
    assert (answer.status, answer.fail_info, answer.certificates) == ("2", "4", ())
    made = devices.ask(device, request, wish).certificates
    assert devices.ask(device, bytes(asked), fetch).certificates == made


def test_nobody_else_s_act_is_a_devices(sqlite_world: World) -> None:
    from pkiconf.errors import Refused
    from pkiconf.policy.authorization import Action, check_may

    device = Actor("scep", "issuing/device", "passphrase")
    check_may(device, Action.SCEP_ENROL, "template/issuing/device")
    for action in (Action.REQUEST_SIGN, Action.CERTIFICATE_REVOKE, Action.SCEP_CHALLENGE_CREATE):
        with pytest.raises(Refused):
            check_may(device, action, "template/issuing/device")


def test_the_row_knows_its_certificate(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    made = devices.enrol()
    [(serial, method)] = rows(sqlite_world.services, "SELECT serial, method FROM scep_transaction")
    assert (serial, method) == (serial_bytes(made.serial_number), "passphrase")
    assert made.public_bytes(Encoding.DER)
    assert device_key(0).public_key() == made.public_key()


def test_a_retry_by_another_registration_authority_is_the_same(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device, wish = Device.fresh(), Wish(transaction="RA")
    request, old = asked_for(device), devices.recipient
    first = devices.ask(device, request, wish)
    sqlite_world.pass_time(timedelta(hours=1))
    again = read_answer(devices.send(message(device, request, old, wish)), device.key)
    assert again.certificates == first.certificates
