"""Retired, taken back, destroyed: what stops at once, what goes on, and what never comes again."""

from __future__ import annotations

import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pkiconf.errors import Conflict, NotFound, PkiconfError, Refused
from pkiconf.model.actor import SYSTEM
from pkiconf.model.request import Overrides
from pkiconf.reconciler.state import Action
from pkiconf.store import jobs, keys
from pkiconf.store.audit_verify import verify
from pkiconf.worker import Worker
from tests.authority.elsewhere import everything
from tests.authority.following import GOOD, REVOKED, answer, crl, current, issuers, loaded, revoke
from tests.world import OPERATOR, World, make_csr

CA = "authorities: [ { name: ca, default_templates: [web-server] } ]"
GONE = "authorities: [ { name: ca, state: absent } ]"
RETIRE = (Action.RETIRE,)


@pytest.mark.row("F53")
def test_a_retired_authority_issues_nothing_and_answers_for_what_it_issued(world: World) -> None:
    world.apply(CA)
    ca, leaf, doomed = (
        current(world, "ca"),
        world.issued("ca/web-server", make_csr()),
        world.issued("ca/web-server", make_csr()),
    )
    number = world.services.requests.submit("ca/web-server", make_csr(), OPERATOR)
    assert world.apply(GONE, allow=RETIRE).exit_code == 0
    with pytest.raises(Refused, match="retired"):
        world.services.requests.submit("ca/web-server", make_csr(), OPERATOR)
    with pytest.raises(PkiconfError, match="retired"):
        world.services.requests.sign(number, Overrides(), OPERATOR)
    revoke(world, doomed.id)
    assert answer(world, "ca", loaded(leaf.der), ca).certificate_status is GOOD
    assert answer(world, "ca", loaded(doomed.der), ca).certificate_status is REVOKED
    assert {entry.serial_number for entry in crl(world, issuers(world, "ca")[0].id)} == {doomed.id.serial_number}
    world.pass_time(timedelta(days=89))
    Worker(world.services).run_once()
    world.pass_time(timedelta(days=10))
    assert answer(world, "ca", loaded(leaf.der), ca).certificate_status is GOOD


@pytest.mark.row("F53")
def test_declared_again_it_goes_on_with_the_same_key(world: World) -> None:
    world.apply(CA)
    before = current(world, "ca")
    world.apply(GONE, allow=RETIRE)
    assert world.apply(CA).exit_code == 0
    assert world.services.lookup.get("ca").row.lifecycle == "active"
    loaded(world.issued("ca/web-server", make_csr()).der).verify_directly_issued_by(before)


def test_without_consent_nothing_is_retired(sqlite_world: World) -> None:
    sqlite_world.apply(CA)
    with pytest.raises(Refused, match="--allow retire"):
        sqlite_world.apply(GONE)
    assert sqlite_world.services.lookup.get("ca").row.lifecycle == "active"


def test_what_completes_late_does_not_bring_a_retired_authority_back(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollover was interrupted, the authority retired, and then the worker comes."""
    sqlite_world.apply(CA)
    rolled = CA.replace("name: ca", "name: ca, key: { generation: 2 }")
    with monkeypatch.context() as patched:
        patched.setattr("pkiconf.authority.establish.Establisher.establish", lambda *_: False)
        sqlite_world.apply(rolled, allow=(Action.ROLLOVER,))
    sqlite_world.apply(GONE, allow=RETIRE)
    sqlite_world.pass_time(timedelta(hours=1))
    Worker(sqlite_world.services).run_once()
    assert sqlite_world.services.lookup.get("ca").row.lifecycle == "retired"
    sqlite_world.apply(rolled)
    sqlite_world.services.authorities.finish("ca", SYSTEM)
    assert sqlite_world.services.lookup.get("ca").row.lifecycle == "active"
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["retiring", "active"]


def test_an_authority_above_that_is_retired_certifies_nothing(sqlite_world: World) -> None:
    both = "authorities: [ { name: root }, { name: sub, issuer: root } ]"
    sqlite_world.apply(both)
    generation = sqlite_world.services.lookup.get("root").row.generation
    sqlite_world.services.authorities.retire("root", generation, OPERATOR)
    before = everything(sqlite_world)
    with pytest.raises(Conflict, match="retired"):
        sqlite_world.services.authorities.renew("sub", OPERATOR)
    assert everything(sqlite_world) == before


@pytest.mark.row("F53")
def test_destroyed_it_leaves_an_archive_and_a_tombstone_and_nothing_else(world: World) -> None:
    world.apply(CA)
    world.apply(CA.replace("name: ca", "name: ca, key: { generation: 2 }"), allow=(Action.ROLLOVER,))
    ca, leaf = current(world, "ca"), world.issued("ca/web-server", make_csr())
    revoke(world, leaf.id)
    crl(world, leaf.id.issuer_id)
    world.apply(GONE, allow=RETIRE)
    archive = world.services.destruction.destroy("ca", OPERATOR)
    assert archive.stat().st_mode & 0o077 == 0
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert x509.load_pem_x509_certificates(members["generation-2/authority.pem"]) == [ca]
    assert loaded(leaf.der) in x509.load_pem_x509_certificates(members["generation-2/issued.pem"])
    assert leaf.id.serial_number in {e.serial_number for e in x509.load_der_x509_crl(members["generation-2/last.crl"])}
    assert b"authority.retire" in members["audit.jsonl"]
    assert b"PRIVATE KEY" not in archive.read_bytes()

    assert world.parts.db.read(keys.list_keys) == []
    assert world.parts.db.read(lambda c: jobs.list_jobs_of_kind(c, "authority.establish")) == []
    left = {table for table, rows in everything(world).items() if rows}
    assert not left & {
        "authority",
        "issuer",
        "key",
        "ca_certificate",
        "certificate",
        "certificate_tbs",
        "crl",
        "template",
    }
    with pytest.raises(NotFound):
        world.services.lookup.get("ca")
    assert world.apply(CA).exit_code != 0
    assert not everything(world)["authority"]
    with pytest.raises(Conflict, match="never used again"):
        world.authority("ca")
    Worker(world.services).run_once()
    report = verify(world.parts.db, world.parts.audit, lambda message, signature: None, None)
    assert report.findings == ()
    assert report.records > 0, "what happened stays told"


@pytest.mark.row("F53")
@pytest.mark.parametrize("state", ["active", "below", "no place"])
def test_what_may_not_be_destroyed_is_not(sqlite_world: World, state: str, tmp_path: Path) -> None:
    sqlite_world.apply("authorities: [ { name: ca, path_length: 1 }, { name: sub, issuer: ca } ]")
    row = sqlite_world.services.lookup.get("ca").row
    archive = None
    if state != "active":
        sqlite_world.services.authorities.retire("ca", row.generation, OPERATOR)
    if state == "no place":
        sub = sqlite_world.services.lookup.get("sub").row
        sqlite_world.services.authorities.retire("sub", sub.generation, OPERATOR)
        archive = tmp_path / "not" / "there.tar"
    before = everything(sqlite_world)
    with pytest.raises(
        PkiconfError, match={"active": "active", "below": "above sub", "no place": "cannot be written"}[state]
    ):
        sqlite_world.services.destruction.destroy("ca", OPERATOR, archive)
    assert everything(sqlite_world) == before


def test_an_archive_is_never_overwritten(sqlite_world: World, tmp_path: Path) -> None:
    sqlite_world.apply(CA)
    sqlite_world.apply(GONE, allow=RETIRE)
    (tmp_path / "there.tar").write_bytes(b"precious")
    before = everything(sqlite_world)
    with pytest.raises(Conflict, match="exists already"):
        sqlite_world.services.destruction.destroy("ca", OPERATOR, tmp_path / "there.tar")
    assert (tmp_path / "there.tar").read_bytes() == b"precious"
    assert everything(sqlite_world) == before
