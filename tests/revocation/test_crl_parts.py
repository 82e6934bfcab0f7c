"""CRLs in parts, and delta CRLs: what each holds, what it says it is about, and when it is made."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from pkiconf.der.crl import parse_crl
from pkiconf.errors import NotFound
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.crl_parts import delta_url, part_of, part_url
from pkiconf.revocation import crl as crl_room
from pkiconf.revocation.crl import CRLs
from pkiconf.revocation.crl_schedule import Freshness
from pkiconf.steps import Step
from pkiconf.store import crls
from pkiconf.store.crls import FULL, FULL_LIST, Part
from pkiconf.worker import Worker
from tests.judges.pkilint import pkilint_findings
from tests.revocation.pki import DECLARATION, PKI, prepare, serial_of
from tests.tools import run_tool
from tests.world import OPERATOR, World

DIVIDED = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 4},")
WITH_DELTAS = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {delta: 6h},")
BOTH = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 4, delta: 6h},")


def declare(world: World, text: str) -> PKI:
    pki = prepare(world)
    assert world.apply(text).exit_code == 0
    return pki


def part_of_issued(issued: Issued) -> int:
    return part_of(serial_of(issued), 4)


def crl(pki: PKI, part: Part = FULL_LIST) -> x509.CertificateRevocationList:
    """The one that is served now, verified, and judged by a stranger."""
    found = x509.load_der_x509_crl(pki.world.services.crls.current(pki.issuer_id(), part).der)
    key = pki.issuer().public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(key)
    assert pkilint_findings(found.public_bytes(Encoding.DER), "crl") == []
    return found


def number(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(found: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in found}


def urls_of(points: Iterable[x509.DistributionPoint]) -> list[str]:
    return [name.value for point in points for name in point.full_name or ()]


def location(issued: Issued) -> str:
    extensions = x509.load_der_x509_certificate(issued.der).extensions
    (url,) = urls_of(extensions.get_extension_for_class(x509.CRLDistributionPoints).value)
    return url


def scope(found: x509.CertificateRevocationList) -> x509.Extension[x509.IssuingDistributionPoint]:
    return found.extensions.get_extension_for_class(x509.IssuingDistributionPoint)


def base_number(found: x509.CertificateRevocationList) -> int:
    extension = found.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert extension.critical
    return extension.value.crl_number


def revoke(pki: PKI, issued: Issued, reason: RevocationReason = RevocationReason.SUPERSEDED) -> None:
    pki.world.services.revocations.revoke(issued.id, reason, OPERATOR)


def issue_many(pki: PKI, count: int) -> list[Issued]:
    return [pki.issue(name=f"n{n}.corp.example") for n in range(count)]


# --- parts ----------------------------------------------------------------------------------------------------------


def test_urls_of_parts() -> None:
    assert part_url("http://a/crl/x/1.crl", 7) == "http://a/crl/x/1/7.crl"
    assert part_url("http://a/crl/x/1.crl", 0) == "http://a/crl/x/1.crl"
    assert delta_url("http://a/crl/x/1.crl", 7) == "http://a/crl/x/1/7-delta.crl"
    assert delta_url("http://a/crl/x/1.crl", FULL) == "http://a/crl/x/1/delta.crl"
    assert part_url("http://a.example/lists", 2) == "http://a.example/lists/2.crl"


@pytest.mark.row("F138")
def test_each_certificate_names_its_part_and_each_part_names_the_same_url(world: World) -> None:
    pki = declare(world, DIVIDED)
    issued = issue_many(pki, 12)
    for one in issued:
        revoke(pki, one)
    held: set[int] = set()
    for shard in {part_of_issued(one) for one in issued}:
        theirs = [one for one in issued if part_of_issued(one) == shard]
        found = crl(pki, Part(shard))
        assert serials(found) == {serial_of(one) for one in theirs}
        assert scope(found).critical
        told = scope(found).value
        assert {location(one) for one in theirs} == {f"http://pki.corp.example/crl/issuing/1/{shard}.crl"}
        assert [name.value for name in told.full_name or ()] == [location(theirs[0])]
        assert not any((told.only_contains_user_certs, told.only_contains_ca_certs, told.indirect_crl))
        held |= serials(found)
    whole = crl(pki)
    assert serials(whole) == held == {serial_of(one) for one in issued}
    assert "2.5.29.28" not in {extension.oid.dotted_string for extension in whole.extensions}


def test_the_name_in_the_certificate_is_octet_for_octet_that_of_its_list(sqlite_world: World) -> None:
    """RFC 5280 §6.3.3 (b)(2)(i)."""
    pki = declare(sqlite_world, DIVIDED)
    issued = pki.issue()
    found = parse_crl(sqlite_world.services.crls.current(pki.issuer_id(), Part(part_of_issued(issued))).der)
    own = x509.load_der_x509_certificate(issued.der).extensions.get_extension_for_oid(x509.CRLDistributionPoints.oid)
    told = found.extension("2.5.29.28")
    assert told is not None
    assert told.critical
    assert own.value.public_bytes()[4:] == told.value[2:]  # behind the headers of two SEQUENCEs, and of one


def test_openssl_takes_a_part_for_what_it_is(sqlite_world: World, tmp_path: Path) -> None:
    pki = declare(sqlite_world, DIVIDED)
    issued = issue_many(pki, 8)
    revoked = issued[0]
    revoke(pki, revoked)
    here = part_of_issued(revoked)
    elsewhere = next(one for one in issued if part_of_issued(one) != here)
    good = next((one for one in issued[1:] if part_of_issued(one) == here), None)
    chain, list_, leaf = tmp_path / "chain.pem", tmp_path / "list.pem", tmp_path / "leaf.pem"
    chain.write_bytes(b"".join(pki.issuer(name).public_bytes(Encoding.PEM) for name in ("root", "issuing")))
    list_.write_bytes(crl(pki, Part(here)).public_bytes(Encoding.PEM))
    moment = str(int(sqlite_world.clock.now().timestamp()))
    for one, word in ((revoked, b"revoked"), (elsewhere, b"scope"), (good, b"OK")):
        if one is None:
            continue
        leaf.write_bytes(x509.load_der_x509_certificate(one.der).public_bytes(Encoding.PEM))
        done = run_tool("openssl", "verify", "-attime", moment, "-crl_check", "-extended_crl", "-CAfile", chain,
                        "-CRLfile", list_, leaf)  # fmt: skip
        assert word in done.stdout + done.stderr, (one, done)


def test_a_revocation_makes_the_list_of_its_part_alone(world: World) -> None:
    pki = declare(world, DIVIDED)
    issued = issue_many(pki, 12)
    shards = sorted({part_of_issued(one) for one in issued})
    before = {shard: number(crl(pki, Part(shard))) for shard in shards}
    revoke(pki, issued[0])
    mine = part_of_issued(issued[0])
    after = {shard: number(crl(pki, Part(shard))) for shard in shards}
    assert {shard for shard in shards if after[shard] != before[shard]} == {mine}


def test_freshness_is_that_of_the_worst(world: World) -> None:
    """A full list that somebody has just fetched says nothing of the parts."""
    pki = declare(world, DIVIDED)
    issued = issue_many(pki, 12)
    worker, issuer_id, day, skew = Worker(world.services), pki.issuer_id(), 86400, 300
    worker.run_once()
    assert schedule(world)[issuer_id] == Freshness(skew, 7 * day, 0)
    world.pass_time(timedelta(days=1))
    revoke(pki, issued[0])
    crl(pki)
    assert schedule(world)[issuer_id] == Freshness(day + skew, 6 * day, 1)
    worker.run_once()
    assert schedule(world)[issuer_id] == Freshness(day + skew, 6 * day, 0)


def test_freshness_is_that_of_deltas_too(sqlite_world: World) -> None:
    """They end first, and tell what is new: the complete list need not."""
    pki = declare(sqlite_world, WITH_DELTAS)
    issued, hour, skew = pki.issue(), 3600, 300
    worker, issuer_id = Worker(sqlite_world.services), pki.issuer_id()
    worker.run_once()
    sqlite_world.pass_time(timedelta(hours=1))
    assert schedule(sqlite_world)[issuer_id] == Freshness(hour + skew, 5 * hour, 0)
    revoke(pki, issued)
    assert schedule(sqlite_world)[issuer_id].behind == 1
    worker.run_once()
    assert schedule(sqlite_world)[issuer_id] == Freshness(hour + skew, 6 * hour, 0)


def test_an_issuer_that_has_ended_is_not_old(sqlite_world: World) -> None:
    pki = declare(sqlite_world, DECLARATION)
    crl(pki)
    assert pki.issuer_id() in schedule(sqlite_world)
    ended = text(f"UPDATE issuer SET state = 'ended' WHERE id = {pki.issuer_id()}")
    sqlite_world.parts.db.write(Step.AUTHORITY_UPDATE, lambda c: c.execute(ended))
    assert pki.issuer_id() not in schedule(sqlite_world)


def schedule(world: World) -> dict[int, Freshness]:
    return world.services.crls.schedule.freshness()


def test_the_worker_makes_the_part_and_leaves_the_full_list_to_who_fetches_it(sqlite_world: World) -> None:
    pki = declare(sqlite_world, DIVIDED)
    issued = pki.issue()
    whole, part = number(crl(pki)), number(crl(pki, Part(part_of_issued(issued))))
    revoke(pki, issued)
    Worker(sqlite_world.services).run_once()
    issuer_id = pki.issuer_id()
    heads = sqlite_world.parts.db.read(
        lambda c: [crls.head(c, issuer_id, shard) for shard in (FULL, part_of_issued(issued))]
    )
    assert heads[0] is not None
    assert heads[1] is not None
    assert (heads[0].number, heads[1].number > part) == (whole, True)
    assert serial_of(issued) in serials(crl(pki))


def test_certificates_from_before_stay_on_the_full_list(sqlite_world: World) -> None:
    pki = prepare(sqlite_world)
    old = pki.issue()
    assert location(old) == "http://pki.corp.example/crl/issuing/1.crl"
    assert sqlite_world.apply(DIVIDED).exit_code == 0
    new = pki.issue(name="new.corp.example")
    revoke(pki, old)
    revoke(pki, new)
    assert serials(crl(pki)) == {serial_of(old), serial_of(new)}
    assert serials(crl(pki, Part(part_of_issued(new)))) == {serial_of(new)}


def test_another_number_of_parts_leaves_certificates_where_they_are(sqlite_world: World) -> None:
    pki = declare(sqlite_world, DIVIDED)
    old = issue_many(pki, 6)
    assert sqlite_world.apply(DIVIDED.replace("partitions: 4", "partitions: 2")).exit_code == 0
    new = issue_many(pki, 6)
    for one in (*old, *new):
        revoke(pki, one)
    for one in old:
        assert serial_of(one) in serials(crl(pki, Part(part_of_issued(one))))
    for one in new:
        shard = part_of(serial_of(one), 2)
        assert location(one).endswith(f"/{shard}.crl")
        assert serial_of(one) in serials(crl(pki, Part(shard)))


def test_a_part_names_every_url_under_which_certificates_look_for_it(sqlite_world: World) -> None:
    one_part = DIVIDED.replace("partitions: 4", "partitions: 1")
    pki = declare(sqlite_world, one_part)
    first = pki.issue()
    before = crl(pki, Part(1))
    moved = one_part.replace('base_url: "http://pki.corp.example"', 'base_url: "http://new.corp.example"')
    assert sqlite_world.apply(moved).exit_code == 0
    second = pki.issue(name="second.corp.example")
    after = crl(pki, Part(1))
    assert number(after) > number(before)
    assert [name.value for name in scope(after).value.full_name or ()] == [location(first), location(second)]
    assert location(second).startswith("http://new.corp.example/")


@pytest.mark.parametrize("shard", [1, 4, 5, 4096, 0, -7])
def test_a_part_that_no_certificate_names_is_not_made(sqlite_world: World, shard: int) -> None:
    pki = declare(sqlite_world, DIVIDED)
    with pytest.raises(NotFound, match="part"):
        sqlite_world.services.crls.current(pki.issuer_id(), Part(shard))
    assert pki.rows("crl") == 0
    assert sqlite_world.parts.db.read(lambda c: c.exec_driver_sql("SELECT max(crl_number) FROM issuer").scalar()) == 0


# --- deltas ---------------------------------------------------------------------------------------------------------


def test_a_delta_holds_what_has_changed_since_its_base(world: World) -> None:
    pki = declare(world, WITH_DELTAS)
    old, new, held = issue_many(pki, 3)
    revoke(pki, old)
    pki.world.services.revocations.hold(held.id, OPERATOR)
    base = crl(pki)
    empty = crl(pki, Part(delta=True))
    assert base_number(empty) == number(base) < number(empty)
    assert len(empty) == 0
    revoke(pki, new, RevocationReason.KEY_COMPROMISE)
    pki.world.services.revocations.release(held.id, OPERATOR)
    assert crl(pki) == base  # the complete list is only kept young
    delta = crl(pki, Part(delta=True))
    assert base_number(delta) == number(base)
    reasons = {
        entry.serial_number: entry.extensions.get_extension_for_class(x509.CRLReason).value.reason for entry in delta
    }
    assert reasons == {
        serial_of(new): x509.ReasonFlags.key_compromise,
        serial_of(held): x509.ReasonFlags.remove_from_crl,
    }
    assert delta.next_update_utc == pki.world.clock.now() + timedelta(hours=6)
    ours = parse_crl(delta.public_bytes(Encoding.DER))
    assert {entry.serial_number for entry in ours.entries if entry.removed} == {serial_of(held)}


def test_certificates_and_complete_lists_say_where_the_delta_is(sqlite_world: World) -> None:
    pki = declare(sqlite_world, BOTH)
    issued = pki.issue()
    shard = part_of_issued(issued)
    url = f"http://pki.corp.example/crl/issuing/1/{shard}-delta.crl"
    leaf = x509.load_der_x509_certificate(issued.der)
    for extensions in (leaf.extensions, crl(pki, Part(shard)).extensions):
        freshest = extensions.get_extension_for_class(x509.FreshestCRL)
        assert (urls_of(freshest.value), freshest.critical) == ([url], False)
    whole = crl(pki).extensions.get_extension_for_class(x509.FreshestCRL)
    assert urls_of(whole.value) == ["http://pki.corp.example/crl/issuing/1/delta.crl"]
    delta = crl(pki, Part(shard, delta=True))
    assert scope(delta).value == scope(crl(pki, Part(shard))).value  # RFC 5280 §5.2.4: the same scope
    with pytest.raises(x509.ExtensionNotFound):
        delta.extensions.get_extension_for_class(x509.FreshestCRL)


def test_openssl_believes_a_delta(sqlite_world: World, tmp_path: Path) -> None:
    pki = declare(sqlite_world, WITH_DELTAS)
    issued = pki.issue()
    base = crl(pki)
    revoke(pki, issued)
    lists, chain, leaf = tmp_path / "lists.pem", tmp_path / "chain.pem", tmp_path / "leaf.pem"
    chain.write_bytes(b"".join(pki.issuer(name).public_bytes(Encoding.PEM) for name in ("root", "issuing")))
    leaf.write_bytes(x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM))
    moment = str(int(sqlite_world.clock.now().timestamp()))
    for with_delta, word in ((False, b"OK"), (True, b"revoked")):
        found = [base, crl(pki, Part(delta=True))] if with_delta else [base]
        lists.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in found))
        done = run_tool("openssl", "verify", "-attime", moment, "-crl_check", "-use_deltas", "-CAfile", chain,
                        "-CRLfile", lists, leaf)  # fmt: skip
        assert word in done.stdout + done.stderr, done


def test_a_new_complete_list_makes_a_new_delta_that_older_ones_may_use_too(sqlite_world: World) -> None:
    pki = declare(sqlite_world, WITH_DELTAS)
    first = crl(pki)
    crl(pki, Part(delta=True))
    issued = pki.issue()
    revoke(pki, issued)
    sqlite_world.pass_time(timedelta(days=4))
    second = crl(pki)
    assert serials(second) == {serial_of(issued)}
    delta = crl(pki, Part(delta=True))
    assert number(delta) > number(second) > number(first)
    assert base_number(delta) == number(first)  # it has not ended yet
    assert serials(delta) == {serial_of(issued)}
    sqlite_world.pass_time(timedelta(days=4))
    crl(pki)
    assert base_number(crl(pki, Part(delta=True))) == number(second)


def test_a_delta_is_never_older_than_its_complete_list(sqlite_world: World) -> None:
    """RFC 5280 §6.3.3 (c): nobody could use it. Here nothing else makes a new one due."""
    pki = declare(sqlite_world, WITH_DELTAS)
    crl(pki)
    before = crl(pki, Part(delta=True))
    complete = sqlite_world.services.crls.make(pki.issuer_id())
    after = crl(pki, Part(delta=True))
    assert number(after) > complete.number > number(before)


def test_a_delta_begins_from_no_list_that_had_another_scope(sqlite_world: World) -> None:
    """RFC 5280 §5.2.4: a part that got another URL has another scope, and its delta begins anew."""
    one_part = BOTH.replace("partitions: 4", "partitions: 1")
    pki = declare(sqlite_world, one_part)
    pki.issue()
    before = crl(pki, Part(1))
    assert base_number(crl(pki, Part(1, delta=True))) == number(before)
    moved = one_part.replace('base_url: "http://pki.corp.example"', 'base_url: "http://new.corp.example"')
    assert sqlite_world.apply(moved).exit_code == 0
    pki.issue(name="second.corp.example")
    delta = crl(pki, Part(1, delta=True))
    complete = crl(pki, Part(1))
    assert base_number(delta) == number(complete) > number(before)
    assert scope(delta).value == scope(complete).value != scope(before).value


def test_the_worker_makes_deltas(sqlite_world: World) -> None:
    pki = declare(sqlite_world, WITH_DELTAS)
    issued = pki.issue()
    Worker(sqlite_world.services).run_once()
    issuer_id = pki.issuer_id()

    def heads() -> list[crls.CRLHead | None]:
        return sqlite_world.parts.db.read(lambda c: [crls.head(c, issuer_id, FULL, delta) for delta in (False, True)])

    whole, delta = heads()
    revoke(pki, issued)
    Worker(sqlite_world.services).run_once()
    assert heads()[0] == whole._replace(status_epoch=1) if whole else False
    after = heads()[1]
    assert delta is not None
    assert after is not None
    assert after.number > delta.number
    assert after.covers_epoch == after.status_epoch == 1


@pytest.mark.parametrize("text", [DECLARATION, DIVIDED])
def test_no_delta_where_none_is_declared(sqlite_world: World, text: str) -> None:
    pki = declare(sqlite_world, text)
    pki.issue()
    for shard in (FULL, 1, 2, 3, 4):
        with pytest.raises(NotFound):
            sqlite_world.services.crls.current(pki.issuer_id(), Part(shard, delta=True))
    # Anybody may ask: nothing is made, and no number is spent.
    assert pki.rows("crl") == 0
    assert sqlite_world.parts.db.read(lambda c: c.exec_driver_sql("SELECT max(crl_number) FROM issuer").scalar()) == 0
    with pytest.raises(x509.ExtensionNotFound):
        crl(pki).extensions.get_extension_for_class(x509.FreshestCRL)


def test_deltas_that_are_no_longer_declared_end(sqlite_world: World) -> None:
    pki = declare(sqlite_world, WITH_DELTAS)
    crl(pki, Part(delta=True))
    assert sqlite_world.apply(WITH_DELTAS.replace("delta: 6h", "delta: null")).exit_code == 0
    with pytest.raises(NotFound, match="no delta"):
        sqlite_world.services.crls.current(pki.issuer_id(), Part(delta=True))


# --- numbers, and more than one process -------------------------------------------------------------------------------


def test_all_lists_of_an_issuer_share_one_sequence_of_numbers(world: World) -> None:
    pki = declare(world, BOTH)
    issued = issue_many(pki, 6)
    for one in issued:
        revoke(pki, one)
        for part in pki.world.services.crls.schedule.parts_of(pki.issuer_id()):
            crl(pki, part)
    rows = pki.world.parts.db.read(
        lambda c: c.exec_driver_sql("SELECT number, der FROM crl ORDER BY number").fetchall()
    )
    assert len({row[0] for row in rows}) == len(rows)
    for row in rows:
        assert number(x509.load_der_x509_crl(bytes(row[1]))) == row[0]


def test_what_another_process_is_making_is_waited_for_and_not_made_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = prepare(world)
    one, other = CRLs(world.parts), CRLs(world.parts)
    made: list[CRLs] = []
    make, started, go_on = CRLs.make, threading.Event(), threading.Event()

    def slow(self: CRLs, *which: object) -> object:
        made.append(self)
        started.set()
        assert go_on.wait(30)
        return make(self, *which)  # type: ignore[arg-type]

    monkeypatch.setattr(CRLs, "make", slow)
    monkeypatch.setattr(crl_room, "PATIENCE", 60.0)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda c=c: results.append(c.current(pki.issuer_id()).number)) for c in (one, other)
    ]
    threads[0].start()
    assert started.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert (results, made) == ([1, 1], [one])


def test_what_another_process_finishes_before_the_lease_is_had_is_not_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer_id = prepare(world).issuer_id()
    one, other = CRLs(world.parts), CRLs(world.parts)
    first, numbers = [one], []

    def late(self: CRLs, *which: object) -> object:
        if first:
            numbers.append(first.pop().current(issuer_id).number)
        return lease(self, *which)  # type: ignore[arg-type]

    lease = CRLs._lease
    monkeypatch.setattr(CRLs, "_lease", late)
    numbers.append(other.current(issuer_id).number)
    assert numbers == [1, 1]


def test_work_of_a_process_that_was_killed_over_it_is_taken_over(sqlite_world: World) -> None:
    pki = prepare(sqlite_world)
    issuer_id = pki.issuer_id()
    before = crl(pki)
    revoke(pki, pki.issue())
    killed = CRLs(sqlite_world.parts)
    lease = killed._lease(issuer_id, FULL_LIST)
    assert lease.__enter__()  # and it never leaves
    sqlite_world.pass_time(timedelta(seconds=crl_room.LEASE))
    assert number(crl(pki)) > number(before)
