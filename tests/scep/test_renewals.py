"""Renewal by the certificate that was issued: byte for byte, good, of this template, in time, for the same names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import CertificateRequest, Issued, Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.scep import NOT_PROVED, Proof
from pkiconf.scep.places import Place
from pkiconf.scep.renewals import Presented, Renewals
from pkiconf.store.audit import list_events
from tests.scep.devices import BY_PASSPHRASE, Fleet, fleet, roll_over
from tests.scep.place import PASSPHRASE
from tests.scep_client import Answer, Device, Wish, device_key, make_request
from tests.wholeness import rows
from tests.world import OPERATOR, World

WINDOW = BY_PASSPHRASE % ", renewal: { window: 30d, grace: 10d }"
LIFE = timedelta(days=365)


def renew(
    devices: Fleet,
    device: Device,
    *,
    key: int = 5,
    kind: str = "17",
    name: str = "device-1",
    dns: tuple[str, ...] = ("device-1.corp.example",),
    challenge: str | None = None,
) -> Answer:
    """Ask for a certificate for key number `key`, signed by the one that `device` has."""
    asked = make_request(device_key(key), name, dns, challenge)
    return devices.ask(device, asked, devices.wish(message_type=kind))


def names_of(made: x509.Certificate) -> list[str]:
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("kind", ["17", "19"])
@pytest.mark.parametrize("key", [0, 5])
def test_with_the_same_key_and_with_another(world: World, kind: str, key: int) -> None:
    """Apple renews with PKCSReq."""
    devices = fleet(world)
    device = devices.enrolled()
    answer = renew(devices, device, key=key, kind=kind)
    assert answer.status == "0", answer
    assert answer.certificate.public_key() == device_key(key).public_key()
    assert answer.certificates != (device.certificate,)
    last = world.parts.db.read(lambda c: list_events(c, action="template.scep-enrol", newest=True))[-1]
    assert last.fields["proved_by"] == "renewal"
    serial = x509.load_der_x509_certificate(device.certificate).serial_number
    assert last.fields["details"]["proof"] == f"certificate {serial:x}"


def test_the_successor_may_be_renewed_in_turn(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    for key in (6, 7, 8):
        answer = renew(devices, device, key=key)
        device = Device(device_key(key), answer.certificates[0])
    assert devices.issued() == 4


@pytest.mark.parametrize("left_out", [{"dns": ()}, {"name": ""}, {"name": "", "dns": ()}])
def test_names_that_are_left_out_stay(sqlite_world: World, left_out: dict[str, object]) -> None:
    devices = fleet(sqlite_world)
    made = renew(devices, devices.enrolled(), **left_out).certificate  # type: ignore[arg-type]
    assert made.subject.rfc4514_string() == "CN=device-1"
    assert names_of(made) == ["device-1.corp.example"]


def refused(answer: Answer, words: str, fail_info: str = "2") -> None:
    assert (answer.status, answer.fail_info, answer.certificates) == ("2", fail_info, ()), answer
    assert words in (answer.text or ""), answer.text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"dns": ("device-1.corp.example", "other.corp.example")}, "other.corp.example"),
        ({"dns": ("other.corp.example",)}, "other.corp.example"),
        ({"name": "device-2"}, "device-2"),
    ],
)
def test_other_names_are_not_renewed(sqlite_world: World, more: dict[str, object], words: str) -> None:
    devices = fleet(sqlite_world)
    refused(renew(devices, devices.enrolled(), key=0, **more), words)  # type: ignore[arg-type]
    assert devices.issued() == 1


@pytest.mark.parametrize("kind", ["17", "19"])
@pytest.mark.parametrize("challenge", [None, PASSPHRASE])
def test_the_names_that_another_key_asks_for_are_not_told(
    sqlite_world: World, caplog: pytest.LogCaptureFixture, kind: str, challenge: str | None
) -> None:
    """Whoever signs another's envelope with a certificate of his own cannot read what lies in it."""
    devices = fleet(sqlite_world)
    asked = {"name": "device-2", "dns": ("hidden.corp.example",)}
    answer = renew(devices, devices.enrolled(), key=5, kind=kind, challenge=challenge, **asked)  # type: ignore[arg-type]
    refused(answer, NOT_PROVED)
    assert answer.text == NOT_PROVED
    assert "does not name dns:hidden.corp.example, device-2" in caplog.text
    assert devices.issued() == 1


def test_a_revoked_certificate_renews_nothing(world: World) -> None:
    devices = fleet(world)
    device = devices.enrolled()
    serial = x509.load_der_x509_certificate(device.certificate).serial_number
    identity = CertificateID(devices.place.issuer_id, serial)
    world.services.revocations.hold(identity, OPERATOR)
    refused(renew(devices, device), NOT_PROVED)
    world.services.revocations.revoke(identity, RevocationReason.SUPERSEDED, OPERATOR)
    for kind in ("17", "19"):
        refused(renew(devices, device, kind=kind), NOT_PROVED)
    assert devices.issued() == 1


@pytest.mark.parametrize("kind", ["17", "19"])
def test_a_certificate_that_is_revoked_before_its_successor_is_reserved(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    devices = fleet(world)
    device = devices.enrolled()
    serial = x509.load_der_x509_certificate(device.certificate).serial_number
    identity = CertificateID(devices.place.issuer_id, serial)
    check = Renewals.check

    def checked(self: Renewals, place: Place, presented: Presented, wanted: CertificateRequest) -> Proof:
        proof = check(self, place, presented, wanted)
        world.services.revocations.revoke(identity, RevocationReason.KEY_COMPROMISE, OPERATOR)
        return proof

    monkeypatch.setattr(Renewals, "check", checked)
    refused(renew(devices, device, kind=kind), NOT_PROVED)
    assert (devices.issued(), devices.transactions()) == (1, 1)


def test_another_templates_certificate_renews_nothing(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    refused(renew(Fleet(sqlite_world, "other", asked=50), device), NOT_PROVED)


def test_a_certificate_of_the_authority_itself_renews_nothing(sqlite_world: World) -> None:
    """Whoever had the registration authority's key would be no device."""
    devices = fleet(sqlite_world)
    device = Device(device_key(0), devices.recipient)
    refused(renew(devices, device, key=0), "does not hold", "1")


def _look_alike(device: Device, authority: bytes) -> Device:
    """A stranger's, with the same issuer, serial number, names and key."""
    copied = x509.load_der_x509_certificate(device.certificate)
    made = (
        x509.CertificateBuilder(
            issuer_name=x509.load_der_x509_certificate(authority).subject,
            subject_name=copied.subject,
            public_key=device.key.public_key(),
            serial_number=copied.serial_number,
        )
        .not_valid_before(copied.not_valid_before_utc)
        .not_valid_after(copied.not_valid_after_utc)
        .sign(device_key(3), hashes.SHA256())
    )
    return device.holding(made.public_bytes(Encoding.DER))


@pytest.mark.parametrize("kind", ["17", "19"])
def test_a_look_alike_renews_nothing(sqlite_world: World, kind: str) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    look_alike = _look_alike(device, devices.place.path[0])
    refused(renew(devices, look_alike, key=0, kind=kind), NOT_PROVED)
    assert devices.issued() == 1


def test_another_signature_on_the_same_certificate_renews_nothing(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    spoilt = asn1_x509.Certificate.load(device.certificate)
    spoilt["signature_value"] = bytes(spoilt["signature_value"].native[:-1]) + b"\x01"
    refused(renew(devices, device.holding(spoilt.dump(force=True)), key=0), NOT_PROVED)


@pytest.mark.parametrize("kind", ["17", "19"])
def test_a_strangers_certificate_renews_nothing(sqlite_world: World, kind: str) -> None:
    devices = fleet(sqlite_world)
    refused(renew(devices, Device.fresh(2), key=2, kind=kind), NOT_PROVED)


def test_a_stranger_with_a_passphrase_does_not_renew(sqlite_world: World) -> None:
    """A RenewalReq is a renewal or nothing."""
    devices = fleet(sqlite_world)
    refused(renew(devices, Device.fresh(2), key=2, challenge=PASSPHRASE), NOT_PROVED)
    assert renew(devices, Device.fresh(2), key=2, kind="19", challenge=PASSPHRASE).status == "0"


def test_another_key_needs_the_certificate(sqlite_world: World) -> None:
    """A passphrase does not let in a key that did not sign."""
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    serial = x509.load_der_x509_certificate(device.certificate).serial_number
    identity = CertificateID(devices.place.issuer_id, serial)
    sqlite_world.services.revocations.revoke(identity, RevocationReason.SUPERSEDED, OPERATOR)
    refused(renew(devices, device, key=5, kind="19", challenge=PASSPHRASE), NOT_PROVED)
    assert renew(devices, device, key=0, kind="19", challenge=PASSPHRASE).status == "0"


def test_too_early_for_another_key_a_passphrase_does_not_help(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, WINDOW)
    device = devices.enrolled()
    refused(renew(devices, device, key=5, kind="19", challenge=PASSPHRASE), "can be renewed from")
    assert renew(devices, device, key=0, kind="19", challenge=PASSPHRASE).status == "0"


def test_a_renewal_that_is_switched_off(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, BY_PASSPHRASE % ", renewal: { enabled: false }")
    assert "Renewal" not in sqlite_world.services.scep.certificates.capabilities(devices.place)
    refused(renew(devices, devices.enrolled()), NOT_PROVED)


def test_too_early_and_too_late(world: World) -> None:
    devices = fleet(world, WINDOW)
    device = devices.enrolled()
    refused(renew(devices, device), "can be renewed from 2030-12-02T11:59:59Z on")
    world.pass_time(LIFE - timedelta(days=30, seconds=1))
    assert renew(devices, device).status == "0"
    world.pass_time(timedelta(days=40))
    assert renew(devices, device, key=6).status == "0"
    world.pass_time(timedelta(seconds=1))
    refused(renew(devices, device, key=7), "ended on 2031-01-01T11:59:59Z, too long ago")


def test_without_a_grace_the_end_is_the_end(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    sqlite_world.pass_time(LIFE - timedelta(seconds=1))
    assert renew(devices, device).status == "0"
    sqlite_world.pass_time(timedelta(seconds=1))
    refused(renew(devices, device, key=6), "too long ago")


def test_a_renewal_waits_for_nobody(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    devices = fleet(sqlite_world, "{ enabled: true, static_passphrase: null, challenges: true, approval: true }")
    devices.asked = 10
    assert renew(devices, device).status == "0"


def test_a_renewal_under_the_id_of_the_enrolment(sqlite_world: World) -> None:
    """Clients that make it from their key, and keep the key."""
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    wish = devices.wish(message_type="17", transaction="T0000001")
    asked = make_request(device.key, "device-1", challenge=None)
    first = devices.ask(device, asked, wish)
    assert first.status == "0"
    assert first.certificates != (device.certificate,)
    assert devices.ask(device, asked, wish).certificates == first.certificates
    assert devices.issued() == 2


def test_a_renewal_takes_nobody_elses_id(world: World) -> None:
    """Whose id it is polls, and gets his certificate."""
    stranger = fleet(world).enrolled(1, "device-2")
    devices = fleet(world, "{ enabled: true, static_passphrase: null, challenges: true, approval: true }")
    challenge = world.services.scep.challenges.create(devices.place.template_id, OPERATOR).reveal().decode()
    owner, request = Device.fresh(), make_request(device_key(0), challenge=challenge)
    assert devices.ask(owner, request, Wish(transaction="OWNERS")).status == "3"
    taking = Wish(message_type="17", transaction="OWNERS")
    asked = make_request(stranger.key, "device-2", (), challenge=None)
    refused(devices.ask(stranger, asked, taking), "used for another request")
    polling = Wish(message_type="20", transaction="OWNERS")
    assert devices.ask(owner, b"", polling).status == "3"
    [(number,)] = rows(world.services, "SELECT id FROM request")
    made = world.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(made, Issued)
    assert devices.ask(owner, b"", polling).certificates == (made.der,)


def test_a_renewal_takes_no_id_whose_certificate_is_anothers(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    owner, stranger = devices.enrolled(), devices.enrolled(1, "device-2")
    taking = Wish(message_type="17", transaction="T0000001")
    asked = make_request(stranger.key, "device-2", (), challenge=None)
    refused(devices.ask(stranger, asked, taking), "used for another request")
    polled = devices.ask(Device.fresh(), b"", Wish(message_type="20", transaction="T0000001"))
    assert polled.certificates == (owner.certificate,)


def test_the_generation_before_is_renewed_by_the_present_one(sqlite_world: World) -> None:
    devices = fleet(sqlite_world)
    device = devices.enrolled()
    old = devices.place.issuer_id
    roll_over(sqlite_world)
    assert devices.place.issuer_id != old
    made = renew(devices, device).certificate
    made.verify_directly_issued_by(x509.load_der_x509_certificate(devices.place.path[0]))
