"""Authorities, issuers, their certificates and services, and the templates below them."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from pkiconf.errors import Conflict, NotFound
from pkiconf.store import (
    approvals,
    authorities,
    certificates,
    crls,
    inventory,
    issuers,
    keys,
    requests,
    service_certificates,
    templates,
)
from pkiconf.store.database import Connection
from tests.store.conftest import Rows, add_authority, add_issuer, add_template


def add_own(c: Connection, issuer_id: int, der: bytes, preferred: bool = True, signer: int | None = None) -> int:
    return authorities.add_ca_certificate(
        c, issuer_id=issuer_id, signed_by_issuer_id=signer, role="self", der=der, not_before=1, not_after=9,
        created_at=1, preferred=preferred,
    )  # fmt: skip


def test_authority_is_found_by_name_id_and_slug(rows: Rows) -> None:
    row = rows.read(lambda c: authorities.get_authority(c, rows.authority_id))
    assert (row.name, row.slug, row.generation, row.current_issuer_id) == ("corp", "corp", 1, None)
    assert rows.read(lambda c: authorities.find_authority(c, "corp")) == row
    assert rows.read(lambda c: authorities.find_authority_by_slug(c, "corp")) == row
    assert rows.read(authorities.list_authorities) == [row]


@pytest.mark.parametrize("name", ["", "Corp", "other", "corp "])
def test_unknown_authority(rows: Rows, name: str) -> None:
    assert rows.read(lambda c: authorities.find_authority(c, name)) is None
    assert rows.read(lambda c: authorities.find_authority_by_slug(c, name)) is None
    with pytest.raises(NotFound):
        rows.read(lambda c: authorities.get_authority(c, 4711))


def test_authority_of_a_taken_name(rows: Rows) -> None:
    with pytest.raises(Conflict, match="'corp' exists already"):
        rows.write(lambda c: add_authority(c, "corp"))
    other = rows.write(lambda c: add_authority(c, "other"))
    with pytest.raises(Conflict, match="'corp' exists already"):
        rows.write(lambda c: authorities.update_authority(c, other, 1, name="corp"))
    assert rows.read(lambda c: authorities.get_authority(c, other)).name == "other"


def test_update_needs_the_generation_that_was_read(rows: Rows) -> None:
    assert rows.write(lambda c: authorities.update_authority(c, rows.authority_id, 1, spec="new")) == 2
    for stale in (0, 1, 3):
        with pytest.raises(Conflict, match="changed meanwhile"):
            rows.write(lambda c, stale=stale: authorities.update_authority(c, rows.authority_id, stale, spec="x"))  # type: ignore[misc]
    with pytest.raises(NotFound):
        rows.write(lambda c: authorities.update_authority(c, 4711, 1, spec="x"))
    row = rows.read(lambda c: authorities.get_authority(c, rows.authority_id))
    assert (row.spec, row.generation) == ("new", 2)


def test_one_of_many_updates_at_once(rows: Rows) -> None:
    outcomes: list[object] = []

    def run(n: int) -> None:
        try:
            outcomes.append(rows.write(lambda c: authorities.update_authority(c, rows.authority_id, 1, spec=str(n))))
        except Conflict:
            outcomes.append("moved")

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, outcomes)) == ["2", *["moved"] * 5]


def test_ids_are_never_used_again(rows: Rows) -> None:
    first = rows.write(lambda c: add_authority(c, "gone"))
    rows.write(lambda c: authorities.delete_authority(c, first))
    assert rows.write(lambda c: add_authority(c, "gone")) > first


def test_deleting_an_authority_takes_all_that_hangs_on_it(rows: Rows) -> None:
    def write(c: Connection) -> tuple[int, int]:
        other = add_authority(c, "other")
        below = add_issuer(c, other)
        add_own(c, rows.issuer_id, b"root")
        add_own(c, below, b"below", signer=rows.issuer_id)
        authorities.put_issuer_hash(c, "sha1", b"n", b"k", rows.issuer_id)
        service_key = keys.add_key(c, spki=b"ocsp", algorithm="ed25519", created_at=1)
        service_certificates.add_service_certificate(
            c, issuer_id=rows.issuer_id, purpose="ocsp", key_id=service_key, from_at=1, until_at=9
        )
        crls.publish(c, crls.CRLRow(rows.issuer_id, crls.FULL, 1, 0, 1, 9, b"crl"))
        new = requests.NewRequest(rows.template_id, b"csr", "CN=a", "[]", 1, "operator:me")
        number = requests.add(c, new)
        approvals.add(c, number, "operator:me", "approve", None, 1)
        return other, service_key

    rows.issued((("dns", "a.example"),))
    other, service_key = rows.write(write)
    own_key = rows.read(lambda c: authorities.get_issuer(c, rows.issuer_id)).key_id
    assert rows.write(lambda c: authorities.delete_authority(c, rows.authority_id)) == sorted([own_key, service_key])
    left = {
        name: rows.read(lambda c, name=name: c.execute(text(f'SELECT count(*) FROM "{name}"')).scalar())  # type: ignore[misc]
        for name in ("authority", "issuer", "ca_certificate", "certificate", "certificate_tbs", "certificate_signature",
                     "certificate_name", "template", "template_version", "request", "approval", "crl", "issuer_hash",
                     "service_certificate", "key")
    }  # fmt: skip
    assert {name: number for name, number in left.items() if number} == {
        "authority": 1, "issuer": 1, "ca_certificate": 1, "key": 3
    }  # fmt: skip
    (kept,) = rows.read(lambda c: authorities.list_issuers(c, other))
    (certificate,) = rows.read(lambda c: authorities.list_ca_certificates(c, kept.id))
    assert certificate.signed_by_issuer_id is None


def test_issuer_is_found_by_what_a_certid_says(rows: Rows) -> None:
    def write(c: Connection) -> None:
        for _ in range(2):  # again changes nothing
            authorities.put_issuer_hash(c, "sha1", b"name", b"key", rows.issuer_id)

    rows.write(write)
    found = rows.read(lambda c: authorities.find_issuer_by_hash(c, "sha1", b"name", b"key"))
    assert found is not None
    assert found.id == rows.issuer_id
    for wrong in [("sha256", b"name", b"key"), ("sha1", b"key", b"name"), ("sha1", b"name", b""), ("", b"", b"")]:
        assert rows.read(lambda c, wrong=wrong: authorities.find_issuer_by_hash(c, *wrong)) is None  # type: ignore[misc]


def test_issuers_of_an_authority(rows: Rows) -> None:
    second = rows.write(lambda c: add_issuer(c, rows.authority_id, 2))
    with pytest.raises(Conflict):
        rows.write(lambda c: authorities.add_issuer(
            c, authority_id=rows.authority_id, key_id=1, subject=b"s", ski=b"x", generation=2, state="next",
            created_at=1,
        ))  # fmt: skip
    listed = rows.read(lambda c: authorities.list_issuers(c, rows.authority_id))
    assert [row.id for row in listed] == [rows.issuer_id, second]
    assert rows.read(lambda c: authorities.find_issuer_by_generation(c, rows.authority_id, 2)) == listed[1]
    assert rows.read(lambda c: authorities.find_issuer_by_generation(c, rows.authority_id, 3)) is None
    assert rows.read(lambda c: authorities.find_issuer_by_ski(c, listed[1].ski)) == listed[1]
    with pytest.raises(NotFound):
        rows.read(lambda c: authorities.get_issuer(c, 4711))


def test_issuer_state_moves_from_what_it_was(rows: Rows) -> None:
    rows.write(lambda c: issuers.set_issuer_state(c, rows.issuer_id, "active", "retiring"))
    with pytest.raises(Conflict, match="not active but retiring"):
        rows.write(lambda c: issuers.set_issuer_state(c, rows.issuer_id, "active", "ended"))
    with pytest.raises(NotFound):
        rows.write(lambda c: issuers.set_issuer_state(c, 4711, "active", "ended"))


def test_one_ca_certificate_is_preferred(rows: Rows) -> None:
    assert rows.read(lambda c: authorities.find_ca_certificate(c, rows.issuer_id)) is None
    first = rows.write(lambda c: add_own(c, rows.issuer_id, b"1"))
    second = rows.write(lambda c: add_own(c, rows.issuer_id, b"2"))
    cross = rows.write(lambda c: add_own(c, rows.issuer_id, b"3", preferred=False))

    def preferred() -> list[int]:
        listed = rows.read(lambda c: authorities.list_ca_certificates(c, rows.issuer_id))
        assert [row.id for row in listed] == [first, second, cross]
        return [row.id for row in listed if row.preferred]

    assert preferred() == [second]
    rows.write(lambda c: authorities.prefer_ca_certificate(c, rows.issuer_id, first))
    assert preferred() == [first]
    found = rows.read(lambda c: authorities.find_ca_certificate(c, rows.issuer_id))
    assert found is not None
    assert found.der == b"1"


def test_service_certificate_serves_in_its_time(rows: Rows) -> None:
    def find(now: int) -> int | None:
        row = rows.read(lambda c: service_certificates.find_service_certificate(c, rows.issuer_id, "ocsp", now))
        return row.id if row else None

    def add(from_at: int, until_at: int, serial: bytes | None) -> int:
        def write(c: Connection) -> int:
            key_id = keys.add_key(c, spki=f"{from_at}".encode(), algorithm="ed25519", created_at=1)
            return service_certificates.add_service_certificate(
                c, issuer_id=rows.issuer_id, purpose="ocsp", key_id=key_id, from_at=from_at, until_at=until_at,
                serial=serial,
            )  # fmt: skip

        return rows.write(write)

    open_one = add(0, 0, None)
    assert find(100) is None
    rows.write(lambda c: service_certificates.complete_service_certificate(c, open_one, b"\x01", 100, 200))
    with pytest.raises(Conflict):
        rows.write(lambda c: service_certificates.complete_service_certificate(c, open_one, b"\x02", 1, 2))
    assert [find(now) for now in (99, 100, 199, 200)] == [None, open_one, open_one, None]
    newer = add(150, 300, b"\x03")
    assert [find(now) for now in (149, 150, 250)] == [open_one, newer, newer]
    rows.write(lambda c: service_certificates.end_service_certificate(c, newer, 160))
    assert find(170) == open_one
    assert rows.read(lambda c: service_certificates.find_service_certificate(c, rows.issuer_id, "tsa", 170)) is None
    assert len(rows.read(lambda c: service_certificates.list_service_certificates(c, rows.issuer_id))) == 2
    rows.write(lambda c: service_certificates.delete_service_certificate(c, newer))
    with pytest.raises(NotFound):
        rows.read(lambda c: service_certificates.get_service_certificate(c, newer))


def test_template_versions_are_kept_and_taken_again(rows: Rows) -> None:
    template = rows.read(lambda c: templates.get_template(c, rows.template_id))
    assert template.current_version_id == rows.template_version_id
    second = rows.write(lambda c: templates.add_template_version(c, template.id, "{2}", "d2", 2))
    assert second != rows.template_version_id
    assert rows.read(lambda c: templates.get_template(c, template.id)).current_version_id == second
    assert (
        rows.write(lambda c: templates.add_template_version(c, template.id, "{}", "d", 3)) == rows.template_version_id
    )
    versions = rows.read(lambda c: templates.list_template_versions(c, template.id))
    assert [(row.digest, row.resolved, row.created_at) for row in versions] == [("d", "{}", 1), ("d2", "{2}", 2)]
    assert rows.read(lambda c: templates.get_template_version(c, second)).resolved == "{2}"
    with pytest.raises(NotFound):
        rows.read(lambda c: templates.get_template_version(c, 4711))


def test_template_is_found_by_reference(rows: Rows) -> None:
    other = rows.write(lambda c: add_authority(c, "other"))
    twin = rows.write(lambda c: add_template(c, other, "web"))

    def found(reference: str) -> list[int]:
        return sorted(row.id for row in rows.read(lambda c: templates.find_by_reference(c, reference)))

    assert found("web") == [rows.template_id, twin]
    assert found("corp/web") == [rows.template_id]
    assert found("other/web") == [twin]
    for nothing in ("", "/", "corp", "corp/", "/web", "corp/web/x", "WEB", "corp/%"):
        assert found(nothing) == []
    assert [row.id for row in rows.read(templates.list_templates)] == [rows.template_id, twin]
    assert [row.id for row in rows.read(lambda c: templates.list_templates(c, other))] == [twin]
    assert rows.read(lambda c: templates.find_template_by_slug(c, other, "web")) is not None
    assert rows.read(lambda c: templates.find_template_by_slug(c, other, "mail")) is None


def test_template_of_a_taken_name_or_a_moved_generation(rows: Rows) -> None:
    with pytest.raises(Conflict):
        rows.write(lambda c: add_template(c, rows.authority_id, "web"))
    assert rows.write(lambda c: templates.update_template(c, rows.template_id, 1, lifecycle="retired")) == 2
    with pytest.raises(Conflict, match="'web' was changed meanwhile"):
        rows.write(lambda c: templates.update_template(c, rows.template_id, 1, lifecycle="active"))
    with pytest.raises(NotFound):
        rows.write(lambda c: templates.update_template(c, 4711, 1, lifecycle="active"))


def test_template_with_certificates_cannot_be_deleted(rows: Rows) -> None:
    rows.issued()
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        rows.write(lambda c: templates.delete_template(c, rows.template_id))
    assert rows.read(lambda c: templates.get_template(c, rows.template_id)).name == "web"
    empty = rows.write(lambda c: add_template(c, rows.authority_id, "empty"))
    rows.write(lambda c: templates.delete_template(c, empty))
    assert rows.read(lambda c: templates.find_template(c, rows.authority_id, "empty")) is None


def test_stamp_changes_with_everything_behind_a_certificate(rows: Rows) -> None:
    def stamp() -> templates.IssuingStamp:
        return rows.read(lambda c: templates.issuing_stamp(c, rows.template_id, rows.issuer_id))

    from pkiconf.store import settings

    changes = [
        lambda c: templates.add_template_version(c, rows.template_id, "{2}", "d2", 2),
        lambda c: templates.update_template(c, rows.template_id, 1, lifecycle="retired"),
        lambda c: authorities.update_authority(c, rows.authority_id, 1, spec="new"),
        lambda c: issuers.set_issuer_state(c, rows.issuer_id, "active", "retiring"),
        lambda c: add_own(c, rows.issuer_id, b"1"),
        lambda c: add_own(c, rows.issuer_id, b"2"),
        lambda c: authorities.prefer_ca_certificate(c, rows.issuer_id, 1),
        lambda c: settings.put_setting(c, "settings", spec="{}", spec_digest="d", owner="o", generation=None),
        lambda c: settings.put_setting(c, "settings", spec="{}", spec_digest="d", owner="o", generation=1),
    ]
    seen = [stamp()]
    assert stamp() == seen[0]
    for change in changes:
        rows.write(change)
        assert stamp() not in seen
        seen.append(stamp())
    before = stamp()
    rows.issued()
    assert stamp() == before
    for wrong in [(4711, rows.issuer_id), (rows.template_id, 4711)]:
        with pytest.raises(NotFound):
            rows.read(lambda c, wrong=wrong: templates.issuing_stamp(c, *wrong))  # type: ignore[misc]


def test_certificates_keep_their_template_version(rows: Rows) -> None:
    serial = rows.issued()
    rows.write(lambda c: templates.add_template_version(c, rows.template_id, "{2}", "d2", 2))
    row = rows.read(lambda c: certificates.find(c, rows.issuer_id, serial))
    assert row is not None
    assert row.template_version_id == rows.template_version_id
    assert rows.read(lambda c: inventory.count(c, inventory.Wish(template_id=rows.template_id))) == 1
