"""CRLs, requests, keys, slugs, settings and what was applied."""

from __future__ import annotations

import hashlib
import threading

import pytest

from pkiconf.errors import Conflict, NotFound
from pkiconf.steps import Step
from pkiconf.store import applied, approvals, certificates, crls, keys, requests, settings, slugs
from pkiconf.store.crls import CRLRow
from pkiconf.store.database import Connection, Database
from tests.store.conftest import Rows

STEP = Step.SETTINGS_WRITE


def crl(rows: Rows, number: int, epoch: int = 0) -> CRLRow:
    return CRLRow(rows.issuer_id, crls.FULL, number, epoch, 100 + number, 200 + number, f"crl {number}".encode())


def test_crl_numbers_never_repeat(rows: Rows) -> None:
    numbers: list[int] = []

    def run() -> None:
        numbers.extend(rows.write(lambda c: crls.next_number(c, rows.issuer_id)).number for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(numbers) == list(range(1, 31))


def test_crl_number_is_raised_but_never_lowered(rows: Rows) -> None:
    rows.write(lambda c: crls.raise_number(c, rows.issuer_id, 100))
    rows.write(lambda c: crls.raise_number(c, rows.issuer_id, 50))
    assert rows.write(lambda c: crls.next_number(c, rows.issuer_id)) == (101, 0)
    with pytest.raises(NotFound):
        rows.write(lambda c: crls.next_number(c, 4711))


def test_number_in_a_failed_transaction_was_never_given(rows: Rows) -> None:
    def write(c: Connection) -> None:
        crls.next_number(c, rows.issuer_id)
        raise ValueError

    with pytest.raises(ValueError):
        rows.write(write)
    assert rows.write(lambda c: crls.next_number(c, rows.issuer_id)).number == 1


def test_current_crl_does_not_go_back(rows: Rows) -> None:
    assert rows.read(lambda c: crls.current(c, rows.issuer_id)) is None
    assert rows.read(lambda c: crls.current_number(c, rows.issuer_id)) == 0
    for row in (crl(rows, 1, 0), crl(rows, 3, 2)):
        rows.write(lambda c, row=row: crls.publish(c, row))  # type: ignore[misc]
    for older in (crl(rows, 2, 5), crl(rows, 3, 2), crl(rows, 4, 1), crl(rows, 1, 0)):
        with pytest.raises(Conflict, match="older than the current CRL 3"):
            rows.write(lambda c, older=older: crls.publish(c, older))  # type: ignore[misc]
    assert rows.read(lambda c: crls.current(c, rows.issuer_id)) == crl(rows, 3, 2)
    rows.write(lambda c: crls.publish(c, crl(rows, 4, 2)))
    assert rows.read(lambda c: crls.current_number(c, rows.issuer_id)) == 4


def test_head_tells_whether_a_revocation_is_missing(rows: Rows) -> None:
    serial = rows.issued()
    rows.write(lambda c: crls.publish(c, crl(rows, 1, 0)))
    rows.write(lambda c: certificates.revoke(c, rows.issuer_id, serial, "revoked", 1, 100))
    assert rows.read(lambda c: crls.head(c, rows.issuer_id)) == crls.CRLHead(1, 0, 101, 201, 1)


def test_prune_keeps_the_latest(rows: Rows) -> None:
    for number in (1, 2, 5, 6):
        rows.write(lambda c, number=number: crls.publish(c, crl(rows, number)))  # type: ignore[misc]
    assert rows.write(lambda c: crls.prune(c, rows.issuer_id, keep=2)) == 2
    assert rows.write(lambda c: crls.prune(c, rows.issuer_id, keep=2)) == 0
    assert rows.read(lambda c: crls.current_number(c, rows.issuer_id)) == 6


def test_two_publish_at_once_and_the_newer_stays(rows: Rows) -> None:
    def run(number: int) -> None:
        try:
            rows.write(lambda c: crls.publish(c, crl(rows, number)))
        except Conflict:
            lost.append(number)

    lost: list[int] = []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert rows.read(lambda c: crls.current_number(c, rows.issuer_id)) == 8
    assert 8 not in lost


def submit(rows: Rows) -> int:
    new = requests.NewRequest(rows.template_id, b"csr", "CN=a", '["dns:a"]', 100, "operator:me")
    return rows.write(lambda c: requests.add(c, new))


def test_request_moves_from_what_it_was(rows: Rows) -> None:
    number = submit(rows)
    row = rows.read(lambda c: requests.get_request(c, number))
    assert (row.state, row.csr, row.names, row.decided_at) == ("pending", b"csr", '["dns:a"]', None)
    rows.write(lambda c: requests.move(c, number, "pending", "declined", reason="no", decided_at=200))
    row = rows.read(lambda c: requests.get_request(c, number))
    assert (row.state, row.reason, row.decided_at) == ("declined", "no", 200)
    with pytest.raises(Conflict, match="not pending but declined"):
        rows.write(lambda c: requests.move(c, number, "pending", "approved"))
    for act in (
        lambda c: requests.get_request(c, 4711),
        lambda c: requests.move(c, 4711, "pending", "approved"),
    ):
        with pytest.raises(NotFound, match="request 4711"):
            rows.write(act)


def test_requests_are_listed_in_order_and_by_state(rows: Rows) -> None:
    numbers = [submit(rows) for _ in range(5)]
    rows.write(lambda c: requests.move(c, numbers[1], "pending", "declined"))

    def listed(**wish: object) -> list[int]:
        return [row.id for row in rows.read(lambda c: requests.list_requests(c, **wish))]  # type: ignore[arg-type]

    assert listed() == numbers
    assert listed(states=["declined"]) == [numbers[1]]
    assert listed(states=["issued"]) == []
    assert listed(after=numbers[2]) == numbers[3:]
    assert listed(limit=2) == numbers[:2]
    assert listed(template_ids=[rows.template_id], states=["pending"], after=numbers[0], limit=1) == [numbers[2]]
    assert listed(template_ids=[]) == []
    assert rows.read(requests.count_by_state) == {"pending": 4, "declined": 1}


def test_approvals_are_rows(rows: Rows) -> None:
    number = submit(rows)
    for actor, decision, reason in [("operator:a", "approve", None), ("operator:b", "decline", "no")]:
        rows.write(lambda c, a=actor, d=decision, r=reason: approvals.add(c, number, a, d, r, 100))  # type: ignore[misc]
    listed = rows.read(lambda c: approvals.list_approvals(c, number))
    assert [(row.actor, row.decision, row.reason) for row in listed] == [
        ("operator:a", "approve", None),
        ("operator:b", "decline", "no"),
    ]


def add_key(db: Database, spki: bytes) -> int:
    return db.write(
        STEP,
        lambda c: keys.add_key(c, spki=spki, algorithm="ed25519", created_at=1, sealed=b"old", wrapping_key_id="m1"),
    )


def test_key_is_taken_in_once(database: Database) -> None:
    number = add_key(database, b"spki")
    with pytest.raises(Conflict, match="already in use"):
        add_key(database, b"spki")
    row = database.read(lambda c: keys.find_key_by_spki(c, hashlib.sha256(b"spki").digest()))
    assert row is not None
    assert (row.id, row.spki, row.sealed, row.state) == (number, b"spki", b"old", "active")
    assert database.read(lambda c: keys.find_key_by_spki(c, b"")) is None
    with pytest.raises(NotFound):
        database.read(lambda c: keys.get_key(c, 4711))


def test_key_is_rewrapped_only_from_what_it_was(database: Database) -> None:
    number = add_key(database, b"spki")
    assert not database.write(STEP, lambda c: keys.rewrap_key(c, number, "m0", b"new", "m2"))
    assert database.write(STEP, lambda c: keys.rewrap_key(c, number, "m1", b"new", "m2"))
    assert not database.write(STEP, lambda c: keys.rewrap_key(c, number, "m1", b"newer", "m3"))
    assert database.read(lambda c: keys.get_key(c, number)).sealed == b"new"


def test_destroyed_key_is_forgotten_and_never_taken_in_again(database: Database) -> None:
    number = add_key(database, b"spki")
    database.write(STEP, lambda c: keys.destroy_key(c, number))
    row = database.read(lambda c: keys.get_key(c, number))
    assert (row.sealed, row.wrapping_key_id, row.state) == (None, None, "destroyed")
    assert not database.write(STEP, lambda c: keys.rewrap_key(c, number, "m1", b"new", "m2"))
    with pytest.raises(Conflict):
        add_key(database, b"spki")
    with pytest.raises(NotFound):
        database.write(STEP, lambda c: keys.destroy_key(c, 4711))


def test_secrets(database: Database) -> None:
    assert database.write(STEP, lambda c: keys.add_secret(c, "audit-mac", b"1", "m1"))
    assert not database.write(STEP, lambda c: keys.add_secret(c, "audit-mac", b"2", "m1"))
    assert database.read(lambda c: keys.get_secret(c, "audit-mac")).sealed == b"1"
    database.write(STEP, lambda c: keys.put_secret(c, "audit-mac", b"3", "m1"))
    assert not database.write(STEP, lambda c: keys.rewrap_secret(c, "audit-mac", "m0", b"4", "m2"))
    assert database.write(STEP, lambda c: keys.rewrap_secret(c, "audit-mac", "m1", b"4", "m2"))
    assert database.read(keys.list_secrets) == [keys.SealedSecretRow("audit-mac", b"4", "m2")]
    database.write(STEP, lambda c: keys.delete_secret(c, "audit-mac"))
    assert database.read(lambda c: keys.find_secret(c, "audit-mac")) is None
    with pytest.raises(NotFound):
        database.read(lambda c: keys.get_secret(c, "audit-mac"))


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Corp Issuing CA", "corp-issuing-ca"),
        ("Müller & Söhne", "muller-sohne"),
        ("../../etc", "etc"),
        ("--a--b--", "a-b"),
        ("日本", "x"),
        ("", "x"),
        ("a/b?c#d%20", "a-b-c-d-20"),
    ],
)
def test_slugs_have_url_letters(name: str, letters: str) -> None:
    assert slugs.url_letters(name) == letters


def claim(db: Database, kind: str, name: str, address: str) -> str:
    return db.write(STEP, lambda c: slugs.claim_slug(c, kind, name, address))


def test_slug_is_given_once(database: Database) -> None:
    assert claim(database, "authority", "corp", "authority/corp") == "corp"
    assert claim(database, "authority", "Corp", "authority/Corp") == "corp-2"
    assert claim(database, "template/corp", "corp", "template/corp/corp") == "corp"
    row = database.read(lambda c: slugs.find_slug(c, "authority", "corp"))
    assert row == slugs.SlugRow("authority", "corp", "authority/corp", None)
    assert database.read(lambda c: slugs.find_slug(c, "authority", "other")) is None


def test_slug_stays_across_a_rename(database: Database) -> None:
    claim(database, "authority", "corp", "authority/corp")
    database.write(STEP, lambda c: slugs.rename_slug(c, "authority/corp", "authority/new"))
    row = database.read(lambda c: slugs.find_slug(c, "authority", "corp"))
    assert row is not None
    assert row.address == "authority/new"
    with pytest.raises(NotFound):
        database.write(STEP, lambda c: slugs.rename_slug(c, "authority/corp", "authority/newer"))
    assert claim(database, "authority", "corp", "authority/corp") == "corp-2"


def test_buried_name_and_slug_are_never_used_again(database: Database) -> None:
    claim(database, "authority", "corp", "authority/corp")
    database.write(STEP, lambda c: slugs.bury_slug(c, "authority/corp", 100))
    with pytest.raises(Conflict, match="was destroyed, and its name is never used again"):
        claim(database, "authority", "corp", "authority/corp")
    assert claim(database, "authority", "CORP", "authority/CORP") == "corp-2"
    assert [row.address for row in database.read(slugs.list_buried)] == ["authority/corp"]
    with pytest.raises(NotFound):
        database.write(STEP, lambda c: slugs.bury_slug(c, "authority/corp", 200))
    with pytest.raises(NotFound):
        database.write(STEP, lambda c: slugs.rename_slug(c, "authority/corp", "authority/new"))


def put(db: Database, spec: str, generation: int | None) -> int:
    return db.write(
        STEP,
        lambda c: settings.put_setting(
            c, "settings", spec=spec, spec_digest="d", owner="yaml:default", generation=generation
        ),
    )


def test_setting_is_written_from_the_generation_that_was_read(database: Database) -> None:
    assert database.read(lambda c: settings.find_setting(c, "settings")) is None
    with pytest.raises(Conflict):
        put(database, "early", 1)
    assert put(database, "one", None) == 1
    with pytest.raises(Conflict, match="changed meanwhile"):
        put(database, "again", None)
    assert put(database, "two", 1) == 2
    with pytest.raises(Conflict):
        put(database, "late", 1)
    row = database.read(lambda c: settings.find_setting(c, "settings"))
    assert row == settings.SettingRow("settings", "two", "d", 2, "yaml:default")
    assert database.read(settings.list_settings) == [row]


def test_applied_is_listed_latest_first(database: Database) -> None:
    def add(workspace: str) -> int:
        return database.write(
            STEP,
            lambda c: applied.add_applied(
                c, at=100, workspace=workspace, actor="operator:me", plan_digest="d", recap='{"ok":1}'
            ),
        )

    numbers = [add("a"), add("b"), add("a")]
    assert [row.id for row in database.read(applied.list_applied)] == numbers[::-1]
    assert [row.id for row in database.read(lambda c: applied.list_applied(c, limit=1))] == numbers[2:]
    latest = database.read(lambda c: applied.find_latest(c, "b"))
    assert latest is not None
    assert latest.id == numbers[1]
    assert database.read(lambda c: applied.find_latest(c, "c")) is None
