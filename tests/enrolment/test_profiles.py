"""Profiles for Apple's devices: judged by openssl and plistlib, fetched over their link, good for one certificate."""

from __future__ import annotations

import plistlib
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.authority.purposes import PROFILE
from pkiconf.errors import Conflict, NotFound, NotSigned, Refused, SigningUnavailable, Unavailable
from pkiconf.model.enrolment import LinkEnded
from pkiconf.model.names import RFC822Name
from pkiconf.model.request import Overrides
from pkiconf.model.scep import NOT_PROVED
from pkiconf.model.secret import Secret
from pkiconf.reconciler.state import Action
from pkiconf.scep.challenges import Challenge, Challenges
from pkiconf.steps import Step
from pkiconf.store.database import Connection
from tests.enrolment.office import Office, token_of
from tests.scep_client import Device as SCEPDevice
from tests.scep_client import Wish, device_key, make_request, message, read_answer
from tests.tools import run_tool
from tests.world import OPERATOR

ADDRESS = "192.0.2.7"
SUBJECT = "CN=Jane's <iPad> & Söhne,OU=a+OU=b,O=Example Corp,C=NL"
NAMES = (
    "email:jane@corp.example", "dns:ipad.corp.example", "dns:tablet.corp.example", "uri:urn:uuid:1",
    "othername:1.3.6.1.4.1.311.20.2.3;UTF8:jane@corp.example",
)  # fmt: skip


def approved(office: Office, *sans: str, subject: str = "CN=Jane's iPad,O=Example Corp") -> str:
    return token_of(office.preapprove(*sans, template="issuing/device", subject=subject, apple=True))


def fetch(office: Office, token: str) -> bytes:
    return office.world.services.enrolment.profiles.fetch(token, ADDRESS).der


def verified(office: Office, der: bytes, folder: Path) -> dict[str, Any]:
    """The profile as openssl gives it, after verifying it under the root alone: what is missing on the way up has to
    lie in it."""
    (folder / "profile").write_bytes(der)
    (folder / "root.pem").write_bytes(x509.load_der_x509_certificate(root_of(office)).public_bytes(Encoding.PEM))
    now = str(int(office.world.clock.now().timestamp()))
    found = run_tool(
        "openssl", "cms", "-verify", "-inform", "der", "-binary", "-in", folder / "profile",
        "-CAfile", folder / "root.pem", "-no-CApath", "-attime", now,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return dict(plistlib.loads(found.stdout, fmt=plistlib.FMT_XML))


def root_of(office: Office) -> bytes:
    ((der,),) = office.rows("SELECT der FROM ca_certificate WHERE role = 'self'")
    return bytes(der)


def payload(profile: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (one for one in profile["PayloadContent"] if one["PayloadType"] == kind)
    return dict(found)


def scep(profile: dict[str, Any]) -> dict[str, Any]:
    return dict(payload(profile, "com.apple.security.scep")["PayloadContent"])


@pytest.mark.row("F127")
def test_every_key_of_the_profile(both: Office, tmp_path: Path) -> None:
    profile = verified(both, fetch(both, approved(both, *NAMES, subject=SUBJECT)), tmp_path)
    assert set(profile) == {
        "PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadDisplayName",
        "PayloadDescription", "PayloadOrganization", "PayloadContent",
    }  # fmt: skip
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    assert profile["PayloadIdentifier"].startswith("example.corp.pki.issuing.device.")
    assert profile["PayloadOrganization"] == "Example Corp"
    kinds = [one["PayloadType"] for one in profile["PayloadContent"]]
    assert kinds == ["com.apple.security.root", "com.apple.security.pkcs1", "com.apple.security.scep"]
    every = [profile, *profile["PayloadContent"]]
    assert all(UUID(one["PayloadUUID"]) and one["PayloadUUID"].isupper() for one in every)
    assert len({one["PayloadUUID"] for one in every}) == len({one["PayloadIdentifier"] for one in every}) == len(every)
    assert all(one["PayloadVersion"] == 1 and one["PayloadDisplayName"] for one in every)
    root = payload(profile, "com.apple.security.root")
    assert root["PayloadContent"] == root_of(both)
    assert root["PayloadCertificateFileName"].endswith(".cer")


@pytest.mark.row("F127")
def test_every_key_of_the_scep_payload(office: Office, tmp_path: Path) -> None:
    profile = verified(office, fetch(office, approved(office, *NAMES, subject=SUBJECT)), tmp_path)
    wanted = scep(profile)
    challenge = wanted.pop("Challenge")
    issuing = x509.load_der_x509_certificate(payload(profile, "com.apple.security.pkcs1")["PayloadContent"])
    assert wanted == {
        "URL": "https://pki.corp.example/scep/issuing/device",
        "Name": "issuing",
        "Subject": [
            [["C", "NL"]], [["O", "Example Corp"]], [["OU", "a"], ["OU", "b"]], [["CN", "Jane's <iPad> & Söhne"]],
        ],
        "SubjectAltName": {
            "rfc822Name": "jane@corp.example",
            "dNSName": ["ipad.corp.example", "tablet.corp.example"],
            "uniformResourceIdentifier": "urn:uuid:1",
            "ntPrincipalName": "jane@corp.example",
        },
        "Keysize": 2048,
        "Key Type": "RSA",
        "Key Usage": 5,
        "CAFingerprint": issuing.fingerprint(hashes.SHA1()),
        "Retries": 10,
        "RetryDelay": 30,
        "KeyIsExtractable": False,
        "AllowAllAppsAccess": False,
    }  # fmt: skip
    assert isinstance(wanted["Keysize"], int)
    assert isinstance(wanted["CAFingerprint"], bytes)
    assert challenge.isascii()
    assert challenge not in office.everything()


def test_other_attributes_are_asked_for_by_their_oid(office: Office, tmp_path: Path) -> None:
    token = approved(office, subject="UID=jane+CN=Jane,serialNumber=C02X,emailAddress=jane@corp.example")
    assert scep(verified(office, fetch(office, token), tmp_path))["Subject"] == [
        [["1.2.840.113549.1.9.1", "jane@corp.example"]], [["2.5.4.5", "C02X"]],
        [["CN", "Jane"], ["0.9.2342.19200300.100.1.1", "jane"]],
    ]  # fmt: skip


def test_two_fetches_differ_in_the_challenge_alone(office: Office, tmp_path: Path) -> None:
    """Safari fetches twice, and mail is scanned before it is read."""
    token = approved(office, "email:jane@corp.example")
    one, other = (verified(office, fetch(office, token), tmp_path) for _ in range(2))
    challenges = {scep(one)["Challenge"], scep(other)["Challenge"]}
    assert len(challenges) == 2
    for profile in (one, other):
        profile["PayloadContent"][-1]["PayloadContent"].pop("Challenge")
    assert one == other


def test_a_later_certificate_takes_the_place_of_the_one_before(office: Office, tmp_path: Path) -> None:
    """For the same names the same identifier, which replaces, and another UUID, which enrols anew."""
    one, other, third = (
        verified(office, fetch(office, approved(office, name)), tmp_path)
        for name in ("dns:a.corp.example", "dns:a.corp.example", "dns:b.corp.example")
    )
    assert one["PayloadIdentifier"] == other["PayloadIdentifier"] != third["PayloadIdentifier"]
    kind = "com.apple.security.scep"
    assert payload(one, kind)["PayloadIdentifier"] == payload(other, kind)["PayloadIdentifier"]
    assert payload(one, kind)["PayloadUUID"] != payload(other, kind)["PayloadUUID"]
    roots = [payload(profile, "com.apple.security.root") for profile in (one, third)]
    assert roots[0]["PayloadUUID"] == roots[1]["PayloadUUID"]


def test_the_signer_is_a_service_of_the_authority(office: Office, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import pkcs7

    der = fetch(office, approved(office))
    bag = pkcs7.load_der_pkcs7_certificates(der)
    (signer,) = (one for one in bag if "Profile Signing" in one.subject.rfc4514_string())
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment
    with pytest.raises(x509.ExtensionNotFound):
        signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    fetch(office, approved(office))
    assert office.rows(f"SELECT count(*) FROM service_certificate WHERE purpose = '{PROFILE}'") == [(1,)]
    office.world.pass_time(timedelta(days=61))
    office.work()
    assert office.rows(f"SELECT count(*) FROM service_certificate WHERE purpose = '{PROFILE}'") == [(2,)]


def test_a_changed_profile_does_not_verify(office: Office, tmp_path: Path) -> None:
    der = fetch(office, approved(office))
    with pytest.raises(AssertionError):
        verified(office, der.replace(b"2048", b"1024"), tmp_path)


@pytest.mark.row("F126")
@pytest.mark.parametrize(
    ("sans", "more", "said"),
    [
        (("ip:192.0.2.1",), {}, r"ip:192\.0\.2\.1 cannot be asked for by an Apple device"),
        (("rid:1.2.3",), {}, "cannot be asked for"),
        (("dirname:CN=x",), {}, "cannot be asked for"),
        (("othername:1.2.3;UTF8:x",), {}, "cannot be asked for"),
        (("dns:a.corp.example",), {"subject": ""}, "asks for a subject"),
        ((), {"template": "issuing/no-scep"}, "takes no challenges over SCEP"),
        (("dns:a.corp.example",), {"template": "issuing/ec-only"}, r"takes none of the keys.*Allow rsa-2048"),
        ((), {"validity": Overrides(days=3)}, "has the validity of its template"),
        (("dns:*.corp.example",), {"template": "issuing/servers"}, "takes no challenges"),
    ],
)
def test_what_no_device_could_ask_for(office: Office, sans: tuple[str, ...], more: dict[str, Any], said: str) -> None:
    wanted = {"template": "issuing/device", "subject": "CN=Jane's iPad", "apple": True, **more}
    with pytest.raises(Refused, match=said):
        office.preapprove(*sans, **wanted)
    assert office.rows("SELECT * FROM request") == []


def test_a_template_for_larger_keys(office: Office, tmp_path: Path) -> None:
    office.change("starter: device\n    validity", "starter: device\n    allowed_keys: [rsa-4096]\n    validity")
    assert scep(verified(office, fetch(office, approved(office)), tmp_path))["Keysize"] == 4096


@pytest.mark.parametrize("path", ["", "A" * 43, "A" * 42, "\0" * 43, "é" * 43])
def test_what_leads_nowhere(both: Office, path: str) -> None:
    approved(both)
    with pytest.raises(NotFound, match="no such link"):
        fetch(both, path)


def test_a_claim_link_is_no_profile(office: Office) -> None:
    with pytest.raises(NotFound, match="no such link"):
        fetch(office, token_of(office.preapprove("email:jane@corp.example")))
    with pytest.raises(Conflict, match="claimed with a CSR"):
        office.world.services.enrolment.profiles.make(1, OPERATOR)


@pytest.mark.row("F19")
def test_a_link_is_good_for_one_hour_from_its_first_fetch(both: Office) -> None:
    token = approved(both)
    both.world.pass_time(timedelta(days=3))
    fetch(both, token)
    both.world.pass_time(timedelta(minutes=59))
    fetch(both, token)
    ends = {row[0] for row in both.rows("SELECT expires_at FROM scep_challenge")}
    assert len(ends) == 1  # the second does not last longer than the first
    both.world.pass_time(timedelta(minutes=1))
    with pytest.raises(LinkEnded, match="used already"):
        fetch(both, token)
    fetched = both.told("request.fetch-profile")
    assert [one["details"] for one in fetched] == [{"from": ADDRESS}] * 2
    assert fetched[0]["actor"] == "link:request-1"


def test_a_challenge_never_outlives_the_link(office: Office) -> None:
    token = approved(office)
    office.world.pass_time(timedelta(days=7) - timedelta(minutes=5))
    profile = office.world.services.enrolment.profiles.fetch(token, ADDRESS)
    assert profile.expires_at == office.world.clock.now() + timedelta(minutes=5)


def test_a_link_is_not_fetched_without_end(office: Office) -> None:
    token = approved(office)
    for _ in range(10):
        fetch(office, token)
    with pytest.raises(LinkEnded, match="fetched too often"):
        fetch(office, token)
    assert office.rows("SELECT count(*) FROM scep_challenge") == [(10,)]


def test_an_expired_link_and_one_that_was_taken_back(office: Office) -> None:
    first, second = approved(office), approved(office)
    office.world.services.requests.decline(2, "lost", OPERATOR)
    with pytest.raises(LinkEnded, match="taken back"):
        fetch(office, second)
    office.world.pass_time(timedelta(days=7))
    with pytest.raises(LinkEnded, match="has expired"):
        fetch(office, first)
    assert office.rows("SELECT count(*) FROM scep_challenge") == [(0,)]


def test_sending_again_ends_the_link_and_the_challenges_before(office: Office) -> None:
    token = approved(office)
    fetch(office, token)
    new = token_of(office.world.services.enrolment.grants.resend(1, OPERATOR))
    now = int(office.world.clock.now().timestamp())
    assert office.rows("SELECT expires_at FROM scep_challenge") == [(now,)]
    with pytest.raises(NotFound):
        fetch(office, token)
    fetch(office, new)


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_profile_is_not_fetched_while_its_link_is_replaced(
    both: Office, monkeypatch: pytest.MonkeyPatch, by_operator: bool
) -> None:
    """Just before the challenge is made: there is none that would outlive the link."""
    token, create = approved(both), Challenges.create

    def resent_before(self: Challenges, *given: Any, **named: Any) -> Secret:
        both.world.services.enrolment.grants.resend(1, OPERATOR)
        return create(self, *given, **named)

    monkeypatch.setattr(Challenges, "create", resent_before)
    profiles = both.world.services.enrolment.profiles
    get = partial(profiles.make, 1, OPERATOR) if by_operator else partial(profiles.fetch, token, ADDRESS)
    with pytest.raises(LinkEnded, match="was replaced"):
        get()
    assert both.rows("SELECT count(*) FROM scep_challenge") == [(0,)]
    assert both.rows("SELECT token_number, fetches FROM enrolment_grant") == [(2, 0)]
    assert both.told("request.fetch-profile") == []


@pytest.mark.parametrize("by_operator", [False, True])
@pytest.mark.parametrize("is_locked", [False, True])
def test_a_profile_is_not_fetched_while_its_request_is_declined(
    both: Office, monkeypatch: pytest.MonkeyPatch, by_operator: bool, is_locked: bool
) -> None:
    """Just before its link is locked: then there is none. Or just after: then its challenge is void."""
    token, create = approved(both), Challenges.create
    decline = threading.Thread(target=both.world.services.requests.decline, args=(1, "lost", OPERATOR))

    def declined_beside(self: Challenges, *given: Any, beside: Callable[[Connection], None]) -> Secret:
        def write(c: Connection) -> None:
            beside(c)
            decline.start()
            decline.join(0.5)  # it has to wait for this write

        if is_locked:
            return create(self, *given, beside=write)
        decline.start()
        decline.join(60)
        return create(self, *given, beside=beside)

    monkeypatch.setattr(Challenges, "create", declined_beside)
    profiles = both.world.services.enrolment.profiles
    get = partial(profiles.make, 1, OPERATOR) if by_operator else partial(profiles.fetch, token, ADDRESS)
    with nullcontext() if is_locked else pytest.raises(LinkEnded, match="taken back"):
        get()
    decline.join(60)
    now = int(both.world.clock.now().timestamp())
    assert both.state(1) == "declined"
    assert both.rows("SELECT expires_at FROM scep_challenge") == [(now,)] * is_locked


@pytest.mark.parametrize("by_operator", [False, True])
def test_where_nobody_signs_no_challenge_is_made(
    both: Office, monkeypatch: pytest.MonkeyPatch, by_operator: bool
) -> None:
    """Nor is it a fetch: the link's hour has not begun."""

    def fail(*_: object) -> None:
        raise SigningUnavailable("no certificate can be made")

    token, profiles = approved(both), both.world.services.enrolment.profiles
    monkeypatch.setattr(type(both.world.services.service_certificates), "ensure", fail)
    get = partial(profiles.make, 1, OPERATOR) if by_operator else partial(profiles.fetch, token, ADDRESS)
    with pytest.raises(SigningUnavailable):
        get()
    assert both.rows("SELECT count(*) FROM scep_challenge") == [(0,)]
    assert both.rows("SELECT fetches FROM enrolment_grant") == [(0,)]


@pytest.mark.parametrize("by_operator", [False, True])
@pytest.mark.parametrize("ends", [NotSigned("the key does not answer"), KeyboardInterrupt()])
def test_a_challenge_whose_profile_was_not_signed_takes_no_room(
    both: Office, monkeypatch: pytest.MonkeyPatch, by_operator: bool, ends: BaseException
) -> None:
    """Those of other profiles of the same request stay good."""
    token, profiles = approved(both), both.world.services.enrolment.profiles
    fetch(both, token)

    def fail(*_: object) -> None:
        raise ends

    get = partial(profiles.make, 1, OPERATOR) if by_operator else partial(profiles.fetch, token, ADDRESS)
    with monkeypatch.context() as patch:
        patch.setattr("pkiconf.enrolment.profiles.verify_signature", fail)
        with pytest.raises(type(ends)):
            get()
    now = int(both.world.clock.now().timestamp())
    assert both.rows(f"SELECT id, expires_at > {now} FROM scep_challenge ORDER BY id") == [(1, True), (2, False)]
    (made, withdrawn) = (both.told("template.scep-challenge")[-1], *both.told("template.scep-challenge-withdraw"))
    assert (withdrawn["actor"], withdrawn["address"]) == (made["actor"], made["address"])
    assert (withdrawn["details"], made["details"]["challenge"]) == ({"challenge": 2}, 2)
    assert both.state(1) == "awaiting_claim"
    fetch(both, token)


def test_what_cannot_be_withdrawn_either_tells_why_there_is_no_profile(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        monkeypatch.setattr(office.world.parts.db, "write", away)
        raise NotSigned("the key does not answer")

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the database is away")

    token = approved(office)
    monkeypatch.setattr("pkiconf.enrolment.profiles.verify_signature", fail)
    with pytest.raises(NotSigned):
        fetch(office, token)


def test_a_template_that_takes_no_challenges_any_more(office: Office) -> None:
    token = approved(office)
    office.change(
        "scep: { enabled: true, challenges: true }\n  - { name: person", "scep: { enabled: false }\n  - { name: person"
    )
    with pytest.raises(Refused, match="takes no challenges"):
        fetch(office, token)
    assert office.rows("SELECT fetches FROM enrolment_grant") == [(0,)]


def test_a_retired_template_hands_out_nothing(office: Office) -> None:
    token = approved(office)
    office.change("- name: device\n", "- name: device\n    state: absent\n", Action.RETIRE)
    with pytest.raises(Refused):
        fetch(office, token)
    assert office.rows("SELECT fetches FROM enrolment_grant") == [(0,)]


@pytest.mark.row("F126")
def test_a_profile_for_the_operator_to_hand_over(office: Office, tmp_path: Path) -> None:
    approved(office, "email:jane@corp.example")
    profile = office.world.services.enrolment.profiles.make(1, OPERATOR)
    assert profile.name == "device.mobileconfig"
    assert profile.expires_at == office.world.clock.now() + timedelta(days=7)
    assert scep(verified(office, profile.der, tmp_path))["Challenge"]
    office.world.services.requests.decline(1, "lost", OPERATOR)
    with pytest.raises(LinkEnded):
        office.world.services.enrolment.profiles.make(1, OPERATOR)


def test_a_request_that_is_not_approved_has_no_profile(office: Office) -> None:
    from tests.enrolment.office import wish

    grants = office.world.services.enrolment.grants
    grants.propose(wish(template="issuing/device", subject="CN=x", apple=True), OPERATOR)
    with pytest.raises(Conflict, match="not approved yet"):
        office.world.services.enrolment.profiles.make(1, OPERATOR)


def challenges_of(office: Office, folder: Path, count: int) -> list[Challenge]:
    """Of so many fetches of one link, as a device would present them."""
    token = approved(office, "email:jane@corp.example")
    found = []
    for _ in range(count):
        presented = scep(verified(office, fetch(office, token), folder))["Challenge"]
        template = office.world.services.requests.get(1).row.template_id
        challenge = office.world.services.scep.challenges.find(template, presented)
        assert challenge is not None
        found.append(challenge)
    return found


def consume(office: Office, challenge: Challenge) -> None:
    office.world.parts.db.write(
        Step.CERTIFICATE_RESERVE,
        lambda c: office.world.services.scep.challenges.consume(c, challenge, f"transaction-{challenge.row.id}"),
    )


def test_a_challenge_is_bound_to_the_approved_names_and_to_the_request(office: Office, tmp_path: Path) -> None:
    (challenge,) = challenges_of(office, tmp_path, 1)
    assert challenge.bound is not None
    assert challenge.bound.sans == (RFC822Name("jane@corp.example"),)
    assert challenge.bound.subject is not None
    assert {attribute.value for attribute in challenge.bound.subject.attributes} == {"Jane's iPad", "Example Corp"}
    assert challenge.row.grant_id == 1


def test_of_all_challenges_of_a_link_one_is_used(both: Office, tmp_path: Path) -> None:
    """At once, on both databases: the request decides, whichever copy of the profile was installed."""
    challenges = challenges_of(both, tmp_path, 4)
    outcomes: list[object] = []
    start = threading.Barrier(len(challenges))

    def run(challenge: Challenge) -> None:
        start.wait(60)
        try:
            consume(both, challenge)
        except Conflict as ex:
            outcomes.append(ex)
        else:
            outcomes.append(None)

    threads = [threading.Thread(target=run, args=(challenge,)) for challenge in challenges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sum(outcome is None for outcome in outcomes) == 1, outcomes
    assert len(outcomes) == len(challenges)
    assert both.state(1) == "approved"
    assert both.rows("SELECT count(*) FROM scep_challenge WHERE consumed_at IS NOT NULL") == [(1,)]


def test_who_installs_the_other_copy_of_a_profile_does_not_get_the_firsts_certificate(both: Office) -> None:
    """Each copy has a challenge of its own, and all of them are good for one certificate, of one key."""
    token = approved(both, "dns:ipad.corp.example", subject="CN=iPad")
    template = both.world.services.requests.get(1).row.template_id
    copies = [
        re.findall(rb"<key>Challenge</key>\s*<string>([0-9A-F]+)</string>", fetch(both, token))[0] for _ in range(2)
    ]
    assert all(both.world.services.scep.challenges.find(template, copy.decode()) for copy in copies)
    place = both.world.services.scep.places.find("issuing", "device")
    recipient = place.presented(both.world.clock.now()).head.der
    answers = []
    for number, copy in enumerate(copies):
        device = SCEPDevice.fresh(number)
        asked = make_request(device.key, "iPad", ("ipad.corp.example",), copy.decode())
        sent = message(device, asked, recipient, Wish(transaction=f"T{number}"))
        answers.append(read_answer(both.world.services.scep.responder.answer(place, sent, ADDRESS), device.key))
    first, second = answers
    assert first.certificate.public_key() == device_key(0).public_key()
    assert (second.status, second.text, second.certificates) == ("2", NOT_PROVED, ())
    assert both.rows("SELECT count(*) FROM scep_challenge WHERE consumed_at IS NOT NULL") == [(1,)]


def test_a_challenge_is_good_for_nothing_after_its_request_was_declined(office: Office, tmp_path: Path) -> None:
    (challenge,) = challenges_of(office, tmp_path, 1)
    office.world.services.requests.decline(1, "lost", OPERATOR)
    with pytest.raises(Conflict):
        consume(office, challenge)
    assert office.state(1) == "declined"
    assert office.rows("SELECT count(*) FROM scep_challenge WHERE consumed_at IS NOT NULL") == [(0,)]
