"""First enrolments (RFC 8894 §3.3.1): every algorithm and encoding that devices come with, answered in kind."""

from __future__ import annotations

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type

from pkiconf.errors import Unverified
from pkiconf.signing.local import LocalSigner
from pkiconf.store.audit import list_events
from tests.der.ber import to_ber
from tests.scep.devices import BY_PASSPHRASE, Fleet, fleet
from tests.scep.place import PASSPHRASE
from tests.scep_client import Device, Wish, make_request, message, read_answer
from tests.world import World

_OAEP = [("sha1", "sha1"), ("sha256", "sha256"), ("sha256", "sha1"), ("sha512", "sha512")]


@pytest.fixture
def devices(sqlite_world: World) -> Fleet:
    return fleet(sqlite_world)


@pytest.mark.row("F78", "F79", "F116", "F117")
def test_a_device_gets_what_it_asks_for(world: World) -> None:
    devices = fleet(world)
    device = Device.fresh()
    made = devices.enrol(device)
    assert made.subject.rfc4514_string() == "CN=device-1"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["device-1.corp.example"]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert made.public_key().public_bytes(*form) == device.key.public_key().public_bytes(*form)
    made.verify_directly_issued_by(x509.load_der_x509_certificate(devices.place.path[0]))
    [event] = world.parts.db.read(lambda c: list_events(c, action="template.scep-enrol"))
    assert event.fields["address"] == "template/issuing/device"
    assert event.fields["proved_by"] == "passphrase"
    told = event.fields["details"]
    assert (told["transaction"], told["client"]) == ("T0000001", "192.0.2.7")
    assert told["proof"].startswith("passphrase ")
    assert PASSPHRASE not in event.body


@pytest.mark.parametrize("cipher", ["aes128_cbc", "aes192_cbc", "aes256_cbc", "tripledes_3key"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_an_answer_is_made_like_the_question(devices: Fleet, cipher: str, digest: str) -> None:
    device = Device.fresh()
    answer = devices.ask(
        device, make_request(device.key, challenge=PASSPHRASE), devices.wish(cipher=cipher, digest=digest)
    )
    assert (answer.status, answer.cipher, answer.digest) == ("0", cipher, digest)


def test_an_answer_whose_signature_does_not_hold_is_not_sent(devices: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty RSA signature tells the key: neither a success nor a refusal leaves with one."""
    device = Device.fresh()
    asked = [make_request(device.key, challenge=challenge) for challenge in (PASSPHRASE, "wrong-passphrase")]
    sent = [message(device, request, devices.recipient, devices.wish()) for request in asked]
    sign = LocalSigner.sign_rsa
    monkeypatch.setattr(LocalSigner, "sign_rsa", lambda self, octets, digest: sign(self, octets + b"x", digest))
    for octets in sent:
        with pytest.raises(Unverified):
            devices.send(octets)


@pytest.mark.parametrize("oaep", _OAEP)
def test_keys_come_by_oaep_too(devices: Fleet, oaep: tuple[str, str]) -> None:
    devices.enrol(wish=devices.wish(oaep=oaep))


@pytest.mark.parametrize("string", [core.UTF8String, core.IA5String, core.TeletexString])
def test_attributes_may_be_other_strings(devices: Fleet, string: type[core.AbstractString]) -> None:
    devices.enrol(wish=devices.wish(string=string))


@pytest.mark.parametrize("algorithm", ["sha256_rsa", "rsassa_pkcs1v15"])
def test_the_signature_is_named_in_either_way(devices: Fleet, algorithm: str) -> None:
    devices.enrol(wish=devices.wish(signature_algorithm=algorithm))


@pytest.mark.parametrize("octets", [1, 8, 20, 64])
def test_nonces_may_have_another_length(devices: Fleet, octets: int) -> None:
    devices.enrol(wish=devices.wish(nonce=bytes(octets)))


@pytest.mark.parametrize("inside", [False, True])
def test_indefinite_lengths_and_strings_in_pieces_are_read(devices: Fleet, inside: bool) -> None:
    device = Device.fresh()
    wish = devices.wish(spoil_envelope=to_ber) if inside else devices.wish()
    sent = message(device, make_request(device.key, challenge=PASSPHRASE), devices.recipient, wish)
    answer = read_answer(devices.send(sent if inside else to_ber(sent)), device.key)
    assert answer.status == "0", answer
    both = devices.wish(spoil_envelope=to_ber)
    sent = to_ber(message(device, make_request(device.key, challenge=PASSPHRASE), devices.recipient, both))
    assert read_answer(devices.send(sent), device.key).status == "0"


@pytest.mark.parametrize("tag", [_ASN1Type.UTF8String, _ASN1Type.IA5String, _ASN1Type.PrintableString])
@pytest.mark.parametrize("behind", ["", "\0", "\n"])
def test_the_challenge_is_read_in_any_string(devices: Fleet, tag: _ASN1Type, behind: str) -> None:
    device = Device.fresh()
    asked = make_request(device.key, challenge=PASSPHRASE + behind, challenge_tag=tag)
    assert devices.ask(device, asked).status == "0"


def test_a_request_signed_with_sha1_is_read_where_legacy_is(devices: Fleet) -> None:
    device = Device.fresh(sha1=True)
    asked = make_request(device.key, challenge=PASSPHRASE, sha1=True)
    assert devices.ask(device, asked, devices.wish(digest="sha1")).status == "0"


def test_a_transport_certificate_is_never_judged(devices: Fleet) -> None:
    """Windows makes one with SHA-1 and another subject than the request's."""
    device = Device.fresh(sha1=True, name="SCEP Protocol Certificate")
    devices.enrol(device)


@pytest.mark.parametrize(
    "key",
    ["{ type: rsa, size: 2048 }", "{ type: ec, curve: p384 }", "{ type: ml-dsa, parameter_set: 65 }"],
)
def test_every_kind_of_authority_enrols(sqlite_world: World, key: str) -> None:
    """Whatever signs the certificate, the registration authority speaks RSA."""
    devices = fleet(sqlite_world, key=key)
    device = Device.fresh()
    answer = devices.ask(device, make_request(device.key, challenge=PASSPHRASE))
    assert answer.status == "0"
    assert x509.load_der_x509_certificate(answer.signer).subject.rfc4514_string() == "CN=issuing SCEP RA"


def test_single_des_is_opened_only_where_it_was_declared(sqlite_world: World) -> None:
    """It is never answered with."""
    devices = fleet(sqlite_world, BY_PASSPHRASE % ", single_des: true")
    device = Device.fresh()
    asked = make_request(device.key, challenge=PASSPHRASE)
    answer = devices.ask(device, asked, devices.wish(cipher="des"))
    assert (answer.status, answer.cipher) == ("0", "tripledes_3key")


def test_more_certificates_may_lie_in_the_message(devices: Fleet) -> None:
    device, other = Device.fresh(), Device.fresh(1)
    wish = devices.wish(certificates=(other.certificate, device.certificate))
    devices.enrol(device, wish)


def test_the_same_key_may_enrol_again_under_another_id(devices: Fleet) -> None:
    device = Device.fresh()
    assert devices.enrol(device) != devices.enrol(device)
    assert devices.issued() == 2


def test_an_old_registration_authority_opens_until_it_ends(sqlite_world: World) -> None:
    from datetime import timedelta

    devices = fleet(sqlite_world)
    old = devices.recipient
    sqlite_world.pass_time(timedelta(days=61))
    sqlite_world.services.service_certificates.renew_due()
    assert devices.recipient != old
    device = Device.fresh()
    asked = make_request(device.key, challenge=PASSPHRASE)
    answer = read_answer(devices.send(message(device, asked, old, Wish(transaction="OLD"))), device.key)
    assert (answer.status, answer.signer) == ("0", old)
    sqlite_world.pass_time(timedelta(days=31))
    gone = read_answer(devices.send(message(device, asked, old, Wish(transaction="GONE"))), device.key)
    assert (gone.status, gone.fail_info) == ("2", "1")
