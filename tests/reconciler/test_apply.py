"""Plans carried out on a real database with real keys; openssl and `cryptography` judge what came out."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text as sql

from pkiconf.errors import Conflict, Malformed, NotFound, PkiconfError, Refused
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Overrides, Rejected
from pkiconf.model.revocation import RevocationReason
from pkiconf.reconciler import lease
from pkiconf.reconciler.apply import Status, apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.state import Action
from pkiconf.steps import Step
from pkiconf.store import leases
from pkiconf.store.settings import find_setting
from tests.reconciler.conftest import OPERATOR, Installation, changed

TWO_TIERS = """
settings: { base_url: "http://pki.corp.example" }
authorities:
  - name: corp-root
    subject: { common_name: Corp Root }
    path_length: 1
  - { name: corp-issuing, issuer: corp-root }
templates:
  - { name: vpn, authority: corp-issuing, starter: vpn-client }
"""
ROOT = "authorities: [{ name: root, key: { type: ec, curve: p256 }, default_templates: [] %s }]\n"
ROOT_ONLY = ROOT % ""


def csr(name: str = "web.corp.example") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    san = x509.SubjectAlternativeName([x509.DNSName(name)])
    return builder.add_extension(san, False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def issue(installation: Installation, template: str) -> CertificateID:
    number = installation.services.requests.submit(template, csr(), OPERATOR)
    outcome = installation.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Issued)
    return outcome.id


def snapshot(installation: Installation) -> list[object]:
    """Everything a refused plan must leave alone."""
    tables = ("setting", "authority", "issuer", '"key"', "ca_certificate", "template", "certificate", "audit_event")
    return [sorted(installation.row(table, "*"), key=repr) for table in tables]


@pytest.mark.row("F4")
@pytest.mark.row("F10")
@pytest.mark.row("F42")
@pytest.mark.row("F45")
def test_converges_and_a_second_apply_changes_nothing(installation: Installation) -> None:
    recap = installation.apply(TWO_TIERS)
    assert recap.exit_code == 0
    assert changed(recap) == [
        "settings",
        "authority/corp-root",
        "authority/corp-issuing",
        "template/corp-issuing/vpn",
        "template/corp-issuing/web-server",
    ]
    before = snapshot(installation)
    second = installation.apply(TWO_TIERS)
    assert str(second) == "ok=5 changed=0 failed=0 waiting=0"
    assert snapshot(installation) == before
    rows = [x509.load_der_x509_certificate(der) for (der,) in installation.row("ca_certificate", "der")]
    root, issuing = sorted(rows, key=lambda row: row.subject != row.issuer)
    issuing.verify_directly_issued_by(root)
    assert issue(installation, "corp-issuing/web-server")


def test_omitted_settings_are_fixed_by_the_first_apply(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    assert small_installation.row("setting", "owner") == [("implied",)]
    small_installation.settle('settings: { base_url: "http://pki.example" }\n' + ROOT_ONLY)
    assert small_installation.services.settings.read().base_url == "http://pki.example"


@pytest.mark.row("F34")
def test_rollover_needs_consent(installation: Installation) -> None:
    installation.settle(ROOT_ONLY)
    other = ROOT_ONLY.replace("type: ec, curve: p256", "type: ed25519")
    before = snapshot(installation)
    with pytest.raises(Refused, match="nobody agreed to: rollover authority/root") as refused:
        installation.apply(other)
    assert refused.value.hint == "Agree with --allow rollover"
    with pytest.raises(Refused):
        installation.apply(other, "replace", "retire")
    assert snapshot(installation) == before
    installation.settle(other, "rollover")
    states = installation.row("issuer", "generation, state")
    assert sorted(states) == [(1, "retiring"), (2, "active")]


def test_raised_generation_makes_a_new_key_of_the_same_kind(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    small_installation.settle(ROOT_ONLY.replace("curve: p256", "curve: p256, generation: 2"), "rollover")
    keys = small_installation.row('"key"', "algorithm, spki_sha256", "id IN (SELECT key_id FROM issuer)")
    assert len({digest for _, digest in keys}) == 2
    assert {algorithm for algorithm, _ in keys} == {"ec-p256"}


@pytest.mark.row("F37")
def test_renewal_keeps_the_key(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    small_installation.settle(ROOT % ", validity: 20y")
    assert len(small_installation.row("issuer", "id")) == 1
    ders = small_installation.row("ca_certificate", "der", "preferred IN (0, 1) ORDER BY id")
    first, second = (x509.load_der_x509_certificate(der) for (der,) in ders)
    assert first.public_key() == second.public_key()
    assert second.not_valid_after_utc.year == first.not_valid_after_utc.year + 10


@pytest.mark.row("F33")
def test_replacement_has_another_subject(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    small_installation.settle(ROOT % ", subject: { common_name: Other }", "replace")
    subjects = [
        x509.load_der_x509_certificate(der).subject.rfc4514_string()
        for (der,) in small_installation.row("ca_certificate", "der", "preferred = 1 ORDER BY id")
    ]
    assert subjects == ["CN=root", "CN=Other"]


def test_moved_keeps_slugs_and_references(installation: Installation) -> None:
    installation.settle(TWO_TIERS)
    moved = (
        TWO_TIERS.replace("name: corp-root", "name: root\n    moved: corp-root")
        .replace("name: corp-issuing", "name: issuing")
        .replace("issuer: corp-root", "issuer: root, moved: corp-issuing, subject: { common_name: corp-issuing }")
        .replace("authority: corp-issuing", "authority: issuing, moved: vpn")
        .replace("name: vpn", "name: remote")
    )
    recap = installation.settle(moved)
    assert changed(recap) == ["authority/root", "authority/issuing", "template/issuing/remote"]
    assert sorted(installation.row("authority", "name, slug")) == [("issuing", "corp-issuing"), ("root", "corp-root")]
    specs = {name: json.loads(spec) for name, spec in installation.row("authority", "name, spec")}
    assert specs["issuing"]["issuer"] == "root"
    assert specs["root"]["name"] == "root"
    slugs = {address: slug for slug, address in installation.row("slug", "slug, address")}
    assert slugs["authority/root"] == "corp-root"
    assert slugs["template/issuing/remote"] == "vpn"
    assert slugs["template/issuing/web-server"] == "web-server"
    # The renamed issuer still signs what hangs on it.
    installation.settle(moved.replace("issuer: root,", "issuer: root, validity: 4y,"))
    assert issue(installation, "issuing/remote")
    # The old name is free again; its URLs are not.
    again = moved.replace("    moved: corp-root\n", "").replace("moved: corp-issuing, ", "")
    again = again.replace("templates:", "  - { name: corp-root, default_templates: [] }\ntemplates:")
    installation.settle(again)
    ((slug,),) = installation.row("authority", "slug", "name = 'corp-root'")
    assert slug != "corp-root"


def test_template_change_makes_a_version(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    small_installation.settle(TWO_TIERS.replace("vpn-client }", "vpn-client, validity: 30d }"))
    small_installation.settle(TWO_TIERS.replace("vpn-client }", "vpn-client, validity: 365d }"))
    query = "template_id = (SELECT id FROM template WHERE name = 'vpn')"
    assert len(small_installation.row("template_version", "id", query)) == 2, "the first version is taken again"


@pytest.mark.row("F86")
@pytest.mark.row("D18")
@pytest.mark.row("D19")
def test_template_with_active_certificates_does_not_retire(installation: Installation) -> None:
    installation.settle(TWO_TIERS)
    gone = TWO_TIERS.replace("vpn-client }", "vpn-client, state: absent }")
    certificate = issue(installation, "corp-issuing/vpn")
    installation.services.revocations.hold(certificate, OPERATOR)
    plan = installation.plan(gone)
    (change,) = plan.pending
    serial = certificate.serial_number.to_bytes(19).hex().upper()
    assert change.blockers == (serial,)
    assert "1 certificate is active" in change.refused
    before = snapshot(installation)
    recap = installation.apply(gone, "retire")
    assert recap.exit_code == 4
    assert snapshot(installation)[:7] == before[:7]
    with pytest.raises(Refused, match="1 active certificate"):
        installation.services.templates.retire("corp-issuing", "vpn", 1, OPERATOR)
    installation.services.revocations.release(certificate, OPERATOR)
    installation.services.revocations.revoke(certificate, RevocationReason.SUPERSEDED, OPERATOR)
    installation.settle(gone, "retire")
    with pytest.raises(Refused, match="retired"):
        installation.services.requests.submit("corp-issuing/vpn", csr(), OPERATOR)
    installation.settle(TWO_TIERS)
    assert issue(installation, "corp-issuing/vpn")


def test_a_waiting_request_is_not_signed_from_a_retired_template(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    number = small_installation.services.requests.submit("corp-issuing/vpn", csr(), OPERATOR)
    small_installation.settle(TWO_TIERS.replace("vpn-client }", "vpn-client, state: absent }"), "retire")
    outcome = small_installation.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Rejected)
    assert "retired" in outcome.reason


def test_authority_retires_and_comes_back(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    issue(small_installation, "corp-issuing/vpn")
    gone = TWO_TIERS.replace("issuer: corp-root }", "issuer: corp-root, state: absent }").split("templates:")[0]
    plan = small_installation.plan(gone)
    (change,) = plan.pending
    assert change.affects.live_certificates == 1
    assert change.affects.templates == 2
    small_installation.settle(gone, "retire")
    with pytest.raises(PkiconfError):
        issue(small_installation, "corp-issuing/vpn")
    small_installation.settle(TWO_TIERS)
    assert issue(small_installation, "corp-issuing/vpn")


def test_prune_retires_only_its_own(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    lab = "authorities: [{ name: lab, default_templates: [] }]"
    small_installation.settle(lab, workspace="lab")
    assert [a for _, a in small_installation.pending(lab, workspace="lab", prune=True)] == []
    assert [a for _, a in small_installation.pending(ROOT_ONLY, prune=True)] == [
        "authority/root",
        "authority/corp-issuing",
        "authority/corp-root",
    ]


def test_another_workspace_cannot_take_over(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    recap = small_installation.apply(ROOT % ", crl: { validity: 1d }", workspace="lab")
    assert recap.exit_code == 4
    assert small_installation.pending(ROOT_ONLY) == []


@pytest.mark.row("F41")
@pytest.mark.row("F43")
@pytest.mark.row("F47")
def test_external_authority_waits_and_is_installed(installation: Installation, tmp_path: Path) -> None:
    external = "authorities: [{ name: ext, issuer: external }]"
    recap = installation.apply(external)
    assert recap.exit_code == 3
    assert recap.waiting == 1
    assert installation.pending(external) == []
    assert installation.apply(external).exit_code == 3, "still waiting, and nothing new"
    chain, certificate = signed_elsewhere(installation.services.external.csr("ext"))
    (tmp_path / "ext.pem").write_bytes(certificate)
    (tmp_path / "chain.pem").write_bytes(chain)
    files = "certificate: { file: ext.pem, chain: chain.pem } }]"
    installed = external.replace(" }]", ", " + files)
    installation.settle(installed)
    assert installation.row("authority", "lifecycle") == [("active",)]
    assert issue(installation, "ext/web-server")
    (tmp_path / "ext.pem").rename(tmp_path / "moved.pem")
    installation.settle(installed.replace("ext.pem", "moved.pem"))
    installation.settle(external)
    # With a new key the certificate that is still beside the declaration is the old one.
    rolled = installed.replace("ext.pem", "moved.pem").replace("certificate:", "key: { generation: 2 }, certificate:")
    recap = installation.apply(rolled, "rollover")
    assert recap.exit_code == 3, recap.results
    assert installation.pending(rolled) == []
    chain, certificate = signed_elsewhere(installation.services.external.csr("ext"))
    (tmp_path / "moved.pem").write_bytes(certificate)
    (tmp_path / "chain.pem").write_bytes(chain)
    installation.settle(rolled)
    assert sorted(installation.row("issuer", "generation, state")) == [(1, "retiring"), (2, "active")]


@pytest.mark.row("F53")
def test_a_destroyed_authority_is_not_declared_again(installation: Installation, tmp_path: Path) -> None:
    installation.settle(ROOT_ONLY)
    installation.settle(ROOT % ", state: absent", "retire")
    installation.services.destruction.destroy("root", OPERATOR, tmp_path / "archive.tar")
    assert installation.pending(ROOT % ", state: absent") == []
    (change,) = installation.plan(ROOT_ONLY).refused
    assert "never used again" in change.refused
    recap = installation.apply(ROOT_ONLY.replace("default_templates: [] ", ""))
    assert recap.exit_code == 4
    assert {result.address: result.status.value for result in recap.results} == {
        "settings": "ok",
        "authority/root": "refused",
        "template/root/web-server": "skipped",
    }
    assert installation.row("authority", "id") == []


def signed_elsewhere(request: bytes) -> tuple[bytes, bytes]:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Elsewhere")])
    asked = x509.load_der_x509_csr(request)

    def build(subject: x509.Name, public: object, path_length: int) -> x509.Certificate:
        ski = x509.SubjectKeyIdentifier.from_public_key(public)  # type: ignore[arg-type]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2000))
            .add_extension(x509.BasicConstraints(True, path_length), True)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                True,
            )
            .add_extension(ski, False)
            .sign(key, hashes.SHA256())
        )

    root = build(name, key.public_key(), 1)
    child = build(asked.subject, asked.public_key(), 0)
    return root.public_bytes(Encoding.PEM), child.public_bytes(Encoding.PEM)


@pytest.mark.row("F35")
def test_imported_key_is_seen_by_its_fingerprint(small_installation: Installation, tmp_path: Path) -> None:
    def write(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "key.pem").write_bytes(pem)

    imported = "authorities: [{ name: old, default_templates: [], key: { source: import, file: key.pem } }]"
    key = rsa.generate_private_key(65537, 2048)
    write(key)
    small_installation.settle(imported)
    spec = json.loads(small_installation.row("authority", "spec")[0][0])
    assert (spec["key"]["type"], spec["key"]["size"]) == ("rsa", 2048)
    write(key)
    assert small_installation.pending(imported) == []
    write(rsa.generate_private_key(65537, 2048))
    assert small_installation.pending(imported) == [("rollover", "authority/old")]
    small_installation.settle(imported, "rollover")
    raised = imported.replace("source: import", "source: import, generation: 2")
    assert "no other key" in small_installation.plan(raised).refused[0].refused
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(PkiconfError):
        small_installation.plan(imported)


def test_a_saved_plan_that_reads_files_wants_them_beside_it(small_installation: Installation, tmp_path: Path) -> None:
    def write() -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    imported = "authorities: [{ name: a, default_templates: [], key: { source: import, file: key.pem } }]"
    write()
    plan = Plan.from_json(small_installation.plan(imported).to_json())
    recap = apply_plan(small_installation.services, plan, None, (), OPERATOR, patience=0)
    assert recap.exit_code == 4
    assert "it reads key.file" in next(row.message for row in recap.results if row.status is Status.REFUSED)
    write()
    plan = Plan.from_json(small_installation.plan(imported).to_json())
    write()
    recap = small_installation.apply(imported, plan=plan)
    assert "another one than was planned with" in next(row.message for row in recap.results if row.message)
    assert small_installation.row("authority", "id") == []
    assert small_installation.apply(imported).exit_code == 0


def test_secrets_stay_out_of_plans_and_rows(small_installation: Installation, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"correct horse")
    )
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "word").write_text("correct horse")
    imported = (
        "authorities: [{ name: a, default_templates: [], "
        "key: { source: import, file: key.pem, passphrase: !file word } }]"
    )
    plan = small_installation.plan(imported)
    small_installation.settle(imported)
    stored = str(small_installation.row("authority", "spec")) + str(small_installation.row("audit_event", "body"))
    assert "correct horse" not in plan.to_json() + repr(plan) + stored
    assert "hmac:" in stored
    (tmp_path / "key.pem").write_bytes(pem)
    assert small_installation.pending(imported) == []


def test_a_failure_stops_its_dependents_only(small_installation: Installation) -> None:
    """The middle authority is refused by policy when it is made; what does not hang on it is made."""
    text = """
authorities:
  - { name: root, default_templates: [] }
  - { name: bad, issuer: root, validity: 100d, not_before: "2090-01-01T00:00:00Z" }
  - { name: good, issuer: root, default_templates: [] }
  - { name: free, default_templates: [] }
"""
    recap = small_installation.apply(text)
    by_address = {result.address: result.status for result in recap.results}
    assert by_address["authority/bad"] in (Status.FAILED, Status.REFUSED)
    assert by_address["template/bad/web-server"] is Status.SKIPPED
    assert by_address["authority/good"] is Status.CHANGED
    assert by_address["authority/free"] is Status.CHANGED
    assert recap.exit_code in (1, 4)
    mended = text.replace(', validity: 100d, not_before: "2090-01-01T00:00:00Z"', ", validity: 100d, not_before: null")
    small_installation.settle(mended)
    assert issue(small_installation, "bad/web-server")


def test_grave_changes_are_left_out_by_processes(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    edited = TWO_TIERS.replace("path_length: 1", "path_length: 1\n    key: { type: ed25519 }").replace(
        "vpn-client }", "vpn-client, validity: 10d }"
    )
    plan = small_installation.plan(edited)
    recap = apply_plan(small_installation.services, plan, None, (), SYSTEM, leave_grave=True, patience=0)
    assert [(result.address, result.status.value) for result in recap.results if result.status is not Status.OK] == [
        ("authority/corp-root", "refused"),
        ("template/corp-issuing/vpn", "changed"),
    ]
    assert recap.exit_code == 4


def test_the_system_may_not_roll_over_even_if_told_to(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    plan = small_installation.plan(ROOT_ONLY.replace("type: ec, curve: p256", "type: ed25519"))
    recap = apply_plan(small_installation.services, plan, None, [Action.ROLLOVER], SYSTEM, patience=0)
    assert recap.exit_code == 4
    assert len(small_installation.row("issuer", "id")) == 1


def test_a_saved_plan_is_applied_as_it_was_read(installation: Installation) -> None:
    plan = Plan.from_json(installation.plan(TWO_TIERS).to_json())
    recap = apply_plan(installation.services, plan, None, (), OPERATOR, patience=0)
    assert recap.exit_code == 0
    assert installation.pending(TWO_TIERS) == []


def test_a_plan_whose_world_has_moved_is_refused(installation: Installation) -> None:
    installation.settle(TWO_TIERS)
    edited = TWO_TIERS.replace("vpn-client }", "vpn-client, validity: 10d }")
    plan = Plan.from_json(installation.plan(edited).to_json())
    issue(installation, "corp-issuing/vpn")
    installation.settle(TWO_TIERS.replace("path_length: 1", "path_length: 1\n    crl: { validity: 2d }"))
    before = snapshot(installation)
    with pytest.raises(Refused, match="out of date"):
        installation.apply(edited, plan=plan)
    assert snapshot(installation) == before


def test_issuing_does_not_void_a_plan(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    edited = TWO_TIERS.replace("vpn-client }", "vpn-client, validity: 10d }")
    plan = small_installation.plan(edited)
    issue(small_installation, "corp-issuing/vpn")
    assert small_installation.apply(edited, plan=plan).exit_code == 0


def test_limit_applies_what_it_shows(small_installation: Installation) -> None:
    recap = small_installation.apply(TWO_TIERS, limit=["authority/corp-root"])
    assert changed(recap) == ["settings", "authority/corp-root"]
    assert len(small_installation.pending(TWO_TIERS)) == 3
    with pytest.raises(NotFound, match="not declared") as refused:
        small_installation.plan(TWO_TIERS, limit=["authority/corp-rot"])
    assert "authority/corp-root" in refused.value.hint


def test_plan_of_nothing_needs_no_state(small_installation: Installation) -> None:
    plan = load_plan(None, small_installation.load(TWO_TIERS), now=small_installation.services.parts.now())
    assert len(plan.pending) == 5
    assert plan.exit_code == 2


def test_exit_codes_of_plans(small_installation: Installation) -> None:
    assert small_installation.plan(ROOT_ONLY).exit_code == 2
    small_installation.settle(ROOT_ONLY)
    assert small_installation.plan(ROOT_ONLY).exit_code == 0
    small_installation.settle(ROOT_ONLY.replace("curve: p256", "curve: p256, generation: 2"), "rollover")
    assert small_installation.plan(ROOT_ONLY.replace("curve: p256", "curve: p256, generation: 1")).exit_code == 4


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "{", '{"format_version": 2}', '{"format_version": 1, "digest": 3}', "[" * 100_000]
)
def test_what_is_no_saved_plan_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Plan.from_json(text)


def test_saved_plan_with_a_damaged_change_is_refused(small_installation: Installation) -> None:
    saved = json.loads(small_installation.plan(ROOT_ONLY).to_json())
    for damage in (
        {"address": "policy/x"},
        {"address": 3},
        {"action": "destroy"},
        {"after": "text"},
        {"affects": {"x": 1}},
        {"affects": {"templates": "many"}},
        {"generation": "1"},
        {"generation": True},
        {"needs": "settings"},
        {"needs": [1]},
        {"refused": None},
        {"deferred": 0},
        {"marks": {"key": 1}},
        {"y": 1},
    ):
        broken = {**saved, "changes": [{**saved["changes"][0], **damage}]}
        with pytest.raises(Malformed):
            Plan.from_json(json.dumps(broken))


def test_saved_plan_that_lost_its_spec_fails_cleanly(small_installation: Installation) -> None:
    saved = json.loads(small_installation.plan(ROOT_ONLY).to_json())
    for change in saved["changes"]:
        change["after"] = None
    plan = Plan.from_json(json.dumps(saved))
    recap = apply_plan(small_installation.services, plan, None, (), OPERATOR, patience=0)
    assert recap.exit_code == 1
    assert small_installation.row("authority", "id") == []


# --- two applies at once


def take(installation: Installation, holder: str) -> int:
    now = int(installation.services.parts.now().timestamp())
    number = installation.services.parts.db.write(
        Step.APPLY_LEASE, lambda c: leases.acquire(c, lease.NAME, holder, now, now + 60)
    )
    assert number is not None
    return number


def test_a_second_apply_is_refused_while_the_first_runs(installation: Installation) -> None:
    take(installation, "elsewhere:1")
    with pytest.raises(Refused, match="another apply is running") as refused:
        installation.apply(ROOT_ONLY)
    assert "elsewhere:1" in refused.value.detail
    assert installation.row("authority", "id") == []


def test_what_can_only_wait_takes_no_lease_and_leaves_no_record(small_installation: Installation) -> None:
    waiting = "authorities: [{ name: ext, issuer: external, path_length: 1 }, { name: below, issuer: ext }]"
    assert small_installation.apply(waiting).exit_code == 3
    before = snapshot(small_installation)
    take(small_installation, "elsewhere:1")
    recap = small_installation.apply(waiting)
    assert recap.exit_code == 3
    assert str(recap) == "ok=2 changed=0 failed=0 waiting=3"
    assert snapshot(small_installation) == before


def test_an_apply_with_nothing_to_do_needs_no_lease(small_installation: Installation) -> None:
    small_installation.settle(ROOT_ONLY)
    take(small_installation, "elsewhere:1")
    assert small_installation.apply(ROOT_ONLY).exit_code == 0


def test_the_lease_of_a_dead_process_is_taken_over(small_installation: Installation) -> None:
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    take(small_installation, f"{socket.gethostname()}:{int(child.stdout)}")
    small_installation.settle(ROOT_ONLY)


def test_the_lease_of_a_living_process_is_not(small_installation: Installation) -> None:
    take(small_installation, f"{socket.gethostname()}:{os.getppid()}")
    with pytest.raises(Refused):
        small_installation.apply(ROOT_ONLY)


def test_waiting_for_the_lease(small_installation: Installation) -> None:
    number = take(small_installation, "elsewhere:1")
    parts = small_installation.services.parts
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            parts.db.write(Step.APPLY_LEASE, lambda c: leases.release(c, lease.NAME, number))

    with lease.hold(parts, 5.0, sleep) as held:
        assert held.is_held()
    assert len(slept) == 3


def test_a_change_under_a_lease_that_was_taken_over_is_not_written(small_installation: Installation) -> None:
    """Between a look at the lease and the write another apply may have begun: the write itself finds out."""
    services, parts = small_installation.services, small_installation.services.parts
    held = lease.ApplyLease(parts, 7)
    before = services.settings.read()
    wished = {**before.model_dump(mode="json", by_alias=True), "base_url": "http://other.example"}
    row = parts.db.read(lambda c: find_setting(c, "settings"))
    with pytest.raises(Conflict):
        services.settings.write(wished, "yaml:default", row.generation if row else None, OPERATOR, held.guard)
    assert services.settings.read() == before


def test_an_apply_that_lost_its_lease_changes_nothing_more(installation: Installation) -> None:
    """As if it had been stopped for a minute and another had taken over."""
    services = installation.services
    document = installation.load(TWO_TIERS)
    plan = installation.plan(TWO_TIERS)

    def lose(result: object) -> None:
        def steal(c: object) -> None:
            c.execute(sql("UPDATE lease SET holder = 'elsewhere:1', fencing = fencing + 1"))  # type: ignore[attr-defined]

        if not installation.row("authority", "id"):
            services.parts.db.write(Step.APPLY_LEASE, steal)

    with pytest.raises((Refused, Conflict)):
        apply_plan(services, plan, document, (), OPERATOR, patience=0, report=lose)
    assert installation.row("authority", "id") == []


def test_two_applies_at_once_do_not_both_act(installation: Installation) -> None:
    document = installation.load(TWO_TIERS)
    plan = installation.plan(TWO_TIERS)
    outcomes: list[object] = []
    together = threading.Barrier(2)

    def run() -> None:
        together.wait()
        try:
            recap = apply_plan(installation.services, plan, document, (), OPERATOR, patience=30)
            outcomes.append(recap.exit_code)
        except Refused as error:
            outcomes.append(error.detail)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == [
        "0",
        "the plan is out of date: what it was made from has changed; nothing was done",
    ]
    assert len(installation.row("authority", "id")) == 2
    assert len(installation.row("applied", "id")) == 1


def test_a_moved_row_is_a_conflict(small_installation: Installation) -> None:
    """Between the check of the digest and the change itself, somebody else writes the row."""
    small_installation.settle(ROOT_ONLY)
    plan = small_installation.plan(ROOT % ", crl: { validity: 1d }")
    (change,) = plan.pending
    late = dataclasses.replace(change, generation=(change.generation or 0) + 7)
    tampered = dataclasses.replace(plan, changes=tuple(late if row is change else row for row in plan.changes))
    recap = apply_plan(small_installation.services, tampered, None, (), OPERATOR, patience=0)
    assert recap.exit_code == 1
    assert "changed meanwhile" in next(row.message for row in recap.results if row.status is Status.FAILED)


def test_every_act_leaves_its_record(small_installation: Installation) -> None:
    small_installation.settle(TWO_TIERS)
    actions = {json.loads(body)["action"] for (body,) in small_installation.row("audit_event", "body")}
    assert {"settings.update", "authority.create", "template.create", "declaration.apply"} <= actions
    ((recap, workspace),) = small_installation.row("applied", "recap, workspace")
    assert json.loads(recap)["changed"] == 5
    assert workspace == "default"
