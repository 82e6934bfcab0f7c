"""Requests: looked at, changed, signed many at once, declined for good, and what is left of them to find."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

from pkiconf.der.names import parse_general_name_text
from pkiconf.errors import Conflict, Malformed, NotFound, Refused, Unverified
from pkiconf.issuance.certificates import FORMATS, Filter
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.request import Issued, Overrides, Rejected
from pkiconf.policy.overrides import parse_subject_override
from pkiconf.policy.serials import serial_text
from pkiconf.store import approvals, audit
from tests.tools import accepted, run_tool
from tests.world import NOW, OPERATOR, World, make_csr

PKI = """
settings: { base_url: http://pki.corp.example }
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y }
templates:
  - { name: web-server, authority: issuing, validity: 90d, max_validity: 398d }
  - { name: client, authority: issuing, starter: client }
"""
WEB = "issuing/web-server"


@pytest.fixture
def pki(sqlite_world: World) -> World:
    assert sqlite_world.apply(PKI).exit_code == 0
    return sqlite_world


def submit(pki: World, csr: bytes | None = None, template: str = WEB) -> int:
    return pki.services.requests.submit(template, csr or make_csr(), OPERATOR)


def sign(pki: World, number: int, **changes: object) -> x509.Certificate:
    outcome = pki.services.requests.sign(number, Overrides(**changes), OPERATOR)  # type: ignore[arg-type]
    assert isinstance(outcome, Issued), outcome
    return x509.load_der_x509_certificate(outcome.der)


def state(pki: World, number: int) -> str:
    return pki.services.requests.get(number).row.state


def dns_names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def sans(*texts: str) -> tuple[object, ...]:
    return tuple(parse_general_name_text(text) for text in texts)


@pytest.mark.row("F16")
@pytest.mark.row("F22")
def test_a_submitted_request_waits_whoever_submits_it(pki: World) -> None:
    number = submit(pki)
    (found,) = pki.services.requests.search(("pending",), {})
    assert (found.row.id, found.template, found.row.submitted_by) == (number, WEB, str(OPERATOR))
    assert not pki.services.certificates.search(Filter())


@pytest.mark.row("F22")
def test_service_and_authority_certificates_are_no_requests(pki: World) -> None:
    assert pki.services.certificates.search(Filter(include_system=True))
    assert not pki.services.requests.search((), {})


@pytest.mark.row("F88")
def test_a_request_shows_what_it_asks_for_and_keeps_its_csr(pki: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = make_csr("web.corp.example", ("web.corp.example", "www.corp.example"), key)
    number = submit(pki, csr)
    found = pki.services.requests.get(number)
    assert found.row.subject == "CN=web.corp.example"
    assert found.names == ("dns:web.corp.example", "dns:www.corp.example")
    assert str(found.csr.key) == "ec-p256"
    assert found.csr.der == x509.load_pem_x509_csr(csr).public_bytes(Encoding.DER)
    spki = sign(pki, number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == found.csr.spki


def test_a_request_that_does_not_exist_is_not_found(pki: World) -> None:
    with pytest.raises(NotFound):
        pki.services.requests.get(7)
    with pytest.raises(NotFound):
        pki.services.requests.sign(7, Overrides(), OPERATOR)
    with pytest.raises(NotFound):
        pki.services.requests.decline(7, "nobody", OPERATOR)


@pytest.mark.row("F23")
@pytest.mark.row("F89")
@pytest.mark.row("F95")
def test_signing_lists_the_certificate_and_ends_the_request(pki: World) -> None:
    number = submit(pki)
    certificate = sign(pki, number)
    assert state(pki, number) == "issued"
    (found,) = pki.services.certificates.search(Filter())
    assert found.id.serial_number == certificate.serial_number
    assert pki.services.requests.get(number).row.serial == found.row.serial
    assert not pki.services.requests.search(("pending",), {})


@pytest.mark.row("F23")
@pytest.mark.row("F89")
def test_what_was_declined_stays_declined(pki: World) -> None:
    number = submit(pki)
    pki.services.requests.decline(number, "nobody knows this machine", OPERATOR)
    row = pki.services.requests.get(number).row
    assert (row.state, row.reason) == ("declined", "nobody knows this machine")
    for again in (
        lambda: pki.services.requests.sign(number, Overrides(), OPERATOR),
        lambda: pki.services.requests.sign(number, Overrides(days=1), OPERATOR),
        lambda: pki.services.requests.decline(number, "once more", OPERATOR),
    ):
        with pytest.raises(Conflict, match="declined"):
            again()
    assert pki.services.requests.get(number).row == row
    assert not pki.services.certificates.search(Filter())


@pytest.mark.row("F89")
def test_what_was_issued_cannot_be_declined(pki: World) -> None:
    number = submit(pki)
    sign(pki, number)
    with pytest.raises(Conflict):
        pki.services.requests.decline(number, "too late", OPERATOR)
    assert state(pki, number) == "issued"


@pytest.mark.row("F89")
def test_who_decided_is_recorded(pki: World) -> None:
    signed, declined = submit(pki), submit(pki)
    sign(pki, signed, days=5)
    pki.services.requests.decline(declined, "no", OPERATOR)
    rows = pki.parts.db.read(lambda c: [*approvals.list_approvals(c, signed), *approvals.list_approvals(c, declined)])
    assert [row.decision for row in rows] == ["approve", "decline"]
    assert {row.actor for row in rows} == {str(OPERATOR)}
    events = pki.parts.db.read(lambda c: audit.list_events(c, limit=1000, action="request.*"))
    assert [event.fields["action"] for event in events] == [
        "request.submit", "request.submit", "request.approve", "request.decline",
    ]  # fmt: skip
    assert events[2].fields["details"] == {"overrides": {"days": 5}}


@pytest.mark.row("F89")
@pytest.mark.parametrize("actor", [Actor("system", "worker", "in-process"), Actor("guest", "anybody", "none")])
def test_nobody_but_an_operator_decides(pki: World, actor: Actor) -> None:
    number = submit(pki)
    with pytest.raises(Refused):
        pki.services.requests.sign(number, Overrides(), actor)
    with pytest.raises(Refused):
        pki.services.requests.decline(number, "no", actor)
    assert state(pki, number) == "pending"
    assert not pki.services.certificates.search(Filter())


@pytest.mark.row("F90")
def test_attributes_are_set_added_and_removed_and_the_csr_is_kept(pki: World) -> None:
    number = submit(pki, make_csr("web.corp.example", ("web.corp.example", "old.corp.example")))
    before = pki.services.requests.get(number).row
    certificate = sign(
        pki,
        number,
        set_subject=(parse_subject_override("subject.O=Example Corp"), parse_subject_override("C=NL")),
        add_sans=sans("dns:www.corp.example", "ip:10.0.0.7"),
        remove_sans=sans("dns:old.corp.example"),
    )
    assert certificate.subject.rfc4514_string() == "CN=web.corp.example,O=Example Corp,C=NL"
    assert dns_names(certificate) == ["web.corp.example", "www.corp.example"]
    after = pki.services.requests.get(number).row
    assert after.csr == before.csr
    assert after.overrides is not None
    assert json.loads(after.overrides)["remove_sans"] == ["dns:old.corp.example"]


@pytest.mark.row("F90")
def test_what_was_never_asked_for_cannot_be_removed(pki: World) -> None:
    number = submit(pki)
    with pytest.raises(Refused, match=r"typo\.corp\.example"):
        pki.services.requests.sign(number, Overrides(remove_sans=sans("dns:typo.corp.example")), OPERATOR)  # type: ignore[arg-type]
    assert state(pki, number) == "pending"


@pytest.mark.row("F90")
def test_an_override_is_judged_by_the_template_too(pki: World) -> None:
    rules = PKI.replace("max_validity: 398d }", "max_validity: 398d, names: { allow: { dns: ['*.corp.example'] } } }")
    assert pki.apply(rules).exit_code == 0
    number = submit(pki)
    outcome = pki.services.requests.sign(number, Overrides(add_sans=sans("dns:www.evil.example")), OPERATOR)  # type: ignore[arg-type]
    assert isinstance(outcome, Rejected)
    assert "www.evil.example" in outcome.reason
    assert state(pki, number) == "pending"


@pytest.mark.row("F91")
def test_days_count_from_now(pki: World) -> None:
    certificate = sign(pki, submit(pki), days=30)
    assert certificate.not_valid_before_utc == NOW
    assert certificate.not_valid_after_utc == NOW + timedelta(days=30, seconds=-1)


@pytest.mark.row("F92")
def test_a_validity_may_begin_later_and_end_at_a_moment(pki: World) -> None:
    start, end = datetime(2030, 3, 1, 8, tzinfo=UTC), datetime(2030, 6, 30, 23, 59, 59, tzinfo=UTC)
    certificate = sign(pki, submit(pki), not_before=start, not_after=end)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (start, end)


@pytest.mark.row("F91")
@pytest.mark.row("F92")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"days": 399}, "max_validity"),
        ({"not_after": datetime(2041, 1, 1, tzinfo=UTC)}, "max_validity"),
        ({"not_before": datetime(2029, 12, 31, tzinfo=UTC)}, "before authority"),
        ({"not_before": datetime(2045, 1, 1, tzinfo=UTC), "days": 1}, "ends on"),
        ({"not_after": datetime(2029, 12, 31, tzinfo=UTC)}, "already have ended"),
    ],
)
def test_an_explicit_validity_that_does_not_fit_is_refused_never_shortened(
    pki: World, changes: dict[str, object], reason: str
) -> None:
    number = submit(pki)
    outcome = pki.services.requests.sign(number, Overrides(**changes), OPERATOR)  # type: ignore[arg-type]
    assert isinstance(outcome, Rejected)
    assert reason in outcome.reason
    assert state(pki, number) == "pending"
    assert not pki.services.certificates.search(Filter())


def test_after_a_refusal_the_request_can_be_signed_otherwise(pki: World) -> None:
    number = submit(pki)
    assert isinstance(pki.services.requests.sign(number, Overrides(days=4000), OPERATOR), Rejected)
    sign(pki, number, days=20)


@pytest.mark.row("F24")
def test_many_are_found_by_filter_and_signed_at_once(pki: World) -> None:
    for number in range(1, 13):
        submit(pki, make_csr(f"web{number}.corp.example", (f"web{number}.corp.example",)))
    submit(pki, make_csr("mail.corp.example", ("mail.corp.example",)))
    submit(pki, make_csr("laptop", ()), "issuing/client")
    found = pki.services.requests.search(("pending",), {"name": "dns:web*", "template": "web-server"})
    numbers = [one.row.id for one in found]
    assert len(numbers) == 12
    outcomes = dict(pki.services.requests.sign_many(numbers, Overrides(days=10), OPERATOR))
    assert list(outcomes) == numbers
    assert all(isinstance(outcome, Issued) for outcome in outcomes.values())
    left = pki.services.requests.search(("pending",), {})
    assert sorted(one.row.subject for one in left) == ["CN=laptop", "CN=mail.corp.example"]


@pytest.mark.row("F24")
@pytest.mark.parametrize(
    ("filters", "subjects"),
    [
        ({"template": "client"}, ["CN=laptop"]),
        ({"template": "issuing/*"}, ["CN=laptop", "CN=web.corp.example"]),
        ({"subject": "CN=web*"}, ["CN=web.corp.example"]),
        ({"name": "web.corp.example"}, ["CN=web.corp.example"]),
        ({"by": "operator*"}, ["CN=laptop", "CN=web.corp.example"]),
        ({"by": "nobody"}, []),
        ({"template": "client", "name": "dns:*"}, []),
    ],
)
def test_filters(pki: World, filters: dict[str, str], subjects: list[str]) -> None:
    submit(pki)
    submit(pki, make_csr("laptop", ()), "issuing/client")
    assert sorted(one.row.subject for one in pki.services.requests.search(("pending",), filters)) == subjects


@pytest.mark.row("F24")
def test_one_that_cannot_be_signed_does_not_stop_the_others(pki: World) -> None:
    good, declined, other = submit(pki), submit(pki), submit(pki)
    pki.services.requests.decline(declined, "no", OPERATOR)
    outcomes = dict(pki.services.requests.sign_many([good, declined, 99, other], Overrides(), OPERATOR))
    assert isinstance(outcomes[good], Issued)
    assert isinstance(outcomes[declined], Conflict)
    assert isinstance(outcomes[99], NotFound)
    assert isinstance(outcomes[other], Issued)


@pytest.mark.parametrize(
    ("csr", "error"),
    [
        (b"", Malformed),
        (b"garbage", Malformed),
        (make_csr()[:200], Malformed),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 100_000 + b"\n-----END CERTIFICATE REQUEST-----\n",
            Malformed,
        ),
    ],
    ids=["nothing", "garbage", "cut off", "huge"],
)
def test_what_is_no_request_leaves_nothing(pki: World, csr: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        pki.services.requests.submit(WEB, csr, OPERATOR)
    assert not pki.services.requests.search((), {})


def test_a_request_without_the_private_key_leaves_nothing(pki: World) -> None:
    der = bytearray(x509.load_pem_x509_csr(make_csr()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises((Unverified, Malformed)):
        pki.services.requests.submit(WEB, bytes(der), OPERATOR)
    assert not pki.services.requests.search((), {})


@pytest.mark.row("F93")
@pytest.mark.parametrize("form", FORMATS)
def test_a_certificate_is_exported_in_every_form_that_openssl_reads(pki: World, tmp_path: Path, form: str) -> None:
    certificate = sign(pki, submit(pki))
    found = pki.services.certificates.get(serial_text(certificate.serial_number))
    file = tmp_path / f"web.{form}"
    file.write_bytes(pki.services.certificates.export(found, form))
    if form == "p7b":
        text = accepted(run_tool("openssl", "pkcs7", "-inform", "DER", "-in", file, "-print_certs", "-noout"))
        assert text.count("subject=") == 2
        assert len(pkcs7.load_der_pkcs7_certificates(file.read_bytes())) == 2
        return
    encoding = "DER" if form == "der" else "PEM"
    said = accepted(run_tool("openssl", "x509", "-inform", encoding, "-in", file, "-noout", "-serial"))
    assert said.strip() == f"serial={certificate.serial_number:X}"
    assert file.read_bytes().count(b"BEGIN CERTIFICATE") == {"pem": 1, "der": 0, "chain": 2}[form]


@pytest.mark.row("F93")
def test_certificates_are_found_by_serial_name_template_and_expiry(pki: World) -> None:
    web = sign(pki, submit(pki, make_csr("web.corp.example", ("web.corp.example",))), days=10)
    sign(pki, submit(pki, make_csr("mail.corp.example", ("mail.corp.example",))), days=80)
    sign(pki, submit(pki, make_csr("laptop", ()), "issuing/client"))
    certificates = pki.services.certificates

    def names(**wish: object) -> list[str]:
        found = certificates.search(Filter(**wish))  # type: ignore[arg-type]
        return sorted(dict(one.names)["cn"] for one in found)

    assert names() == ["laptop", "mail.corp.example", "web.corp.example"]
    assert names(name="web.corp.example") == ["web.corp.example"]
    assert names(name="*.corp.example") == ["mail.corp.example", "web.corp.example"]
    assert names(template="issuing/client") == ["laptop"]
    assert names(authority="issuing", status="good", expires_before=NOW + timedelta(days=11)) == ["web.corp.example"]
    assert names(authority="root") == []
    assert names(limit=1) != names()
    colons = ":".join(f"{octet:02X}" for octet in web.serial_number.to_bytes(19, "big"))
    for text in (f"{web.serial_number:x}", colons, f"decimal:{web.serial_number}"):
        assert certificates.get(text).id.serial_number == web.serial_number


@pytest.mark.row("F93")
def test_service_certificates_are_listed_when_asked_for(pki: World) -> None:
    found = pki.services.certificates.search(Filter(include_system=True, authority="issuing"))
    usages = [
        one.certificate and x509.load_der_x509_certificate(one.der or b"").subject.rfc4514_string() for one in found
    ]
    assert any("OCSP" in str(text) for text in usages)


@pytest.mark.row("F93")
@pytest.mark.parametrize(("serial", "error"), [("zz", Malformed), ("", Malformed), ("0102", NotFound)])
def test_a_serial_that_is_none_finds_nothing(pki: World, serial: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        pki.services.certificates.get(serial)


@pytest.mark.row("F94")
def test_a_hold_can_be_released_and_a_revocation_cannot(pki: World) -> None:
    from pkiconf.model.revocation import RevocationReason

    held, revoked = (pki.services.certificates.get(f"{sign(pki, submit(pki)).serial_number:x}").id for _ in range(2))
    revocations = pki.services.revocations
    revocations.hold(held, OPERATOR)
    assert pki.services.certificates.get(f"{held.serial_number:x}").row.status == CertificateStatus.HELD
    revocations.release(held, OPERATOR)
    assert pki.services.certificates.get(f"{held.serial_number:x}").row.status == CertificateStatus.GOOD
    revocations.revoke(revoked, RevocationReason.KEY_COMPROMISE, OPERATOR, None)
    with pytest.raises(Conflict):
        revocations.release(revoked, OPERATOR)
    row = pki.services.certificates.get(f"{revoked.serial_number:x}").row
    assert (row.status, row.reason) == (CertificateStatus.REVOKED, 1)
