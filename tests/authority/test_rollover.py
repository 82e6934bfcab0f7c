"""New keys, new certificates, new names: what was issued before stays checkable."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.errors import Conflict, NotSigned, PkiconfError, Refused
from pkiconf.model.actor import SYSTEM
from pkiconf.reconciler.state import Action
from pkiconf.signing.local import LocalSigner
from pkiconf.store import inventory, jobs
from pkiconf.store.database import Connection
from pkiconf.worker import Worker
from tests.authority.elsewhere import everything
from tests.authority.following import GOOD, REVOKED, aki, answer, crl, current, issuers, loaded, revoke, ski
from tests.tools import accepted, run_tool
from tests.world import NOW, OPERATOR, World, make_csr

ROLL = (Action.ROLLOVER, Action.REPLACE)
ROOT = "{{ name: root, validity: 20y, key: {{ generation: {0} }}, rollover: {{ cross_certificates: {1} }} }}"


def tiers(generation: int = 1, cross: str = "false", more: str = "") -> str:
    root = ROOT.format(generation, cross)
    sub = f"{{ name: sub, issuer: root, validity: 10y{more} }}"
    return f"authorities: [ {root}, {sub} ]\ntemplates: [ {{ name: web, authority: sub, starter: web-server }} ]"


def rolled(generation: int, more: str = "") -> str:
    key = f"key: {{ generation: {generation} }}"
    return f"authorities: [ {{ name: ca, default_templates: [web-server], {key}{more} }} ]"


@pytest.mark.row("F34")
def test_the_old_generation_keeps_its_crl_and_ocsp_until_its_last_certificate_has_ended(world: World) -> None:
    world.apply(rolled(1))
    old = current(world, "ca")
    before, doomed = (world.issued("ca/web-server", make_csr()) for _ in range(2))
    revoke(world, doomed.id)
    world.apply(rolled(2), allow=ROLL)
    new = current(world, "ca")
    assert new.subject == old.subject
    assert new.public_key() != old.public_key()
    assert ski(new) != ski(old)
    first, second = issuers(world, "ca")
    assert (first.state, second.state) == ("retiring", "active")

    after = loaded(world.issued("ca/web-server", make_csr()).der)
    after.verify_directly_issued_by(new)
    assert aki(after) == ski(new)
    assert aki(loaded(before.der)) == ski(old)

    late = loaded(before.der)
    assert answer(world, "ca", late, old).certificate_status is GOOD
    assert answer(world, "ca", loaded(doomed.der), old).certificate_status is REVOKED
    answer(world, "ca", late, old).certificates[0].verify_directly_issued_by(old)
    answer(world, "ca", after, new).certificates[0].verify_directly_issued_by(new)
    revoke(world, before.id)
    assert answer(world, "ca", late, old).certificate_status is REVOKED
    assert {e.serial_number for e in crl(world, first.id)} == {before.id.serial_number, doomed.id.serial_number}
    assert crl(world, first.id).is_signature_valid(old.public_key())  # type: ignore[arg-type]
    assert list(crl(world, second.id)) == []


def test_an_old_generation_ends_after_its_last_certificate(sqlite_world: World) -> None:
    sqlite_world.apply(rolled(1))
    sqlite_world.issued("ca/web-server", make_csr())
    sqlite_world.apply(rolled(2), allow=ROLL)
    worker = Worker(sqlite_world.services)
    worker.run_once()
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["retiring", "active"]
    sqlite_world.pass_time(timedelta(days=80))
    worker.run_once()
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["retiring", "active"]
    sqlite_world.pass_time(timedelta(days=11))
    worker.run_once()
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["ended", "active"]


def test_an_old_generation_tells_of_revocations_until_what_it_revoked_has_ended(world: World) -> None:
    world.apply(rolled(1))
    issued = world.issued("ca/web-server", make_csr())
    revoke(world, issued.id)
    world.apply(rolled(2), allow=ROLL)
    worker = Worker(world.services)
    for days, state in ((0, "retiring"), (80, "retiring"), (11, "ended")):
        world.pass_time(timedelta(days=days))
        worker.run_once()
        assert [row.state for row in issuers(world, "ca")] == [state, "active"]


def test_old_generations_are_looked_at_once_a_minute(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the worker is woken: it looks through their certificates."""
    sqlite_world.apply(rolled(1))
    sqlite_world.issued("ca/web-server", make_csr())
    sqlite_world.apply(rolled(2), allow=ROLL)
    looks: list[int] = []
    has_unended = inventory.has_unended

    def count(c: Connection, issuer_id: int, now: int) -> bool:
        looks.append(issuer_id)
        return has_unended(c, issuer_id, now)

    monkeypatch.setattr(inventory, "has_unended", count)
    worker = Worker(sqlite_world.services)
    for _ in range(5):
        worker.run_chores()
    assert len(looks) == 1
    sqlite_world.pass_time(timedelta(minutes=1))
    worker.run_chores()
    assert len(looks) == 2


@pytest.mark.parametrize(("old", "new"), [
    ("{type: ed25519}", "{type: rsa, size: 2048, generation: 2}"),
    ("{type: ec, curve: p256}", "{type: ml-dsa, parameter_set: 44, generation: 2}"),
    ("{type: rsa, size: 2048}", "{type: ec, generation: 2}"),
])  # fmt: skip
def test_an_old_key_of_another_kind_still_signs_its_lists(sqlite_world: World, old: str, new: str) -> None:
    """The declaration then speaks of hashes and paddings that the old key cannot do."""
    more = ", signature_hash: sha512, signature_padding: pss" if "rsa" in new else ""
    text = "authorities: [ {{ name: ca, default_templates: [web-server], key: {0}{1} }} ]"
    sqlite_world.apply(text.format(old, ", signature_padding: pss" if "rsa" in old else ""))
    before = current(sqlite_world, "ca")
    leaf = sqlite_world.issued("ca/web-server", make_csr())
    assert sqlite_world.apply(text.format(new, more), allow=ROLL).exit_code == 0
    revoke(sqlite_world, leaf.id)
    sqlite_world.pass_time(timedelta(days=89))  # the first responder's certificate has been renewed by then
    sqlite_world.services.service_certificates.renew_due()
    first = issuers(sqlite_world, "ca")[0]
    assert crl(sqlite_world, first.id).is_signature_valid(before.public_key())  # type: ignore[arg-type]
    found = answer(sqlite_world, "ca", loaded(leaf.der), before)
    assert found.certificate_status is REVOKED
    found.certificates[0].verify_directly_issued_by(before)


@pytest.mark.row("F34")
def test_cross_certificates_lead_from_either_root(world: World, tmp_path: Path) -> None:
    world.apply(tiers())
    old_root, old_sub = current(world, "root"), current(world, "sub")
    old_leaf = loaded(world.issued("sub/web", make_csr()).der)
    assert world.apply(tiers(2, "true"), allow=ROLL).exit_code == 0
    new_root = current(world, "root")
    crosses = [loaded(row.der) for row in world.services.lookup.get("root").certificates if row.role == "cross"]
    assert len(crosses) == 2
    new_by_old = next(c for c in crosses if c.public_key() == new_root.public_key())
    old_by_new = next(c for c in crosses if c.public_key() == old_root.public_key())
    new_by_old.verify_directly_issued_by(old_root)
    old_by_new.verify_directly_issued_by(new_root)
    assert (ski(new_by_old), aki(new_by_old)) == (ski(new_root), ski(old_root))
    assert (ski(old_by_new), aki(old_by_new)) == (ski(old_root), ski(new_root))
    world.services.authorities.renew("sub", OPERATOR)
    new_sub = current(world, "sub")
    new_sub.verify_directly_issued_by(new_root)
    new_leaf = loaded(world.issued("sub/web", make_csr()).der)

    def verify(anchor: x509.Certificate, leaf: x509.Certificate, *between: x509.Certificate) -> None:
        files = [tmp_path / part for part in ("anchor", "between", "leaf")]
        for file, certificates in zip(files, ((anchor,), between, (leaf,)), strict=True):
            file.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
        accepted(run_tool("openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp()) + 1), "-CAfile",
                          files[0], "-untrusted", files[1], files[2]))  # fmt: skip

    verify(old_root, new_leaf, new_sub, new_by_old)
    verify(new_root, old_leaf, old_sub, old_by_new)
    verify(new_root, new_leaf, new_sub)
    verify(old_root, old_leaf, old_sub)
    # Same key, new certificate: what hung on the old one hangs on the new one as well.
    verify(new_root, old_leaf, new_sub)


def test_cross_certificates_that_cannot_be_are_refused_before_the_rollover(sqlite_world: World) -> None:
    text = ("authorities: [ {{ name: ca, path_length: 1, subject: {{ common_name: {0} }}, key: {{ generation: {1} }},"
            " rollover: {{ cross_certificates: true }} }} ]")  # fmt: skip
    sqlite_world.apply(text.format("One", 1))
    before = everything(sqlite_world)
    recap = sqlite_world.apply(text.format("Two", 2), allow=ROLL)
    assert recap.exit_code != 0
    changed = {table for table, rows in everything(sqlite_world).items() if rows != before[table]}
    assert not changed & {"issuer", "key", "authority", "ca_certificate", "certificate"}


def test_an_old_generation_that_has_ended_is_not_crossed(sqlite_world: World) -> None:
    sqlite_world.apply(rolled(1, ", validity: 1y"))
    sqlite_world.pass_time(timedelta(days=400))
    recap = sqlite_world.apply(rolled(2, ", validity: 1y, rollover: { cross_certificates: true }"), allow=ROLL)
    assert recap.exit_code == 0
    assert [row.role for row in sqlite_world.services.lookup.get("ca").certificates] == ["self", "self"]


@pytest.mark.row("F37")
def test_a_renewal_has_the_same_key_and_another_serial(world: World) -> None:
    world.apply(tiers())
    before = current(world, "sub")
    leaf = world.issued("sub/web", make_csr())
    world.pass_time(timedelta(days=30))
    world.services.authorities.renew("sub", OPERATOR)
    after = current(world, "sub")
    assert after.serial_number != before.serial_number
    assert after.public_key() == before.public_key()
    assert (after.subject.public_bytes(), ski(after)) == (before.subject.public_bytes(), ski(before))
    assert after.not_valid_after_utc > before.not_valid_after_utc
    loaded(leaf.der).verify_directly_issued_by(after)
    assert answer(world, "sub", loaded(leaf.der), after).certificate_status is GOOD
    assert len(issuers(world, "sub")) == 1
    assert world.issued("sub/web", make_csr()).chain == (after.public_bytes(Encoding.DER),)
    world.services.authorities.renew("root", OPERATOR)
    after.verify_directly_issued_by(current(world, "root"))


@pytest.mark.row("F37")
@pytest.mark.row("F38")
def test_a_changed_declaration_renews(world: World) -> None:
    world.apply(tiers())
    before = current(world, "sub")
    assert world.apply(tiers(more=", name_constraints: { permitted: { dns: [corp.example] } }")).exit_code == 0
    after = current(world, "sub")
    assert after.public_key() == before.public_key()
    after.extensions.get_extension_for_class(x509.NameConstraints)


def test_a_renewal_that_cannot_be_is_refused_and_changes_nothing(sqlite_world: World) -> None:
    sqlite_world.apply(tiers())
    sqlite_world.pass_time(timedelta(days=8000))  # the root has ended
    before = everything(sqlite_world)
    with pytest.raises(Refused, match="ends on"):
        sqlite_world.services.authorities.renew("sub", OPERATOR)
    assert everything(sqlite_world) == before


def test_only_what_is_active_is_renewed(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [ { name: ext, issuer: external } ]")
    before = everything(sqlite_world)
    with pytest.raises(Conflict, match="waiting certificate"):
        sqlite_world.services.authorities.renew("ext", OPERATOR)
    assert everything(sqlite_world) == before


@pytest.mark.row("F33")
def test_another_subject_replaces_the_authority_under_its_name(world: World) -> None:
    world.apply(rolled(1))
    old, leaf = current(world, "ca"), world.issued("ca/web-server", make_csr())
    assert world.apply(rolled(1, ", subject: { common_name: New Name }"), allow=ROLL).exit_code == 0
    new = current(world, "ca")
    assert new.subject.rfc4514_string() == "CN=New Name"
    assert new.public_key() != old.public_key()
    assert answer(world, "ca", loaded(leaf.der), old).certificate_status is GOOD


def test_a_replaced_issuer_moves_the_authority_below_another(sqlite_world: World) -> None:
    roots = "{ name: one }, { name: two }"
    sqlite_world.apply(f"authorities: [ {roots}, {{ name: sub, issuer: one }} ]")
    assert sqlite_world.apply(f"authorities: [ {roots}, {{ name: sub, issuer: two }} ]", allow=ROLL).exit_code == 0
    current(sqlite_world, "sub").verify_directly_issued_by(current(sqlite_world, "two"))


def test_nothing_of_it_without_consent(sqlite_world: World) -> None:
    sqlite_world.apply(rolled(1))
    before = current(sqlite_world, "ca")
    with pytest.raises(Refused, match="--allow rollover"):
        sqlite_world.apply(rolled(2))
    assert current(sqlite_world, "ca") == before
    assert len(issuers(sqlite_world, "ca")) == 1


def test_renaming_keeps_urls_and_whatever_hangs_on_the_name(world: World) -> None:
    world.apply(tiers())
    before, leaf = world.services.lookup.get("root").urls, world.issued("sub/web", make_csr())
    moved = tiers().replace("name: root,", "name: trunk, moved: root,").replace("issuer: root", "issuer: trunk")
    moved = moved.replace("key: {", "subject: { common_name: root }, key: {", 1)
    assert world.apply(moved).exit_code == 0
    view = world.services.lookup.get("trunk")
    assert (view.row.slug, view.urls) == ("root", before)
    assert world.services.lookup.get("sub").spec.issuer == "trunk"
    sub = current(world, "sub")
    assert answer(world, "sub", loaded(leaf.der), sub).certificate_status is GOOD
    assert answer(world, "root", sub, current(world, "trunk")).certificate_status is GOOD
    world.services.authorities.renew("sub", OPERATOR)
    current(world, "sub").verify_directly_issued_by(current(world, "trunk"))
    with pytest.raises(PkiconfError):
        world.services.lookup.get("root")


def test_an_interrupted_rollover_is_finished_with_all_that_was_wished(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_world.apply(rolled(1))
    cross = rolled(2, ", rollover: { cross_certificates: true }")
    with monkeypatch.context() as patched:
        patched.setattr("pkiconf.authority.establish.Establisher.establish", lambda *_: False)
        sqlite_world.apply(cross, allow=ROLL)
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["active", "next"]
    with pytest.raises(Conflict, match="not finished"):
        sqlite_world.services.authorities.renew("ca", OPERATOR)
    sqlite_world.services.authorities.finish("ca", SYSTEM)
    assert [row.state for row in issuers(sqlite_world, "ca")] == ["retiring", "active"]
    roles = [row.role for row in sqlite_world.services.lookup.get("ca").certificates]
    assert sorted(roles) == ["cross", "cross", "self", "self"]
    assert sqlite_world.parts.db.read(lambda c: jobs.list_jobs_of_kind(c, "authority.establish")) == []


def test_a_key_that_refused_once_is_asked_for_another_certificate(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: LocalSigner, order: object) -> bytes:
        raise NotSigned("not today")

    sqlite_world.apply(rolled(1))
    before = current(sqlite_world, "ca")
    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", refuses)
        with pytest.raises(PkiconfError, match="not today"):
            sqlite_world.services.authorities.renew("ca", OPERATOR)
    assert current(sqlite_world, "ca") == before
    sqlite_world.services.authorities.finish("ca", OPERATOR)
    assert current(sqlite_world, "ca").serial_number != before.serial_number
