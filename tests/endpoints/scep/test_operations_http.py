"""SCEP over HTTP (RFC 8894 §4): operations, media types, every way that clients write a query."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from pkiconf.endpoints.app import create_app
from pkiconf.errors import Unavailable
from pkiconf.settings import ProcessSettings
from tests.endpoints.client import Client
from tests.revocation.pki import PKI
from tests.scep.devices import BY_PASSPHRASE, DECLARATION, Fleet, fleet, roll_over
from tests.scep.place import PASSPHRASE, environment
from tests.scep_client import Device, Wish, make_request, message, read_answer
from tests.tools import accepted, run_tool
from tests.wholeness import rows
from tests.world import World

URL = "/scep/issuing/device"
USUAL = [
    "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "AES", "DES3", "SCEPStandard",
]  # fmt: skip


def http(world: World, **settings: Any) -> Client:
    return Client(create_app(world.services, ProcessSettings(**settings)), PKI(world))


@pytest.fixture
def devices(sqlite_world: World) -> Fleet:
    return fleet(sqlite_world)


@pytest.fixture
def client(devices: Fleet) -> Client:
    return http(devices.world)


def a_message(devices: Fleet, transaction: str = "HTTP", challenge: str = PASSPHRASE) -> bytes:
    device = Device.fresh()
    asked = make_request(device.key, challenge=challenge)
    return message(device, asked, devices.recipient, Wish(transaction=transaction))


@pytest.mark.row("F115", "F117")
@pytest.mark.parametrize(
    "query",
    [
        "operation=GetCACaps",
        "operation=GetCACaps&message=default",
        "operation=getcacaps",
        "message=&operation=GetCACaps",
        "operation=GetCACaps&message=corp%20router",
        "Operation=GetCACaps",
    ],
)
def test_capabilities(client: Client, query: str) -> None:
    answer = client.get(f"{URL}?{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert answer.text == "".join(f"{word}\n" for word in USUAL)
    assert "server" not in answer.headers


def test_capabilities_without_legacy(sqlite_world: World) -> None:
    fleet(sqlite_world, BY_PASSPHRASE % ", legacy: false")
    words = http(sqlite_world).get(f"{URL}?operation=GetCACaps").text.split()
    assert words == [word for word in USUAL if word not in ("SHA-1", "DES3")]


@pytest.mark.parametrize("behind", ["", "/", "/pkiclient.exe", "/cgi-bin/pkiclient.exe"])
def test_what_clients_put_behind_a_url(client: Client, behind: str) -> None:
    assert client.get(f"{URL}{behind}?operation=GetCACaps").status == 200
    assert client.get(f"{URL}{behind}?operation=GetCACert").status == 200


@pytest.mark.row("F82")
@pytest.mark.parametrize("path", ["/certsrv/issuing/device/mscep/mscep.dll", "/CertSrv/Issuing/Device/MSCEP/mscep.dll"])
@pytest.mark.parametrize("behind", ["", "/pkiclient.exe"])
def test_where_microsofts_service_is(client: Client, path: str, behind: str) -> None:
    assert client.get(f"{path}{behind}?operation=GetCACaps&message=default").status == 200


def bag(body: bytes) -> list[str]:
    """Subjects in the order that they lie there."""
    found = cms.ContentInfo.load(body, strict=True)["content"]
    assert len(found["signer_infos"]) == 0
    return [choice.chosen.subject.native["common_name"] for choice in found["certificates"]]


@pytest.mark.row("F81", "F117")
def test_certificates_of_a_subordinate(devices: Fleet, client: Client) -> None:
    """The registration authority first: clients that look no further encrypt to it."""
    answer = client.get(f"{URL}?operation=GetCACert&message=x")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-x509-ca-ra-cert")
    assert bag(answer.body) == ["issuing SCEP RA", "issuing", "root"]
    first, *_ = cms.ContentInfo.load(answer.body)["content"]["certificates"]
    ra = x509.load_der_x509_certificate(first.chosen.dump())
    usage = ra.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_encipherment, usage.value.key_cert_sign) == (
        True,
        True,
        False,
    )
    with pytest.raises(x509.ExtensionNotFound):
        ra.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    ra.verify_directly_issued_by(x509.load_der_x509_certificate(devices.place.path[0]))


def test_strangers_read_the_bag(client: Client) -> None:
    body = client.get(f"{URL}?operation=GetCACert").body
    text = accepted(run_tool("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-noout", stdin=body))
    assert [line.partition("CN")[2].strip(" =") for line in text.splitlines() if line.startswith("subject")] == [
        "issuing SCEP RA", "issuing", "root",
    ]  # fmt: skip


@pytest.mark.row("F81")
def test_the_root_is_left_out_where_that_is_declared(sqlite_world: World) -> None:
    fleet(sqlite_world, BY_PASSPHRASE % ", strip_root: true")
    assert bag(http(sqlite_world).get(f"{URL}?operation=GetCACert").body) == ["issuing SCEP RA", "issuing"]


_ROOT = """
authorities:
  - {{ name: root, key: {key}{more} }}
templates:
  - {{ name: device, authority: root, starter: device, scep: {{ enabled: true, static_passphrase: !env PASSPHRASE,
      strip_root: true }} }}
"""
_ANSWERS = ", key_usage: [keyCertSign, cRLSign, digitalSignature, keyEncipherment]"


@pytest.mark.parametrize(
    ("key", "more", "alone"),
    [
        ("{ type: rsa, size: 2048 }", _ANSWERS, True),
        ("{ type: rsa, size: 2048 }", "", False),
        ("{ type: ec, curve: p256 }", "", False),
    ],
)
def test_certificates_of_a_root(sqlite_world: World, key: str, more: str, alone: bool) -> None:
    """One that may encipher answers itself; every other has a registration authority, and is never left out itself."""
    with environment(PASSPHRASE=PASSPHRASE):
        assert sqlite_world.apply(_ROOT.format(key=key, more=more)).exit_code == 0
    answer = http(sqlite_world).get("/scep/root/device?operation=GetCACert")
    if alone:
        assert answer.headers["content-type"] == "application/x-x509-ca-cert"
        assert x509.load_der_x509_certificate(answer.body).subject.rfc4514_string() == "CN=root"
    else:
        assert bag(answer.body) == ["root SCEP RA", "root"]
    place = sqlite_world.services.scep.places.find("root", "device")
    device = Device.fresh()
    sent = message(
        device, make_request(device.key, challenge=PASSPHRASE), place.presented(sqlite_world.clock.now()).head.der
    )
    body = http(sqlite_world).post("/scep/root/device?operation=PKIOperation", sent).body
    assert read_answer(body, device.key).status == "0"


def test_without_a_rollover_there_is_no_next_certificate(client: Client) -> None:
    answer = client.get(f"{URL}?operation=GetNextCACert")
    assert (answer.status, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert "no rollover" in answer.text


def test_during_a_rollover_the_one_before_vouches_for_the_next(devices: Fleet, client: Client, tmp_path: Any) -> None:
    old = devices.place.path[0]
    device = devices.enrolled()
    roll_over(devices.world)
    assert client.get(f"{URL}?operation=GetCACaps").text.split()[-1] == "GetNextCACert"
    answer = client.get(f"{URL}?operation=GetNextCACert")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-x509-next-ca-cert")
    (tmp_path / "old.pem").write_bytes(x509.load_der_x509_certificate(old).public_bytes(Encoding.PEM))
    (tmp_path / "next.der").write_bytes(answer.body)
    accepted(run_tool(
        "openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "next.der", "-CAfile", tmp_path / "old.pem",
        "-partial_chain", "-purpose", "any", "-no_check_time", "-binary", "-out", tmp_path / "inside.der",
    ))  # fmt: skip
    inside = load_der_pkcs7_certificates((tmp_path / "inside.der").read_bytes())
    new = devices.place.path[0]
    assert new in [one.public_bytes(Encoding.DER) for one in inside]
    assert old not in [one.public_bytes(Encoding.DER) for one in inside]
    # Who has not fetched anything yet may still ask the old one.
    assert device.certificate


def test_a_message_by_post(devices: Fleet, client: Client) -> None:
    for query, media_type in (
        ("?operation=PKIOperation", "application/x-pki-message"),
        ("?operation=PKIOperation", ""),
        ("?operation=PKIOperation&message=default", "application/octet-stream"),
        ("?operation=pkioperation", "text/plain"),
        ("", "application/x-pki-message"),
    ):
        answer = client.post(URL + query, a_message(devices), content_type=media_type)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-pki-message")
        assert answer.headers["cache-control"] == "no-store"
        assert read_answer(answer.body, Device.fresh().key).status == "0"


def _lines(text: str, break_: str) -> str:
    return break_.join(text[at : at + 64] for at in range(0, len(text), 64))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "escaped": lambda text: quote(text, safe=""),
    "lower case": lambda text: text.replace("+", "%2b").replace("/", "%2f").replace("=", "%3d"),
    "raw": lambda text: text,
    "only the padding escaped": lambda text: text.replace("=", "%3D"),
    "only plus escaped, in lines": lambda text: _lines(text, "%0A").replace("+", "%2B"),
    "in lines": lambda text: quote(_lines(text, "\n"), safe=""),
    "in lines of Windows": lambda text: quote(_lines(text, "\r\n"), safe=""),
    "escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "plus became a blank": lambda text: text.replace("+", "%20"),
    "the alphabet of URLs": lambda text: text.translate(str.maketrans("+/", "-_")),
    "without padding": lambda text: quote(text.rstrip("="), safe=""),
    "a line end behind": lambda text: quote(text + "\n", safe=""),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_message_by_get(devices: Fleet, client: Client, spelling: str) -> None:
    text = base64.b64encode(a_message(devices)).decode()
    answer = client.get(f"{URL}?operation=PKIOperation&message={SPELLINGS[spelling](text)}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-pki-message")
    assert read_answer(answer.body, Device.fresh().key).status == "0"


def test_a_refusal_is_an_answer_too(devices: Fleet, client: Client) -> None:
    answer = client.post(f"{URL}?operation=PKIOperation", a_message(devices, challenge="wrong-passphrase"))
    assert answer.status == 200
    assert read_answer(answer.body, Device.fresh().key).status == "2"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "names no operation"),
        ("?operation=", 400, "names no operation"),
        ("?operation=GetEverything", 400, "'geteverything' is not known"),
        ("?operation=PKIOperation", 400, "the message is empty"),
        ("?operation=PKIOperation&message=", 400, "the message is empty"),
        ("?operation=PKIOperation&message=%%%", 400, "not base64"),
        ("?operation=PKIOperation&message=MIIB", 400, "the signed message"),
        ("?operation=PKIOperation&message=bm90IGEgbWVzc2FnZQ==", 400, "the signed message"),
    ],
)
def test_what_cannot_be_answered(client: Client, query: str, status: int, words: str) -> None:
    answer = client.get(URL + query)
    assert answer.status == status
    assert words in answer.text


def test_a_post_of_something_else(client: Client) -> None:
    for body in (b"", b"hello", b"\x30\x80", b"\x30\x82\xff\xff"):
        assert client.post(f"{URL}?operation=PKIOperation", body).status == 400
    assert "not done by POST" in client.post(f"{URL}?operation=GetCACert", b"x").text


@pytest.mark.parametrize("size", [128 * 1024 + 1, 10_000_000])
def test_a_message_that_is_too_long(client: Client, size: int) -> None:
    answer = client.post(f"{URL}?operation=PKIOperation", bytes(size))
    assert answer.status == 413
    assert client.request("POST", f"{URL}?operation=PKIOperation", bytes(size), chunked=True).status == 413


@pytest.mark.parametrize("path", ["/scep/issuing/nothing", "/scep/nothing/device", "/scep/issuing/dev%00ice",
                                  "/scep/issuing/_service-ocsp", "/scep/issuing"])  # fmt: skip
def test_urls_that_name_nothing(client: Client, path: str) -> None:
    for operation in ("GetCACaps", "GetCACert", "PKIOperation&message=AAAA"):
        assert client.get(f"{path}?operation={operation}").status in (403, 404)


@pytest.mark.row("F78")
@pytest.mark.parametrize("scep", ["{ enabled: false }", "null"])
def test_where_scep_is_off(world: World, scep: str) -> None:
    fleet(world, scep)
    client = http(world)
    for operation in ("GetCACaps", "GetCACert", "GetNextCACert", "PKIOperation&message=AAAA"):
        answer = client.get(f"{URL}?operation={operation}")
        assert (answer.status, answer.text) == (403, "SCEP is not enabled for this template\n")
    assert client.post(f"{URL}?operation=PKIOperation", b"\x30\x00").status == 403


@pytest.mark.row("F130")
def test_from_elsewhere_nothing_is_answered(sqlite_world: World) -> None:
    devices = fleet(sqlite_world, BY_PASSPHRASE % ", ip_acl: { allow: [10.20.0.0/16, '2001:db8::/48'] }")
    client = http(sqlite_world)
    sent = a_message(devices)
    for peer, allowed in (("10.20.3.4", True), ("2001:db8::7", True), ("::ffff:10.20.3.4", True),
                          ("192.0.2.7", False), ("2001:db9::7", False), ("", False)):  # fmt: skip
        for forged in (
            {},
            {"x_forwarded_for": "10.20.3.4"},
            {"x_real_ip": "10.20.3.4"},
            {"forwarded": "for=10.20.3.4"},
        ):
            for operation in ("GetCACaps", "GetCACert"):
                answer = client.request("GET", f"{URL}?operation={operation}", headers=forged, peer=peer)
                assert answer.status == (200 if allowed else 403), (peer, forged)
            answer = client.request("POST", f"{URL}?operation=PKIOperation", sent, forged, peer=peer)
            assert answer.status == (200 if allowed else 403), (peer, forged)
    assert devices.issued() == 1
    behind = http(sqlite_world, trusted_proxies=("192.0.2.0/24",))
    for said, status in (("10.20.3.4", 200), ("10.20.3.4, 198.51.100.9", 403), ("198.51.100.9", 403)):
        headers = {"x_forwarded_for": said}
        assert behind.request("GET", f"{URL}?operation=GetCACaps", headers=headers).status == status


@pytest.mark.row("F130")
def test_for_strangers_nothing_is_made(sqlite_world: World) -> None:
    """Neither keys nor certificates; and they do not learn what state the rest is in."""
    fleet(sqlite_world, BY_PASSPHRASE % ", ip_acl: { allow: [10.20.0.0/16] }")
    client = http(sqlite_world)
    made = "SELECT count(*) FROM service_certificate WHERE purpose = 'scep_ra'"
    assert rows(sqlite_world.services, made) == [(0,)]
    for query in ("operation=GetCACert", "operation=GetCACaps", "operation=PKIOperation&message=!", "operation=x", ""):
        answer = client.request("GET", f"{URL}?{query}", peer="192.0.2.7")
        assert (answer.status, answer.text) == (403, "SCEP is not offered to your address\n")
    for query in ("operation=GetCACert", "operation=PKIOperation"):
        answer = client.request("POST", f"{URL}?{query}", b"0", peer="192.0.2.7")
        assert (answer.status, answer.text) == (403, "SCEP is not offered to your address\n")
    assert rows(sqlite_world.services, made) == [(0,)]
    assert client.request("GET", f"{URL}?operation=GetCACert", peer="10.20.0.1").status == 200
    assert rows(sqlite_world.services, made) != [(0,)]


@pytest.mark.parametrize("away", [("look", "read", "write"), ("write",)])
def test_when_the_database_is_away_the_client_comes_back(
    devices: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch, away: tuple[str, ...]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the disk of the database is gone", "Look at /srv/secret")

    sent, db = a_message(devices), devices.world.parts.db
    with monkeypatch.context() as patch:
        for name in away:
            patch.setattr(type(db), name, fail)
        answers = [client.post(f"{URL}?operation=PKIOperation", sent)]
        if "look" in away:
            answers += [client.get(f"{URL}?operation={name}") for name in ("GetCACaps", "GetCACert", "GetNextCACert")]
    for answer in answers:
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "disk" not in answer.text + str(answer.headers)
        assert "secret" not in answer.text
    assert (devices.issued(), devices.transactions()) == (0, 0)
    assert client.post(f"{URL}?operation=PKIOperation", sent).status == 200
    assert devices.issued() == 1


def test_a_template_that_was_changed_is_served_as_it_is_now(devices: Fleet, client: Client) -> None:
    assert "SHA-1" in client.get(f"{URL}?operation=GetCACaps").text
    with environment(PASSPHRASE=PASSPHRASE):
        text = DECLARATION.format(
            scep=BY_PASSPHRASE % ", legacy: false", key="{ type: ec, curve: p256 }", more=", validity: 30d"
        )
        assert devices.world.apply(text).exit_code == 0
    assert "SHA-1\n" not in client.get(f"{URL}?operation=GetCACaps").text
    made = devices.enrol()
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 29
