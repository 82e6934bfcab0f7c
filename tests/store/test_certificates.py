"""Certificates in rows: every move, and every move that must not happen."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pkiconf.errors import Conflict, NotFound
from pkiconf.model.certificate import CertificateID
from pkiconf.store import authorities, certificates, inventory
from pkiconf.store.certificates import CertificateRow, NotReserved, OriginTaken, StatusRow
from pkiconf.store.database import Connection
from pkiconf.store.inventory import Wish
from tests.store.conftest import Rows, add_issuer, add_template

UNKNOWN = b"\x7f" * 19


def listed_on_crl(c: Connection, *of: int, **of_which: int) -> list[inventory.RevokedRow]:
    return [inventory.RevokedRow(*row) for row in inventory.revoked(c, *of, **of_which)]


def epoch(rows: Rows) -> int:
    return rows.read(lambda c: authorities.get_issuer(c, rows.issuer_id)).status_epoch


def status(rows: Rows, serial: bytes) -> StatusRow | None:
    return rows.read(lambda c: certificates.status(c, rows.issuer_id, serial))


def revoke(rows: Rows, serial: bytes, to: str = "revoked", reason: int | None = 1) -> int:
    return rows.write(lambda c: certificates.revoke(c, rows.issuer_id, serial, to, reason, 2_000, 1_500))


def test_reserved_then_complete(rows: Rows) -> None:
    new = rows.intent()
    id = CertificateID(rows.issuer_id, int.from_bytes(new.serial))
    rows.write(lambda c: certificates.reserve(c, new))
    row = rows.read(lambda c: certificates.get_certificate(c, id))
    assert (row.status, row.serial, row.id, row.lease_until) == ("reserved", new.serial, id, 1_060)
    assert rows.read(lambda c: certificates.get_stored(c, id)) == (b"tbs", "Ed25519", None)
    rows.write(lambda c: certificates.complete(c, rows.issuer_id, new.serial, b"sig", 1_001, [("dns", "a.example")]))
    assert rows.read(lambda c: certificates.get_certificate(c, id)).status == "good"
    assert rows.read(lambda c: certificates.get_stored(c, id)) == (b"tbs", "Ed25519", b"sig")
    assert rows.read(lambda c: certificates.find_by_origin(c, "request", new.origin_id)) is not None
    assert epoch(rows) == 0


def test_one_certificate_for_one_origin(rows: Rows) -> None:
    serial = rows.issued(origin_id="7")
    with pytest.raises(OriginTaken):
        rows.reserved(origin_id="7")
    rows.reserved(origin_id="7", origin_kind="acme")
    found = rows.read(lambda c: certificates.find_by_origin(c, "request", "7"))
    assert found is not None
    assert found.serial == serial


def test_serial_is_never_used_twice(rows: Rows) -> None:
    serial = rows.issued()
    with pytest.raises(Conflict):
        rows.reserved(serial=serial)


def test_two_who_reserve_for_one_origin_at_once(rows: Rows) -> None:
    intents = [rows.intent(origin_id="7") for _ in range(6)]
    outcomes: list[str] = []

    def run(n: int) -> None:
        try:
            rows.write(lambda c: certificates.reserve(c, intents[n]))
            outcomes.append("reserved")
        except OriginTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["reserved", *["taken"] * 5]
    assert rows.read(lambda c: inventory.count(c, Wish())) == 1


@pytest.mark.parametrize("again", [b"sig", b"other"])
def test_complete_happens_once(rows: Rows, again: bytes) -> None:
    serial = rows.issued()
    with pytest.raises(NotReserved):
        rows.write(lambda c: certificates.complete(c, rows.issuer_id, serial, again, 1_002))
    stored = rows.read(lambda c: certificates.find_stored(c, rows.issuer_id, serial))
    assert stored is not None
    assert stored.signature == b"signature"


@pytest.mark.parametrize("serial", [UNKNOWN, b"\x01"])
def test_unknown_certificate(rows: Rows, serial: bytes) -> None:
    assert status(rows, serial) is None
    id = CertificateID(rows.issuer_id, int.from_bytes(serial))
    for read in (certificates.get_certificate, certificates.get_stored):
        with pytest.raises(NotFound):
            rows.read(lambda c, read=read: read(c, id))  # type: ignore[misc]
    with pytest.raises(NotReserved):
        rows.write(lambda c: certificates.complete(c, rows.issuer_id, serial, b"s", 1))
    acts: list[Callable[[Connection], int]] = [
        lambda c: certificates.revoke(c, rows.issuer_id, serial, "revoked", 1, 1),
        lambda c: certificates.release(c, rows.issuer_id, serial),
        lambda c: certificates.abandon(c, rows.issuer_id, serial, 1),
        lambda c: certificates.revoke(c, 4711, serial, "revoked", 1, 1),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            rows.write(act)
    assert epoch(rows) == 0


def test_serial_of_another_issuer_is_another_certificate(rows: Rows) -> None:
    serial = rows.issued()
    other = rows.write(lambda c: add_issuer(c, rows.authority_id, 2))
    assert rows.read(lambda c: certificates.status(c, other, serial)) is None
    rows.issued(issuer_id=other, serial=serial)
    revoke(rows, serial)
    found = rows.read(lambda c: certificates.status(c, other, serial))
    assert found is not None
    assert (found.status, found.status_epoch) == ("good", 0)
    listed = rows.read(lambda c: certificates.list_by_serial(c, serial))
    assert [row.issuer_id for row in listed] == [rows.issuer_id, other]
    assert rows.read(lambda c: inventory.count(c, Wish(serial=serial))) == 2


def test_every_change_of_status_moves_the_epoch(rows: Rows) -> None:
    serial = rows.issued()
    assert status(rows, serial) == StatusRow("good", None, None, None, 9_000, 0)
    assert revoke(rows, serial, "held", 6) == 1
    assert status(rows, serial) == StatusRow("held", 6, 2_000, 1_500, 9_000, 1)
    assert rows.write(lambda c: certificates.release(c, rows.issuer_id, serial)) == 2
    assert status(rows, serial) == StatusRow("good", None, None, None, 9_000, 2)
    revoke(rows, serial, "held", 6)
    assert revoke(rows, serial) == 4
    assert status(rows, serial) == StatusRow("revoked", 1, 2_000, 1_500, 9_000, 4)
    intent = rows.reserved()
    assert rows.write(lambda c: certificates.abandon(c, rows.issuer_id, intent, 3_000)) == 5
    assert status(rows, intent) == StatusRow("abandoned", None, 3_000, None, 9_000, 5)


@pytest.mark.parametrize(
    ("begin", "act", "error"),
    [
        ("good", "release", Conflict),
        ("good", "abandon", NotReserved),
        ("held", "hold", Conflict),
        ("held", "abandon", NotReserved),
        ("revoked", "revoke", Conflict),
        ("revoked", "hold", Conflict),
        ("revoked", "release", Conflict),
        ("revoked", "abandon", NotReserved),
        ("reserved", "revoke", Conflict),
        ("reserved", "hold", Conflict),
        ("reserved", "release", Conflict),
        ("abandoned", "revoke", Conflict),
        ("abandoned", "release", Conflict),
        ("abandoned", "complete", NotReserved),
        ("revoked", "complete", NotReserved),
    ],
)
def test_move_that_must_not_happen_changes_nothing(rows: Rows, begin: str, act: str, error: type[Conflict]) -> None:
    serial = rows.reserved() if begin in ("reserved", "abandoned") else rows.issued()
    if begin == "abandoned":
        rows.write(lambda c: certificates.abandon(c, rows.issuer_id, serial, 2_000))
    elif begin in ("held", "revoked"):
        revoke(rows, serial, begin)
    before = rows.read(lambda c: certificates.find(c, rows.issuer_id, serial)), epoch(rows)
    acts: dict[str, Callable[[Connection], object]] = {
        "revoke": lambda c: certificates.revoke(
            c, rows.issuer_id, serial, "revoked", 4, 5_000, allowed=("good", "held")
        ),
        "hold": lambda c: certificates.revoke(c, rows.issuer_id, serial, "held", 6, 5_000, allowed=("good",)),
        "release": lambda c: certificates.release(c, rows.issuer_id, serial),
        "abandon": lambda c: certificates.abandon(c, rows.issuer_id, serial, 5_000),
        "complete": lambda c: certificates.complete(c, rows.issuer_id, serial, b"late", 5_000),
    }
    with pytest.raises(error):
        rows.write(acts[act])
    assert (rows.read(lambda c: certificates.find(c, rows.issuer_id, serial)), epoch(rows)) == before


def test_many_revokers_at_once_lose_nothing(rows: Rows) -> None:
    """Eight threads, each revoking its share in transactions of four, in opposite orders."""
    serials = [rows.issued() for _ in range(64)]
    seen: list[int] = []

    def run(n: int) -> None:
        share = serials[n * 8 : n * 8 + 8]
        for part in (share[:4], share[4:]):

            def write(c: Connection, part: list[bytes] = part) -> list[int]:
                ordered = part if n % 2 else reversed(part)
                return [certificates.revoke(c, rows.issuer_id, s, "revoked", 1, 2_000) for s in ordered]

            seen.extend(rows.write(write))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(seen) == list(range(1, 65))
    assert epoch(rows) == 64
    listed = rows.read(lambda c: listed_on_crl(c, rows.issuer_id, 0))
    assert [row.serial for row in listed] == sorted(serials)


def test_one_of_many_who_revoke_the_same(rows: Rows) -> None:
    serial = rows.issued()
    outcomes: list[str] = []

    def run() -> None:
        try:
            revoke(rows, serial)
            outcomes.append("revoked")
        except Conflict:
            outcomes.append("too late")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["revoked", *["too late"] * 7]
    assert epoch(rows) == 1


def test_lease_of_an_intent_is_taken_over_once(rows: Rows) -> None:
    serial = rows.reserved(lease_until=1_060)
    assert rows.read(lambda c: certificates.list_reserved(c, lease_before=1_059)) == []
    assert [row.serial for row in rows.read(lambda c: certificates.list_reserved(c, lease_before=1_060))] == [serial]

    def take(until: int) -> bool:
        return rows.write(lambda c: certificates.renew_lease(c, rows.issuer_id, serial, 1_060, until))

    assert take(2_000)
    assert not take(3_000)
    assert rows.read(lambda c: certificates.list_reserved(c, lease_before=1_999)) == []
    rows.write(lambda c: certificates.complete(c, rows.issuer_id, serial, b"s", 1))
    assert rows.read(lambda c: certificates.list_reserved(c, lease_before=9_999)) == []
    assert not rows.write(lambda c: certificates.renew_lease(c, rows.issuer_id, serial, 2_000, 3_000))


def test_crl_lines_are_what_counts_as_revoked_and_has_not_ended(rows: Rows) -> None:
    rows.issued()
    rows.reserved()
    revoked, held, ended, intent = rows.issued(), rows.issued(), rows.issued(not_after=1_999), rows.reserved()
    revoke(rows, revoked)
    revoke(rows, held, "held", 6)
    revoke(rows, ended)
    rows.write(lambda c: certificates.abandon(c, rows.issuer_id, intent, 3_000))
    listed = rows.read(lambda c: listed_on_crl(c, rows.issuer_id, ended_after=2_001))
    assert listed == [(revoked, 2_000, 1, 1_500), (held, 2_000, 6, 1_500), (intent, 3_000, None, None)]
    # Revoked after its end, it has to stand on one CRL too.
    assert ended in {row.serial for row in rows.read(lambda c: listed_on_crl(c, rows.issuer_id, 2_000))}
    # RFC 5280 §3.3: whatever its end, a revocation is on the next CRL after it.
    assert ended in [row.serial for row in rows.read(lambda c: listed_on_crl(c, rows.issuer_id, 2_000))]
    assert len(rows.read(lambda c: listed_on_crl(c, rows.issuer_id, ended_after=0))) == 4
    assert rows.read(lambda c: listed_on_crl(c, rows.issuer_id, ended_after=0, shard=1)) == []


def test_search(rows: Rows) -> None:
    web = rows.issued((("dns", "www.corp.example"), ("cn", "www.corp.example")), not_after=5_000)
    mail = rows.issued((("dns", "mail.corp.example"), ("email", "a_b@corp.example")))
    other = rows.issued((("dns", "100%.corp.example"), ("dns", "axb.corp.example")))
    revoke(rows, mail)

    def found(**wish: object) -> list[bytes]:
        rows_found = rows.read(lambda c: inventory.search(c, Wish(**wish)))  # type: ignore[arg-type]
        assert rows.read(lambda c: inventory.count(c, Wish(**wish))) == len(rows_found)  # type: ignore[arg-type]
        return [row.serial for row in rows_found]

    assert found() == [web, mail, other]
    assert found(name="WWW.corp.example") == [web]
    assert found(name="www.corp.example", name_kind="email") == []
    assert found(name="*.corp.example") == [web, mail, other]
    assert found(name="mail.*") == [mail]
    assert found(name="a_b@*") == [mail]
    assert found(name="100%*") == [other]
    assert found(name="%") == []
    assert found(name="a_b.corp.example") == []
    assert found(statuses=["revoked"]) == [mail]
    assert found(statuses=inventory.LIVE) == [web, other]
    assert found(not_after_until=5_001) == [web]
    assert found(not_after_from=5_001) == [mail, other]
    assert found(serial=web) == [web]
    assert found(serial=UNKNOWN) == []
    assert found(issuer_ids=[]) == []
    assert found(issuer_ids=[rows.issuer_id], template_id=rows.template_id) == [web, mail, other]
    empty = rows.write(lambda c: add_template(c, rows.authority_id, "other"))
    assert found(template_id=empty) == []


def test_search_goes_on_where_it_stopped(rows: Rows) -> None:
    serials = [rows.issued() for _ in range(7)]

    def page(after: tuple[int, bytes] | None) -> list[bytes]:
        return [row.serial for row in rows.read(lambda c: inventory.search(c, Wish(), after=after, limit=3))]

    pages = [page(None), *(page((rows.issuer_id, serials[last])) for last in (2, 5, 6))]
    assert pages == [serials[:3], serials[3:6], serials[6:], []]


def test_what_has_not_ended_and_counts(rows: Rows) -> None:
    def unended(now: int) -> bool:
        return rows.read(lambda c: inventory.has_unended(c, rows.issuer_id, now))

    assert not unended(0)
    rows.issued(not_after=5_000)
    late = rows.issued(not_after=7_000)
    revoke(rows, late)  # whoever holds it must not be believed until it has ended
    assert (unended(5_001), unended(7_000), unended(7_001)) == (True, True, False)
    assert sorted(rows.read(inventory.count_by_status)) == [(rows.issuer_id, "good", 1), (rows.issuer_id, "revoked", 1)]


def test_imported_serials(rows: Rows) -> None:
    def imported(serial: bytes, status: str) -> CertificateRow:
        return CertificateRow(
            rows.issuer_id, serial, 0, None, status, 1 if status == "revoked" else None,
            2_000 if status == "revoked" else None, None, 1, 9_000, 0, "import", f"{rows.issuer_id}/{serial.hex()}",
            1, 0,
        )  # fmt: skip

    listed = [imported(b"\x01", "good"), imported(b"\x02", "revoked")]
    assert rows.write(lambda c: inventory.import_certificates(c, listed)) == 2
    assert rows.read(lambda c: certificates.find(c, rows.issuer_id, b"\x02")) == listed[1]
    assert rows.read(lambda c: certificates.find_stored(c, rows.issuer_id, b"\x01")) is None
    assert [row.serial for row in rows.read(lambda c: listed_on_crl(c, rows.issuer_id, 0))] == [b"\x02"]
    with pytest.raises(Conflict):
        rows.write(lambda c: inventory.import_certificates(c, [imported(b"\x03", "good"), listed[0]]))
    assert rows.read(lambda c: certificates.find(c, rows.issuer_id, b"\x03")) is None
    assert rows.write(lambda c: inventory.import_certificates(c, [])) == 0
