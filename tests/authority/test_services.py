"""Certificates that authorities issue to their own services: made at once, renewed ahead, remade on demand."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from pkiconf.authority.service_certificates import OCSP, ServiceCertificate, ServiceCertificates
from pkiconf.entropy import SystemEntropy
from pkiconf.errors import NotSigned, SigningUnavailable, Unavailable
from pkiconf.issuance.certificates import Filter
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Outcome
from pkiconf.services import make_services
from pkiconf.signing.keyring import Keyring
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.master import FileSource, create_master_key_file, load_master_keys
from pkiconf.store import keys, leases, service_certificates
from pkiconf.store.epochs import get_stamp
from tests.authority.elsewhere import everything
from tests.authority.following import GOOD, answer, current, issuers, loaded, revoke
from tests.garbage import is_freed_after
from tests.world import OPERATOR, World, make_csr

CA = "authorities: [ { name: ca, default_templates: [web-server]%s } ]"


def responder(world: World, leaf: bytes) -> x509.Certificate:
    found = answer(world, "ca", loaded(leaf), current(world, "ca"))
    assert found.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return found.certificates[0]


@pytest.mark.row("F132")
def test_the_responders_certificate_is_there_from_the_beginning(world: World) -> None:
    world.apply(CA % ", subject: { common_name: Corp CA, organization: Corp }")
    (issuer,) = issuers(world, "ca")
    (row,) = world.parts.db.read(lambda c: service_certificates.list_service_certificates(c, issuer.id))
    assert row.serial is not None
    listed = world.services.certificates.search(Filter(authority="ca", include_system=True))
    assert row.serial in [found.row.serial for found in listed]
    leaf = world.issued("ca/web-server", make_csr())
    found = responder(world, leaf.der)
    assert found.serial_number.to_bytes(len(row.serial)) == row.serial
    assert found.subject.rfc4514_string() == "CN=Corp CA OCSP Responder,O=Corp"
    found.extensions.get_extension_for_class(x509.OCSPNoCheck)
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]


@pytest.mark.row("F51")
@pytest.mark.parametrize(("key", "kind", "hash_"), [
    ("{ type: rsa, size: 2048 }", rsa.RSAPublicKey, "sha512"),
    ("{ type: ec, curve: p384 }", ec.EllipticCurvePublicKey, "sha512"),
    ("{ type: ml-dsa, parameter_set: 44 }", mldsa.MLDSA44PublicKey, None),
])  # fmt: skip
def test_changed_settings_hold_for_the_next_one(sqlite_world: World, key: str, kind: type, hash_: str | None) -> None:
    sqlite_world.apply(CA % "")
    leaf = sqlite_world.issued("ca/web-server", make_csr())
    before = responder(sqlite_world, leaf.der)
    wish = f", signature_hash: {hash_}" if hash_ else ""
    services = f", service_certificates: {{ key: {key}, validity: 30d{wish} }}"
    assert sqlite_world.apply(CA % services).exit_code == 0
    assert responder(sqlite_world, leaf.der) == before
    sqlite_world.pass_time(timedelta(days=61))
    assert sqlite_world.services.service_certificates.renew_due() == 1
    after = responder(sqlite_world, leaf.der)
    assert isinstance(after.public_key(), kind)
    assert after.not_valid_after_utc - after.not_valid_before_utc == timedelta(days=30) - timedelta(seconds=1)
    found = answer(sqlite_world, "ca", loaded(leaf.der), current(sqlite_world, "ca"))
    if hash_:
        assert isinstance(found.signature_hash_algorithm, hashes.SHA512)


@pytest.mark.row("F133")
def test_it_is_renewed_at_two_thirds_and_not_before(world: World) -> None:
    world.apply(CA % "")
    leaf = world.issued("ca/web-server", make_csr())
    first = responder(world, leaf.der)
    world.pass_time(timedelta(days=59))
    assert world.services.service_certificates.renew_due() == 0
    world.pass_time(timedelta(days=2))
    assert world.services.service_certificates.renew_due() == 1
    assert world.services.service_certificates.renew_due() == 0
    second = responder(world, leaf.der)
    assert second != first
    assert second.public_key() != first.public_key()


@pytest.mark.row("F133")
def test_another_worker_that_renewed_it_meanwhile_is_not_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between this one's look and its lease the other begins and ends."""
    world.apply(CA % "")
    world.pass_time(timedelta(days=61))
    one, two = (ServiceCertificates(world.parts, world.services.pipeline) for _ in range(2))
    held = leases.held
    renewed: list[int] = []

    def held_after_the_other(*given: Any) -> AbstractContextManager[bool]:
        if not renewed:
            renewed.append(0)
            renewed.append(one.renew_due())
        return held(*given)

    monkeypatch.setattr(leases, "held", held_after_the_other)
    assert two.renew_due() == 0
    assert renewed == [0, 1]
    (issuer,) = issuers(world, "ca")
    assert len(world.parts.db.read(lambda c: service_certificates.list_service_certificates(c, issuer.id))) == 2


@pytest.mark.row("F133")
def test_what_another_worker_is_renewing_is_left_to_it(world: World) -> None:
    world.apply(CA % "")
    world.pass_time(timedelta(days=61))
    (issuer,) = issuers(world, "ca")
    name, now = f"service-certificate/{issuer.id}/{OCSP}", int(world.clock.now().timestamp())
    with leases.held(world.parts.db, name, "elsewhere", now, 60) as free:
        assert free
        assert world.services.service_certificates.renew_due() == 0
    assert world.services.service_certificates.renew_due() == 1


def test_two_that_make_it_at_once_use_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(CA % ", service_certificates: { validity: 10d }")
    world.pass_time(timedelta(days=11))
    one, two = (ServiceCertificates(world.parts, world.services.pipeline) for _ in range(2))
    (issuer,) = issuers(world, "ca")
    issue, others = Pipeline.issue, iter([two])
    made: list[ServiceCertificate] = []

    def issue_after_the_other(self: Pipeline, order: IssuanceOrder) -> Outcome:
        made.extend(other.ensure(issuer.id, OCSP) for other in others)
        return issue(self, order)

    monkeypatch.setattr(Pipeline, "issue", issue_after_the_other)
    assert [one.ensure(issuer.id, OCSP).id] == [found.id for found in made]


@pytest.mark.row("F133")
def test_without_a_worker_it_is_made_when_the_old_one_has_expired(world: World) -> None:
    world.apply(CA % ", service_certificates: { validity: 10d }")
    leaf = world.issued("ca/web-server", make_csr())
    first = responder(world, leaf.der)
    world.pass_time(timedelta(days=9, hours=23))
    assert responder(world, leaf.der) == first
    world.pass_time(timedelta(hours=1))
    second = responder(world, leaf.der)
    assert second != first
    assert second.not_valid_after_utc > world.clock.now()


@pytest.mark.row("F133")
def test_after_a_revocation_by_hand_the_next_answer_has_another(world: World) -> None:
    world.apply(CA % "")
    leaf = world.issued("ca/web-server", make_csr())
    first = responder(world, leaf.der)
    revoke(world, CertificateID(leaf.id.issuer_id, first.serial_number))
    second = responder(world, leaf.der)
    assert second != first
    assert answer(world, "ca", loaded(leaf.der), current(world, "ca")).certificate_status is GOOD
    assert responder(world, leaf.der) == second


@pytest.mark.row("F37")
def test_towards_the_issuers_end_it_lasts_as_long_as_the_issuer_and_is_not_made_again_and_again(
    sqlite_world: World,
) -> None:
    sqlite_world.apply(CA % ", validity: 100d")
    sqlite_world.pass_time(timedelta(days=61))
    services = sqlite_world.services.service_certificates
    assert services.renew_due() == 1
    ca = current(sqlite_world, "ca")
    for days in (20, 10, 8):
        sqlite_world.pass_time(timedelta(days=days))
        assert services.renew_due() == 0
    found = services.ensure(issuers(sqlite_world, "ca")[0].id, OCSP)
    assert found.not_after == ca.not_valid_after_utc


def test_two_that_end_together_do_not_confuse_it(sqlite_world: World) -> None:
    sqlite_world.apply(CA % ", validity: 30d")
    leaf = sqlite_world.issued("ca/web-server", make_csr())
    first = responder(sqlite_world, leaf.der)
    revoke(sqlite_world, CertificateID(leaf.id.issuer_id, first.serial_number))
    second = responder(sqlite_world, leaf.der)
    assert second.not_valid_after_utc == first.not_valid_after_utc
    assert second != first


def test_an_ended_issuers_responder_leaves_nothing_behind_at_each_question(sqlite_world: World) -> None:
    sqlite_world.apply(CA % ", validity: 30d")
    leaf = sqlite_world.issued("ca/web-server", make_csr())
    ca = current(sqlite_world, "ca")
    sqlite_world.pass_time(timedelta(days=31))
    before = everything(sqlite_world)
    for _ in range(3):
        found = answer(sqlite_world, "ca", loaded(leaf.der), ca)
        assert found.response_status is ocsp.OCSPResponseStatus.TRY_LATER
    with pytest.raises(SigningUnavailable, match="ended"):
        sqlite_world.services.service_certificates.ensure(leaf.id.issuer_id, OCSP)
    assert everything(sqlite_world) == before
    assert sqlite_world.services.service_certificates.renew_due() == 0


def test_an_ended_issuers_questions_leave_nothing_in_memory(sqlite_world: World) -> None:
    sqlite_world.apply(CA % ", validity: 30d")
    (issuer,) = issuers(sqlite_world, "ca")
    sqlite_world.pass_time(timedelta(days=31))
    services = sqlite_world.services.service_certificates
    stamp = sqlite_world.parts.db.read(lambda c: get_stamp(c, issuer.id))
    for _ in range(3):
        assert is_freed_after(SigningUnavailable, lambda: services.get(issuer.id, OCSP, stamp))


def test_a_key_that_refuses_leaves_no_service_key_behind(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: LocalSigner, order: object) -> bytes:
        raise NotSigned("not today")

    sqlite_world.apply(CA % "")
    count = len(sqlite_world.parts.db.read(keys.list_keys))
    sqlite_world.pass_time(timedelta(days=61))
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", refuses)
        with pytest.raises(SigningUnavailable, match="not today"):
            sqlite_world.services.service_certificates.renew_due()
    assert len(sqlite_world.parts.db.read(keys.list_keys)) == count
    assert sqlite_world.services.service_certificates.renew_due() == 1


def test_one_that_fails_does_not_keep_the_others_from_theirs(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_world.apply("authorities: [ { name: a }, { name: b }, { name: c } ]")
    sqlite_world.pass_time(timedelta(days=61))
    services = sqlite_world.services.service_certificates
    make = services._make
    broken = issuers(sqlite_world, "a")[0].id

    def sometimes(issuer_id: int, purpose: str) -> object:
        if issuer_id == broken:
            raise SigningUnavailable("broken")
        return make(issuer_id, purpose)

    with monkeypatch.context() as patched:
        patched.setattr(services, "_make", sometimes)
        with pytest.raises(SigningUnavailable, match="broken"):
            services.renew_due()
        assert is_freed_after(SigningUnavailable, services.renew_due)
    assert services.renew_due() == 1, "only the broken one was left"


@pytest.mark.row("F31")
def test_under_a_wrong_master_key_nothing_is_signed_or_changed(sqlite_world: World) -> None:
    sqlite_world.apply(CA % "")
    source = FileSource(sqlite_world.folder / "other.key")
    create_master_key_file(source.path, SystemEntropy())
    parts = replace(sqlite_world.parts, keyring=Keyring(load_master_keys(source), lambda: load_master_keys(source)))
    wrong = World(
        make_services(parts, lambda message: b"", sqlite_world.network, sqlite_world.https),
        sqlite_world.clock,
        sqlite_world.folder,
        sqlite_world.network,
        sqlite_world.timepiece,
        sqlite_world.https,
    )
    leaf = sqlite_world.issued("ca/web-server", make_csr())
    before = everything(sqlite_world)
    with pytest.raises(Unavailable, match="sealed under master key"):
        wrong.services.crls.make(leaf.id.issuer_id)
    after_crl = everything(sqlite_world)
    assert {table for table in before if before[table] != after_crl[table]} <= {"issuer"}, "only a number is used up"
    with pytest.raises(Unavailable, match="sealed under master key"):
        wrong.services.authorities.renew("ca", OPERATOR)
    assert everything(sqlite_world)["certificate"] == before["certificate"]
    assert answer(wrong, "ca", loaded(leaf.der), current(sqlite_world, "ca")).response_status is (
        ocsp.OCSPResponseStatus.TRY_LATER
    )
