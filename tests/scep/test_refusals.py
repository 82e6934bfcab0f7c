"""What is refused: by which failInfo, in which words, and with nothing left behind."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pkiconf.der.names import parse_general_name_text
from pkiconf.errors import Malformed
from pkiconf.model.scep import NOT_PROVED, BoundNames
from pkiconf.scep.asked import UNREADABLE
from tests.scep.devices import BY_PASSPHRASE, Fleet, fleet
from tests.scep.place import PASSPHRASE
from tests.scep_client import (
    MESSAGE_TYPE,
    SENDER_NONCE,
    TRANSACTION,
    Answer,
    Device,
    Wish,
    device_key,
    get_message,
    make_request,
    message,
    read_answer,
    sealed,
    signed,
)
from tests.world import OPERATOR, World


@pytest.fixture
def devices(sqlite_world: World) -> Fleet:
    return fleet(sqlite_world)


def refused(devices: Fleet, answer: Answer, fail_info: str, words: str) -> Answer:
    """A failure of this kind, and nothing was reserved, recorded or handed out."""
    assert (answer.status, answer.fail_info) == ("2", fail_info), answer
    assert words in (answer.text or ""), answer.text
    assert answer.certificates == ()
    assert (devices.issued(), devices.transactions()) == (0, 0)
    return answer


def good(device: Device) -> bytes:
    return make_request(device.key, challenge=PASSPHRASE)


@pytest.mark.parametrize("challenge", ["wrong-passphrase", "", None, PASSPHRASE.upper(), PASSPHRASE + "x"])
def test_who_has_no_passphrase(devices: Fleet, caplog: pytest.LogCaptureFixture, challenge: str | None) -> None:
    device = Device.fresh()
    with caplog.at_level(logging.WARNING, "pkiconf.scep.responder"):
        answer = devices.ask(device, make_request(device.key, challenge=challenge))
    refused(devices, answer, "2", NOT_PROVED)
    assert "'T0000001' from 192.0.2.7 refused (BAD_REQUEST)" in caplog.text
    assert PASSPHRASE not in caplog.text
    assert not challenge or challenge not in caplog.text


def test_what_a_client_chose_forges_no_line_of_the_log(devices: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    holder = devices.enrolled()
    asked = make_request(holder.key, "a\nb: forged\u2028c", challenge=None)
    wish = devices.wish(transaction="T\nforged", string=core.UTF8String)
    assert "forged" in (devices.ask(holder, asked, wish).text or "")
    [said] = [record.getMessage() for record in caplog.records if record.name == "pkiconf.scep.responder"]
    assert "b: forged" in said
    assert said.isprintable()


@pytest.mark.parametrize("kind", ["18", "3", "0", "99", "", "PKCSReq", "19 19", "-1", "١٩"])
def test_messages_of_other_types(devices: Fleet, kind: str) -> None:
    device = Device.fresh()
    wish = devices.wish(message_type=kind, string=core.UTF8String)
    refused(devices, devices.ask(device, good(device), wish), "2", "are not answered")


def test_a_message_signed_by_another_key_than_the_requests(devices: Fleet) -> None:
    device = Device.fresh()
    asked = make_request(device_key(1), challenge=PASSPHRASE)
    refused(devices, devices.ask(device, asked), "1", "signed by another key")


def test_a_signature_that_does_not_hold(devices: Fleet) -> None:
    device = Device.fresh()
    refused(devices, devices.ask(device, good(device), devices.wish(sign_with=device_key(1))), "1", "does not hold")


def test_content_that_was_changed(devices: Fleet) -> None:
    device, wish = Device.fresh(), devices.wish()
    envelope = sealed(good(device), devices.recipient, wish)
    sent = signed(envelope, device, wish)
    changed = sent.replace(envelope, envelope[:-1] + bytes([envelope[-1] ^ 1]))
    refused(devices, read_answer(devices.send(changed), device.key), "1", "message digest")


def test_a_certificate_that_is_not_there(devices: Fleet) -> None:
    device, other = Device.fresh(), Device.fresh(1)
    answer = devices.ask(device, good(device), devices.wish(certificates=(other.certificate,)))
    refused(devices, answer, "1", "not in the message")


def test_a_recipient_that_is_another(devices: Fleet) -> None:
    """Not even another template's: both have one registration authority, so a stranger's certificate stands in."""
    device, stranger = Device.fresh(), Device.fresh(1)
    sent = message(device, good(device), stranger.certificate, devices.wish())
    refused(devices, read_answer(devices.send(sent), device.key), "1", "not encrypted to a certificate of this")


@pytest.mark.parametrize(
    ("how", "words"),
    [({"digest": "md5"}, "1.2.840.113549.2.5"), ({"cipher": "des"}, "DES-CBC"), ({"digest": "sha224"}, "sha224")],
)
def test_algorithms_that_nobody_should_use(devices: Fleet, how: dict[str, str], words: str) -> None:
    device = Device.fresh()
    refused(devices, devices.ask(device, good(device), devices.wish(**how)), "0", words)


@pytest.mark.parametrize("how", [{"digest": "sha1"}, {"cipher": "tripledes_3key"}])
def test_without_legacy_sha1_and_3des_are_refused(sqlite_world: World, how: dict[str, str]) -> None:
    devices = fleet(sqlite_world, BY_PASSPHRASE % ", legacy: false")
    device = Device.fresh()
    answer = refused(devices, devices.ask(device, good(device), devices.wish(**how)), "0", "is not accepted")
    assert answer.digest == "sha256"


def test_without_legacy_a_request_signed_with_sha1_is_refused(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, BY_PASSPHRASE % ", legacy: false")
    device = Device.fresh()
    answer = devices.ask(device, make_request(device.key, challenge=PASSPHRASE, sha1=True))
    refused(devices, answer, "1", UNREADABLE)


def test_a_request_for_an_ec_key(devices: Fleet) -> None:
    """Its answer could not be encrypted."""
    device = Device.of(ec.generate_private_key(ec.SECP256R1()))
    wish = devices.wish(signature_algorithm="sha256_ecdsa")
    refused(devices, devices.ask(device, good(device), wish), "0", "1.2.840.10045.4.3.2 is not accepted")


def test_names_that_the_template_does_not_allow(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, more=", names: { allow: { dns: ['*.allowed.example'], cn: ['*'] } }")
    device = Device.fresh()
    refused(devices, devices.ask(device, good(device)), "2", "device-1.corp.example")


def test_what_only_authorities_have(devices: Fleet) -> None:
    device = Device.fresh()
    wishes = [(x509.BasicConstraints(ca=True, path_length=None), True)]
    asked = make_request(device.key, challenge=PASSPHRASE, extensions=wishes)
    refused(devices, devices.ask(device, asked), "2", "CA:TRUE")


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_weak_key(devices: Fleet, bits: int) -> None:
    weak = Device.of(rsa.generate_private_key(65537, bits))
    refused(devices, devices.ask(weak, good(weak)), "2", f"an RSA key of {bits} bits is too short")


def _broken_signature(device: Device) -> bytes:
    asked = bytearray(good(device))
    asked[-1] ^= 1
    return bytes(asked)


def _broken_name(device: Device) -> bytes:
    return good(device).replace(b"device-1", b"device-2", 1)


SPOILT: list[Callable[[Device], bytes]] = [
    _broken_signature,
    _broken_name,
    lambda device: b"",
    lambda device: b"\x30\x00",
    lambda device: b"not a request at all",
    lambda device: good(device)[:-5],
    lambda device: good(device) + b"\0",
    lambda device: make_request(device.key, challenge=PASSPHRASE, sha1=True).replace(b"device-1", b"device-2"),
    lambda device: os.urandom(700),
]


@pytest.mark.parametrize("number", range(len(SPOILT)))
def test_whatever_lies_inside_there_is_one_error(devices: Fleet, number: int) -> None:
    device = Device.fresh()
    answer = refused(devices, devices.ask(device, SPOILT[number](device)), "1", UNREADABLE)
    assert answer.text == UNREADABLE


def _spoil_key(envelope: bytes) -> bytes:
    """Another encrypted key of the same length."""
    at = envelope.index(b"\x04\x82\x01\x00") + 4
    return envelope[:at] + bytes(1) + os.urandom(255) + envelope[at + 256 :]


def _spoil_last_block(envelope: bytes) -> bytes:
    return envelope[:-16] + os.urandom(16)


def _spoil_first_block(envelope: bytes) -> bytes:
    at = envelope.index(b"\x80\x82") + 4
    return envelope[:at] + os.urandom(16) + envelope[at + 16 :]


@pytest.mark.parametrize("spoil", [_spoil_key, _spoil_last_block, _spoil_first_block])
@pytest.mark.parametrize("oaep", [None, ("sha256", "sha256")])
def test_decrypting_tells_nothing(
    devices: Fleet, spoil: Callable[[bytes], bytes], oaep: tuple[str, str] | None
) -> None:
    """A key that does not unwrap, a padding that is wrong and content that is garbage look alike: failInfo, words, and
    how much is done (see tests/der/test_enveloped_data.py)."""
    device = Device.fresh()
    answer = devices.ask(device, good(device), devices.wish(spoil_envelope=spoil, oaep=oaep))
    refused(devices, answer, "1", UNREADABLE)
    assert answer.text == UNREADABLE


def _spoil_block_before_last(envelope: bytes) -> bytes:
    return envelope[:-32] + os.urandom(16) + envelope[-16:]


@pytest.mark.parametrize("spoil", [_spoil_key, _spoil_last_block, _spoil_block_before_last])
@pytest.mark.parametrize("kind", ["20", "21", "22"])
def test_decrypting_an_inquiry_tells_nothing(devices: Fleet, kind: str, spoil: Callable[[bytes], bytes]) -> None:
    """One answer for what cannot be read and for what can, but names nothing of ours."""
    device = Device.fresh()
    contents = (get_message(device.certificate), get_message(devices.place.path[0]), b"", b"\x30\x00", os.urandom(40))
    answers = [devices.ask(device, content, devices.wish(message_type=kind)) for content in contents]
    answers.append(devices.ask(device, contents[0], devices.wish(message_type=kind, spoil_envelope=spoil)))
    assert {(answer.status, answer.fail_info) for answer in answers} == {("2", "4")}
    assert len({answer.text for answer in answers}) == 1


def test_an_encrypted_key_that_says_it_is_of_another_length(devices: Fleet) -> None:
    """PKCS#1 v1.5 can hide 24 octets where 16 belong."""
    device, wish = Device.fresh(), devices.wish(cipher="aes192_cbc")
    aes192, aes128 = bytes.fromhex("0609608648016503040116"), bytes.fromhex("0609608648016503040102")
    wish = replace(wish, spoil_envelope=lambda der: der.replace(aes192, aes128))
    answer = refused(devices, devices.ask(device, good(device), wish), "1", UNREADABLE)
    assert answer.text == UNREADABLE


def test_an_envelope_that_is_none(devices: Fleet) -> None:
    device = Device.fresh()
    for inside in (b"", b"\x30\x00", good(device), os.urandom(400)):
        wish = devices.wish(spoil_envelope=lambda _, inside=inside: inside)
        answer = devices.ask(device, good(device), wish)
        assert (answer.status, answer.fail_info) == ("2", "1"), answer
    assert devices.issued() == 0


@pytest.mark.parametrize("attribute", [TRANSACTION, MESSAGE_TYPE, SENDER_NONCE])
def test_a_message_without_what_an_answer_needs_has_none(devices: Fleet, attribute: str) -> None:
    device = Device.fresh()
    with pytest.raises(Malformed, match="where one belongs"):
        devices.send(message(device, good(device), devices.recipient, devices.wish(left_out=(attribute,))))


@pytest.mark.parametrize("transaction", ["", "x" * 256, "a\0b"])
def test_transaction_ids_that_are_none(devices: Fleet, transaction: str) -> None:
    device = Device.fresh()
    wish = Wish(transaction=transaction, string=core.UTF8String)
    with pytest.raises(Malformed):
        devices.send(message(device, good(device), devices.recipient, wish))


def test_a_transaction_id_of_other_letters_is_given_back(world: World) -> None:
    devices = fleet(world)
    device = Device.fresh()
    devices.enrol(device, Wish(transaction="gerät №7 'x'; --", string=core.UTF8String))


@pytest.mark.parametrize("octets", [0, 1, 50, 300, 900, 1500])
def test_messages_that_break_off(devices: Fleet, octets: int) -> None:
    device = Device.fresh()
    sent = message(device, good(device), devices.recipient, devices.wish())
    with pytest.raises(Malformed):
        devices.send(sent[:octets])
    with pytest.raises(Malformed):
        devices.send(b"\x30\x80" + sent[4:octets])


def test_octets_that_are_changed_never_become_another_error(devices: Fleet) -> None:
    """Whichever octet of a message is changed: Malformed, a refusal, or the certificate, where nobody looks at it (the
    device's own certificate is not judged)."""
    device = Device.fresh()
    sent = message(device, good(device), devices.recipient, devices.wish())
    for at in range(0, len(sent), 23):
        changed = bytearray(sent)
        changed[at] ^= 0x55
        try:
            answer = devices.send(bytes(changed))
        except Malformed:
            continue
        assert _status(answer) in (b"0", b"2"), at
    assert devices.issued() <= 1


def _status(answer: bytes) -> bytes:
    oid = bytes.fromhex("060a6086480186f845010903")
    at = answer.index(oid) + len(oid)
    return answer[at + 4 : at + 5]


@pytest.mark.parametrize("bomb", [b"\x30\x80" * 50_000, b"\x24\x80" * 3000, b"\x30\x82\xff\xff" + b"\x04\x00" * 32_767])
def test_bombs(devices: Fleet, bomb: bytes) -> None:
    with pytest.raises(Malformed):
        devices.send(bomb)


def test_no_message_is_too_long_to_be_refused(devices: Fleet) -> None:
    with pytest.raises(Malformed, match="10000000 octets"):
        devices.send(bytes(10_000_000))


def test_two_answers_have_two_nonces(devices: Fleet) -> None:
    device = Device.fresh()
    sent = message(device, make_request(device.key, challenge="wrong-passphrase"), devices.recipient, devices.wish())
    answers = {hashlib.sha256(devices.send(sent)).digest() for _ in range(3)}
    assert len(answers) == 3


SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"
UPN = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x0ea@corp.example")
UNPROVED = "{ enabled: true, unproved: issue }"
CHALLENGES = "{ enabled: true, challenges: true%s }"


def asking(device: Device, name: x509.GeneralName, challenge: str | None) -> bytes:
    names = x509.SubjectAlternativeName([name])
    return make_request(device.key, dns=(), challenge=challenge, extensions=[(names, False)])


def made(devices: Fleet, *sans: str) -> str:
    bound = BoundNames(sans=tuple(map(parse_general_name_text, sans))) if sans else None
    create = devices.world.services.scep.challenges.create
    return create(devices.place.template_id, OPERATOR, bound=bound).reveal().decode()


@pytest.mark.parametrize("uri", [SID, SID.upper(), SID.replace(",", "%2C")])
@pytest.mark.parametrize("scep", [BY_PASSPHRASE % "", UNPROVED, CHALLENGES % ""])
def test_a_sid_that_nobody_vouches_for(
    sqlite_world: World, caplog: pytest.LogCaptureFixture, scep: str, uri: str
) -> None:
    devices, device = fleet(sqlite_world, scep, more=", names: { allow: { uri: ['*'], cn: ['*'] } }"), Device.fresh()
    challenge = {UNPROVED: None, BY_PASSPHRASE % "": PASSPHRASE}[scep] if "challenges" not in scep else made(devices)
    with caplog.at_level(logging.WARNING, "pkiconf.scep.responder"):
        answer = devices.ask(device, asking(device, x509.UniformResourceIdentifier(uri), challenge))
    refused(devices, answer, "2", NOT_PROVED)
    assert "is a SID" in caplog.text


def test_a_sid_of_a_bound_challenge_or_before_a_person(sqlite_world: World) -> None:
    devices, device = fleet(sqlite_world, CHALLENGES % ""), Device.fresh()
    name = x509.UniformResourceIdentifier(SID)
    bound = made(devices, f"uri:{SID}")
    request = make_request(device.key, "", (), bound, extensions=[(x509.SubjectAlternativeName([name]), True)])
    assert devices.ask(device, request).status == "0"
    waiting = fleet(sqlite_world, CHALLENGES % ", approval: true")
    waiting.asked = 10
    assert waiting.ask(device, asking(device, name, made(waiting))).status == "3"


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ("", "2"),
        (", names: { allow: { othername: ['1.2.3'], cn: ['*'] } }", "2"),
        (", names: { allow: { othername: ['1.3.6.1.4.1.311.20.2.3'], cn: ['*'] } }", "0"),
    ],
)
def test_a_user_principal_name_where_the_template_lists_it(sqlite_world: World, names: str, status: str) -> None:
    devices, device = fleet(sqlite_world, more=names), Device.fresh()
    answer = devices.ask(device, asking(device, UPN, PASSPHRASE))
    assert (answer.status, answer.text or "") == (status, NOT_PROVED if status == "2" else "")
