"""Tokens, as strangers see them: openssl believes them, asn1crypto takes them apart, the engine verifies signatures."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from pkiconf.authority.purposes import TSA
from pkiconf.errors import NotFound
from pkiconf.model.certificate import CertificateID
from pkiconf.model.timestamps import FailureInfo
from pkiconf.reconciler.state import Action
from pkiconf.services import make_services
from pkiconf.store import service_certificates
from tests.authority.following import current, issuers, revoke
from tests.timestamps.stamping import DATA, declare, granted, query, refused, signed_data, tst_info, verify
from tests.tools import run_tool
from tests.world import World

# Debian's openssl knows them neither in PKCS#7 nor at all.
JUDGED_BY_THE_ENGINE = ("type: ed25519", "type: ed448", "type: ml-dsa, parameter_set: 44", "type: ml-dsa")
JUDGED_BY_OPENSSL = (
    "type: rsa, size: 2048", "type: rsa, size: 4096", "type: ec", "type: ec, curve: p384", "type: ec, curve: p521",
)  # fmt: skip


@pytest.mark.row("F141")
@pytest.mark.parametrize("key", JUDGED_BY_OPENSSL)
def test_openssl_believes_tokens_of_each_key(sqlite_world: World, tmp_path: Path, key: str) -> None:
    declare(sqlite_world, "enabled: true, accuracy: 1s", key)
    request = query(tmp_path)
    response = granted(sqlite_world, request)
    verify(sqlite_world, tmp_path, response)
    verify(sqlite_world, tmp_path, response, "-queryfile", tmp_path / "request.tsq")


@pytest.mark.row("F141")
@pytest.mark.parametrize(("key", "digest"), [("type: rsa, size: 2048", "sha384"), ("type: ec", "sha512")])
def test_a_declared_hash_signs_tokens_too(sqlite_world: World, tmp_path: Path, key: str, digest: str) -> None:
    services = f"service_certificates: {{ key: {{ {key} }}, signature_hash: {digest} }}"
    stamping = f"{{ name: issuing, issuer: root, {services}, timestamp: {{ enabled: true }} }}"
    assert sqlite_world.apply(f"authorities: [ {{ name: root }}, {stamping} ]").exit_code == 0
    response = granted(sqlite_world, query(tmp_path))
    verify(sqlite_world, tmp_path, response)
    (info,) = signed_data(response)["signer_infos"]
    assert info["digest_algorithm"]["algorithm"].native == digest
    if key == "type: ec":  # an RSA signature names its hash in the former field only (RFC 5754 §3.2)
        assert info["signature_algorithm"].hash_algo == digest


@pytest.mark.row("F141")
def test_another_hash_signs_the_next_token_of_a_server_that_runs(world: World, tmp_path: Path) -> None:
    def digest() -> str:
        response, failure = server.timestamps.answer("issuing", request)
        assert failure is None
        verify(world, tmp_path, response)
        (info,) = signed_data(response)["signer_infos"]
        return str(info["digest_algorithm"]["algorithm"].native)

    declare(world)
    request = query(tmp_path)
    server = make_services(world.parts, lambda message: b"", world.network)
    assert digest() == "sha256"
    text = (world.folder / "pki.yaml").read_text()
    changed = text.replace("issuer: root,", "issuer: root, service_certificates: { signature_hash: sha512 },")
    assert world.apply(changed).exit_code == 0
    assert digest() == "sha512"


@pytest.mark.row("F141")
@pytest.mark.parametrize("key", JUDGED_BY_THE_ENGINE)
def test_tokens_of_keys_that_openssl_does_not_know(sqlite_world: World, tmp_path: Path, key: str) -> None:
    declare(sqlite_world, services=key)
    content = signed_data(granted(sqlite_world, query(tmp_path)))
    (info,) = content["signer_infos"]
    signer = next(
        certificate
        for certificate in (x509.load_der_x509_certificate(one.dump()) for one in content["certificates"])
        if certificate.serial_number == info["sid"].chosen["serial_number"].native
    )
    public = signer.public_key()
    fixed = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey
    assert isinstance(public, fixed)
    public.verify(info["signature"].native, info["signed_attrs"].untag().dump())
    encoded = content["encap_content_info"]["content"].contents
    inside = content["encap_content_info"]["content"].parsed.dump()
    digest = hashlib.shake_256(inside).digest(64) if "448" in key else hashlib.sha512(inside).digest()
    attributes = {attribute["type"].native: attribute["values"][0].native for attribute in info["signed_attrs"]}
    assert attributes["message_digest"] == digest
    assert encoded


@pytest.mark.row("F141")
def test_what_a_token_says(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, policy: 1.3.6.1.4.1.99999.7, accuracy: 1500ms")
    sqlite_world.timepiece.passed = 250_999
    response = granted(sqlite_world, request := query(tmp_path))
    asked = tsp.TimeStampReq.load(request, strict=True)
    info = tst_info(response)
    assert info["version"].native == "v1"
    assert info["policy"].native == "1.3.6.1.4.1.99999.7"
    assert info["message_imprint"].dump() == asked["message_imprint"].dump()
    assert info["nonce"].native == asked["nonce"].native
    assert info["gen_time"].contents == b"20300101120000.250999Z"
    assert info["accuracy"].native == {"seconds": 1, "millis": 500, "micros": None}
    assert b"\x01\x01\x00" not in info.dump(), "ordering FALSE is its default and not written"
    assert 0 < info["serial_number"].native < 1 << 159
    content = signed_data(response)
    assert content["version"].native == "v3"
    (signer,) = content["signer_infos"]
    assert signer["version"].native == "v1"
    attributes = {attribute["type"].dotted: attribute["values"] for attribute in signer["signed_attrs"]}
    assert set(attributes) == {
        "1.2.840.113549.1.9.3",
        "1.2.840.113549.1.9.4",
        "1.2.840.113549.1.9.16.2.47",
    }
    (ess,) = attributes["1.2.840.113549.1.9.16.2.47"]
    (named,) = tsp.SigningCertificateV2.load(ess.dump(), strict=True)["certs"]
    der = signer_certificate(sqlite_world).public_bytes(Encoding.DER)
    assert named["cert_hash"].native == hashlib.sha256(der).digest()
    assert named["issuer_serial"]["serial_number"].native == signer["sid"].chosen["serial_number"].native


def signer_certificate(world: World) -> x509.Certificate:
    (issuer,) = issuers(world, "issuing")
    rows = world.parts.db.read(lambda c: service_certificates.list_service_certificates(c, issuer.id))
    (row,) = [row for row in rows if row.purpose == TSA]
    assert row.serial is not None
    issued = world.services.intents.resume(CertificateID(issuer.id, int.from_bytes(row.serial)))
    return x509.load_der_x509_certificate(issued.der)  # type: ignore[union-attr]


@pytest.mark.row("F141")
def test_the_certificate_is_there_with_the_authority_and_for_nothing_else(sqlite_world: World) -> None:
    declare(sqlite_world)
    found = signer_certificate(sqlite_world)
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    key_usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert key_usage.critical
    assert key_usage.value.digital_signature
    assert not key_usage.value.key_encipherment
    assert found.subject.rfc4514_string() == "CN=issuing Timestamping"
    assert found.not_valid_after_utc - found.not_valid_before_utc > timedelta(days=4 * 365)


def test_an_authority_that_does_not_stamp_has_no_such_certificate(sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: false")
    (issuer,) = issuers(sqlite_world, "issuing")
    rows = sqlite_world.parts.db.read(lambda c: service_certificates.list_service_certificates(c, issuer.id))
    assert TSA not in [row.purpose for row in rows]
    with pytest.raises(NotFound):
        sqlite_world.services.timestamps.answer("issuing", b"")


@pytest.mark.row("F141")
def test_it_is_renewed_ahead_of_time_and_old_tokens_hold(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, validity: 90d")
    first = granted(sqlite_world, query(tmp_path))
    sqlite_world.pass_time(timedelta(days=59))
    assert sqlite_world.services.service_certificates.renew_due() == 0
    sqlite_world.pass_time(timedelta(days=2))
    assert sqlite_world.services.service_certificates.renew_due() == 3  # and both responders'
    second = granted(sqlite_world, query(tmp_path))
    serials = [signed_data(one)["signer_infos"][0]["sid"].chosen["serial_number"].native for one in (first, second)]
    assert serials[0] != serials[1]
    for response in (first, second):
        verify(sqlite_world, tmp_path, response)


@pytest.mark.row("F141")
def test_after_a_revocation_of_its_certificate_it_signs_with_another(world: World, tmp_path: Path) -> None:
    declare(world)
    first = signed_data(granted(world, query(tmp_path)))["signer_infos"][0]["sid"].chosen["serial_number"].native
    (issuer,) = issuers(world, "issuing")
    revoke(world, CertificateID(issuer.id, first))
    response = granted(world, query(tmp_path))
    assert signed_data(response)["signer_infos"][0]["sid"].chosen["serial_number"].native != first
    verify(world, tmp_path, response)


@pytest.mark.row("F141")
def test_after_a_rollover_the_new_generation_signs(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    policy = tst_info(granted(sqlite_world, query(tmp_path)))["policy"].native
    text = (sqlite_world.folder / "pki.yaml").read_text().replace("issuer: root", "issuer: root, key: {generation: 2}")
    assert sqlite_world.apply(text, allow=(Action.ROLLOVER,)).exit_code == 0
    response = granted(sqlite_world, query(tmp_path))
    verify(sqlite_world, tmp_path, response)
    assert tst_info(response)["policy"].native == policy, "the authority is the same, and so is its policy"
    signer = signed_data(response)["signer_infos"][0]["sid"].chosen["issuer"].dump()
    assert signer == current(sqlite_world, "issuing").subject.public_bytes()


def test_a_retired_authority_stamps_no_more(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    request = query(tmp_path)
    granted(sqlite_world, request)
    text = (sqlite_world.folder / "pki.yaml").read_text().replace("name: issuing", "name: issuing, state: absent")
    sqlite_world.apply(text, allow=(Action.RETIRE,))
    with pytest.raises(NotFound):
        sqlite_world.services.timestamps.answer("issuing", request)


def test_a_changed_declaration_holds_for_the_next_token(world: World, tmp_path: Path) -> None:
    declare(world, "enabled: true, policy: 1.2.3.4")
    request = query(tmp_path)
    assert tst_info(granted(world, request))["policy"].native == "1.2.3.4"
    declare(world, "enabled: true, policy: 1.2.3.5, accuracy: 20us")
    info = tst_info(granted(world, request))
    assert info["policy"].native == "1.2.3.5"
    assert info["accuracy"].native == {"seconds": None, "millis": None, "micros": 20}
    declare(world, "enabled: false")
    with pytest.raises(NotFound):
        world.services.timestamps.answer("issuing", request)


@pytest.mark.row("F141")
def test_certificates_are_in_a_token_only_when_they_were_asked_for(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, services="type: rsa, size: 2048")
    without = granted(sqlite_world, query(tmp_path, "-sha256"))
    assert "certificates" not in signed_data(without).native or not signed_data(without)["certificates"].native
    signer = tmp_path / "between.pem"
    with_them = granted(sqlite_world, query(tmp_path))
    serials = {one.chosen.serial_number for one in signed_data(with_them)["certificates"]}
    sid = signed_data(with_them)["signer_infos"][0]["sid"].chosen["serial_number"].native
    assert serials == {sid, current(sqlite_world, "issuing").serial_number}, "the signer and what is above, no root"
    verify(sqlite_world, tmp_path, with_them)
    # Without them openssl has to be given the signer's.
    own = next(one.chosen.dump() for one in signed_data(with_them)["certificates"] if one.chosen.serial_number == sid)
    certificate = x509.load_der_x509_certificate(own)
    signer.write_bytes(signer.read_bytes() + certificate.public_bytes(Encoding.PEM))
    (tmp_path / "response.tsr").write_bytes(without)
    judged = run_tool(
        *("openssl", "ts", "-verify", "-in", tmp_path / "response.tsr", "-data", tmp_path / "data"),
        *("-CAfile", tmp_path / "root.pem", "-untrusted", signer),
        *("-attime", str(int(sqlite_world.clock.now().timestamp()))),
    )
    assert b"Verification: OK" in judged.stdout + judged.stderr


@pytest.mark.row("F141")
def test_a_token_for_other_data_is_not_believed(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    response = granted(sqlite_world, query(tmp_path))
    with pytest.raises(AssertionError, match="message imprint mismatch"):
        verify(sqlite_world, tmp_path, response, data=DATA + b"!")


def test_a_client_without_a_nonce_gets_none(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    assert tst_info(granted(sqlite_world, query(tmp_path, "-sha256", "-no_nonce")))["nonce"].native is None


@pytest.mark.row("F141")
def test_a_policy_may_be_chosen_among_those_that_are_served(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, "enabled: true, policy: 1.2.3.4, other_policies: [1.2.3.5, 1.2.3.6]")
    for policy in ("1.2.3.4", "1.2.3.5", "1.2.3.6"):
        response = granted(sqlite_world, query(tmp_path, "-sha256", "-cert", "-tspolicy", policy))
        assert tst_info(response)["policy"].native == policy
        verify(sqlite_world, tmp_path, response)
    failure, text = refused(sqlite_world, query(tmp_path, "-sha256", "-tspolicy", "1.2.3.7"))
    assert failure is FailureInfo.UNACCEPTED_POLICY
    assert "Ask without a policy" in text


@pytest.mark.row("F141")
def test_without_a_declared_policy_each_authority_has_one_of_its_own(sqlite_world: World, tmp_path: Path) -> None:
    sqlite_world.apply(
        "authorities: [ { name: a, timestamp: { enabled: true } }, { name: b, timestamp: { enabled: true } } ]"
    )
    request = query(tmp_path)
    found = {tst_info(granted(sqlite_world, request, slug))["policy"].native for slug in ("a", "b", "a")}
    assert len(found) == 2
    assert all(policy.startswith("2.25.") and int(policy[5:]) < 1 << 128 for policy in found)


@pytest.mark.row("F141")
def test_only_declared_digests_are_accepted(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world)
    for digest in ("sha256", "sha384", "sha512"):
        verify(sqlite_world, tmp_path, granted(sqlite_world, query(tmp_path, f"-{digest}", "-cert")))
    for digest in ("sha1", "sha3-256"):
        failure, text = refused(sqlite_world, query(tmp_path, f"-{digest}", "-cert"))
        assert failure is FailureInfo.BAD_ALG
        assert "sha256, sha384, sha512" in text
    declare(sqlite_world, "enabled: true, digests: [sha1, sha3-256]")
    for digest in ("sha1", "sha3-256"):
        verify(sqlite_world, tmp_path, granted(sqlite_world, query(tmp_path, f"-{digest}", "-cert")))
    assert refused(sqlite_world, query(tmp_path, "-sha256"))[0] is FailureInfo.BAD_ALG


def test_what_is_no_request_is_answered_and_leaves_no_record(world: World) -> None:
    declare(world)
    before = world.parts.db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM timestamp_token").scalar())
    for body in (b"", b"\x30\x00", b"GET / HTTP/1.1", bytes(20_000)):
        assert refused(world, body)[0] is FailureInfo.BAD_DATA_FORMAT
    after = world.parts.db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM timestamp_token").scalar())
    assert before == after == 0


@pytest.mark.parametrize("slug", ["nobody", "root", "a\0b", "ISSUING", ""])
def test_nobody_stamps_under_another_name(world: World, tmp_path: Path, slug: str) -> None:
    declare(world)
    with pytest.raises(NotFound, match="no timestamps here"):
        world.services.timestamps.answer(slug, query(tmp_path))
