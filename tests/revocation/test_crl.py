"""CRLs: always rising, always whole, made when they must be and served when they cannot be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.entropy import SystemEntropy
from pkiconf.errors import NotFound, NotSigned, Unavailable, Unverified
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation import crl as crl_room
from pkiconf.revocation.crl import CRLs
from pkiconf.signing.keyring import Keyring
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.master import FileSource, create_master_key_file, load_master_keys
from pkiconf.steps import Step
from pkiconf.store import crls
from pkiconf.store.crls import FULL_LIST
from tests.garbage import is_freed_after
from tests.judges.pkilint import pkilint_findings
from tests.revocation.pki import DECLARATION, PKI, serial_of
from tests.tools import accepted, run_tool
from tests.world import OPERATOR, World


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in crl}


def revoke(pki: PKI, issued: Issued, reason: RevocationReason = RevocationReason.SUPERSEDED, **more: Any) -> None:
    pki.world.services.revocations.revoke(issued.id, reason, OPERATOR, **more)


# --- what it holds --------------------------------------------------------------------------------------------------


@pytest.mark.row("F136")
def test_made_at_the_first_download_then_served_again(pki: PKI) -> None:
    first = pki.crl()
    assert pki.crl() == first
    assert len(first) == 0
    assert number(first) == 1
    # RFC 5280 §5.1.2.6: the list is absent, not empty. Times are followed at once by the extensions' [0].
    assert b"\xa0" in first.tbs_certlist_bytes
    assert x509.load_der_x509_crl(first.public_bytes(Encoding.DER)).get_revoked_certificate_by_serial_number(5) is None
    assert pkilint_findings(first.public_bytes(Encoding.DER), "crl") == []


@pytest.mark.row("F136")
def test_a_full_crl_has_a_number_and_a_key_identifier_and_nothing_more(lite: PKI) -> None:
    crl = lite.crl()
    assert [extension.oid for extension in crl.extensions] == [
        x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid,
    ]  # fmt: skip
    assert not any(extension.critical for extension in crl.extensions)
    own = lite.issuer().extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == own.digest
    assert crl.issuer == lite.issuer().subject
    assert crl.issuer.public_bytes() == lite.issuer().subject.public_bytes()


@pytest.mark.row("F138")
def test_every_revocation_is_on_the_next_crl(pki: PKI) -> None:
    before = pki.crl()
    issued = pki.issue()
    assert pki.crl() == before
    since = pki.world.clock.now() - timedelta(days=2)
    revoke(pki, issued, RevocationReason.KEY_COMPROMISE, invalidity_date=since)
    after = pki.crl()
    assert number(after) > number(before)
    (entry,) = after
    assert entry.serial_number == serial_of(issued)
    assert entry.revocation_date_utc == pki.world.clock.now()
    reason = entry.extensions.get_extension_for_class(x509.CRLReason)
    assert (reason.critical, reason.value.reason) == (False, x509.ReasonFlags.key_compromise)
    assert entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc == since
    assert len(pki.crl("other")) == 0
    assert pkilint_findings(after.public_bytes(Encoding.DER), "crl") == []


def test_unspecified_is_said_by_saying_nothing(lite: PKI) -> None:
    revoke(lite, lite.issue(), RevocationReason.UNSPECIFIED)
    (entry,) = lite.crl()
    assert len(entry.extensions) == 0


def test_held_is_on_it_and_released_is_off_it_without_remove_from_crl(pki: PKI) -> None:
    issued = pki.issue()
    pki.world.services.revocations.hold(issued.id, OPERATOR)
    (entry,) = pki.crl()
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.certificate_hold
    pki.world.services.revocations.release(issued.id, OPERATOR)
    assert len(pki.crl()) == 0


def test_given_up_certificates_are_on_it(lite: PKI) -> None:
    """Nobody knows for certain that the key did not sign them."""
    issued = lite.issue()

    def give_up(c: Any) -> None:
        c.exec_driver_sql("UPDATE certificate SET status = 'abandoned', revoked_at = 5, reason = NULL WHERE serial = ?",
                          (serial_of(issued).to_bytes(19),))  # fmt: skip
        c.exec_driver_sql("UPDATE issuer SET status_epoch = status_epoch + 1")

    lite.world.parts.db.write(Step.CERTIFICATE_ABANDON, give_up)
    assert serials(lite.crl()) == {serial_of(issued)}


@pytest.mark.row("F136")
def test_openssl_believes_it(lite: PKI, tmp_path: Path) -> None:
    good, revoked = lite.issue(name="good.corp.example"), lite.issue(name="bad.corp.example")
    revoke(lite, revoked, RevocationReason.KEY_COMPROMISE)
    moment = int(lite.world.clock.now().timestamp())
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join(lite.issuer(name).public_bytes(Encoding.PEM) for name in ("root", "issuing")))
    lists = tmp_path / "crls.pem"
    lists.write_bytes(b"".join(lite.crl(name).public_bytes(Encoding.PEM) for name in ("root", "issuing")))
    for issued, expected in ((good, 0), (revoked, 2)):
        leaf = tmp_path / "leaf.pem"
        leaf.write_bytes(x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM))
        done = run_tool("openssl", "verify", "-attime", str(moment), "-crl_check_all", "-CAfile", chain,
                        "-CRLfile", lists, leaf)  # fmt: skip
        assert done.returncode == expected, done
        assert (b"revoked" in done.stderr + done.stdout) == (expected != 0)
    lists.write_bytes(lite.crl().public_bytes(Encoding.PEM))
    assert "Revoked certificates (1)" in accepted(run_tool("certtool", "--crl-info", "--infile", lists))


# --- when it is made ------------------------------------------------------------------------------------------------


@pytest.mark.row("F137")
@pytest.mark.row("D27")
def test_seven_days_and_remade_at_half_life(pki: PKI) -> None:
    now = pki.world.clock.now()
    first = pki.crl()
    assert (first.last_update_utc, first.next_update_utc) == (now - timedelta(minutes=5), now + timedelta(days=7))
    half = first.last_update_utc + (now + timedelta(days=7) - first.last_update_utc) / 2
    pki.world.clock.moment = half - timedelta(seconds=1)
    assert pki.crl() == first
    assert (pki.issuer_id(), FULL_LIST) not in pki.world.services.crls.schedule.due()
    pki.world.clock.moment = half
    assert (pki.issuer_id(), FULL_LIST) in pki.world.services.crls.schedule.due()
    second = pki.crl()
    assert number(second) == number(first) + 1
    assert second.last_update_utc == half - timedelta(minutes=5)


@pytest.mark.row("F137")
@pytest.mark.row("D27")
def test_thirty_days_are_allowed(lite: PKI) -> None:
    lite.world.apply(DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {validity: 30d},"))
    assert lite.crl().next_update_utc == lite.world.clock.now() + timedelta(days=30)


def test_an_expired_crl_is_made_anew_at_the_next_download(lite: PKI) -> None:
    lite.crl()
    lite.world.pass_time(timedelta(days=400))
    assert lite.crl().next_update_utc == lite.world.clock.now() + timedelta(days=7)


def test_nothing_was_known_before_the_issuer_was_there(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{name: root, key: {type: ec, curve: p256}}]")
    pki = PKI(sqlite_world)
    assert pki.crl("root").last_update_utc == pki.issuer("root").not_valid_before_utc == sqlite_world.clock.now()


def test_numbers_and_times_always_rise(lite: PKI) -> None:
    seen = [lite.crl()]
    for _ in range(5):
        revoke(lite, lite.issue())
        seen.append(lite.crl())  # all within one second of the clock
    assert [number(crl) for crl in seen] == sorted({number(crl) for crl in seen})
    times = [crl.last_update_utc for crl in seen]
    assert times == sorted(set(times))
    assert times[-1] <= lite.world.clock.now()


def test_a_clock_that_is_set_back_gives_no_crl_from_the_future(lite: PKI) -> None:
    issued, first = lite.issue(), lite.crl()
    lite.world.pass_time(-timedelta(minutes=30))
    revoke(lite, issued)
    second = lite.crl()
    assert number(second) > number(first)
    assert second.last_update_utc <= lite.world.clock.now()


def test_lists_made_while_the_clock_was_ahead_let_nothing_go_that_has_not_ended(pki: PKI) -> None:
    issued = pki.issue()
    revoke(pki, issued)
    assert serials(pki.crl()) == {serial_of(issued)}
    pki.world.pass_time(timedelta(days=365))
    pki.crl()
    pki.world.services.crls.make(pki.issuer_id())
    assert serials(pki.crl()) == set()  # as if it had ended
    pki.world.pass_time(-timedelta(days=365))
    assert serials(pki.crl()) == {serial_of(issued)}


def test_a_list_from_the_future_is_made_anew_though_nothing_is_revoked(pki: PKI) -> None:
    pki.world.pass_time(timedelta(days=365))
    ahead = pki.crl()
    pki.world.pass_time(-timedelta(days=365))
    assert (pki.issuer_id(), FULL_LIST) in pki.world.services.crls.schedule.due()
    back = pki.crl()
    assert number(back) > number(ahead)
    assert back.last_update_utc <= pki.world.clock.now() < ahead.last_update_utc
    assert pki.crl() == back
    assert (pki.issuer_id(), FULL_LIST) not in pki.world.services.crls.schedule.due()


def test_expired_certificates_stand_on_one_more_crl(pki: PKI) -> None:
    """RFC 5280 §3.3."""
    issued = pki.issue()
    serial, ends = serial_of(issued), x509.load_der_x509_certificate(issued.der).not_valid_after_utc
    revoke(pki, issued)
    pki.world.clock.moment = ends - timedelta(minutes=1)
    assert serial in serials(pki.crl())
    pki.world.clock.moment = ends + timedelta(days=4)
    beyond = pki.crl()
    assert beyond.last_update_utc > ends
    assert serial in serials(beyond)
    pki.world.pass_time(timedelta(days=4))
    assert serial not in serials(pki.crl())


def test_revoked_after_its_end_it_stands_on_one_crl_too(pki: PKI) -> None:
    issued = pki.issue()
    pki.world.pass_time(timedelta(days=100))
    pki.crl()
    pki.world.pass_time(timedelta(days=1))
    revoke(pki, issued)
    for _ in range(2):  # the second one for caution: thisUpdate lies before the moment a list is made
        assert serials(pki.crl()) == {serial_of(issued)}
        pki.world.pass_time(timedelta(days=4))
    assert serials(pki.crl()) == set()


def test_only_some_are_kept(lite: PKI) -> None:
    for _ in range(6):
        revoke(lite, lite.issue())
        lite.crl()
    assert lite.rows("crl") <= crl_room.KEPT * 3


# --- when it cannot be made -----------------------------------------------------------------------------------------


@pytest.fixture
def wrong_master_key(lite: PKI, tmp_path: Path) -> Iterator[None]:
    """The process starts anew, and what it is given as master key is another one."""
    source = FileSource(tmp_path / "other.key")
    create_master_key_file(source.path, SystemEntropy())
    keyring = Keyring(load_master_keys(source), lambda: load_master_keys(source))
    parts = lite.world.parts
    right = parts.keyring
    object.__setattr__(parts, "keyring", keyring)
    yield
    object.__setattr__(parts, "keyring", right)


def test_the_last_valid_one_is_served_under_a_wrong_master_key(
    lite: PKI, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    before = lite.crl()
    issued = lite.issue()
    revoke(lite, issued)
    request.getfixturevalue("wrong_master_key")
    taken = lite.world.parts.db.read(lambda c: c.exec_driver_sql("SELECT max(crl_number) FROM issuer").scalar())
    restarted = CRLs(lite.world.parts)
    for _ in range(20):
        assert restarted.current(lite.issuer_id()).der == before.public_bytes(Encoding.DER)
    assert len([record for record in caplog.records if "cannot be made" in record.message]) == 1
    again = lite.world.parts.db.read(lambda c: c.exec_driver_sql("SELECT max(crl_number) FROM issuer").scalar())
    assert again == taken  # nothing was touched
    lite.world.pass_time(timedelta(days=8))  # and not when it has ended
    with pytest.raises(Unavailable, match="master key"):
        restarted.current(lite.issuer_id())


def test_signing_that_comes_back_is_noticed(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lite.crl()
    issued = lite.issue()
    revoke(lite, issued)

    def fail(*_: object) -> None:
        raise NotSigned("the key is offline")

    with monkeypatch.context() as patch:
        patch.setattr(LocalSigner, "sign", fail)
        assert lite.crl() == before
    assert lite.crl() == before  # not tried at each download
    lite.world.pass_time(crl_room.PAUSE)
    assert serials(lite.crl()) == {serial_of(issued)}


def test_downloads_of_a_list_that_cannot_be_made_leave_nothing_in_memory(
    lite: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotSigned("the key is offline")

    monkeypatch.setattr(LocalSigner, "sign", fail)
    issuer_id = lite.issuer_id()
    with pytest.raises(NotSigned):
        lite.world.services.crls.current(issuer_id)
    for _ in range(3):  # the first one was logged, and pytest keeps what is logged
        assert is_freed_after(NotSigned, lambda: lite.world.services.crls.current(issuer_id))


def test_a_signature_that_does_not_hold_is_not_published(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalSigner, "sign_bytes", lambda *_: b"\x30\x06\x02\x01\x01\x02\x01\x01")
    with pytest.raises(Unverified):
        lite.world.services.crls.make(lite.issuer_id())
    assert lite.rows("crl") == 0


def test_issuers_there_are_not(pki: PKI) -> None:
    for issuer_id in (0, -1, 4711):
        with pytest.raises(NotFound):
            pki.world.services.crls.current(issuer_id)


# --- many at once ---------------------------------------------------------------------------------------------------


def _together(count: int, act: Any) -> list[Any]:
    results: list[Any] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        results.append(act())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.row("F136")
def test_one_flight_for_many_threads(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = CRLs.make

    def counted(self: CRLs, issuer_id: int, *part: Any) -> Any:
        made.append(issuer_id)
        return make(self, issuer_id, *part)

    monkeypatch.setattr(CRLs, "make", counted)
    issuer_id = pki.issuer_id()
    results = _together(12, lambda: pki.world.services.crls.current(issuer_id).number)
    assert (results, len(made)) == ([1] * 12, 1)


def test_processes_that_make_one_at_once_never_share_a_number(pki: PKI) -> None:
    """Each of them has its own memory: what they have in common is the database."""
    issuer_id = pki.issuer_id()
    processes = iter([CRLs(pki.world.parts) for _ in range(6)])
    _together(6, lambda: next(processes).make(issuer_id))
    rows = pki.world.parts.db.read(
        lambda c: c.exec_driver_sql("SELECT number, der FROM crl ORDER BY number").fetchall()
    )
    assert len({row[0] for row in rows}) == len(rows)
    for row in rows:
        assert number(x509.load_der_x509_crl(bytes(row[1]))) == row[0]


def test_a_slow_crl_does_not_hold_those_who_have_a_valid_one(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_room, "PATIENCE", 0.05)
    before = lite.world.services.crls.current(lite.issuer_id())
    revoke(lite, lite.issue())
    started, go_on = threading.Event(), threading.Event()
    make = CRLs.make

    def slow(self: CRLs, issuer_id: int, *part: Any) -> Any:
        started.set()
        assert go_on.wait(30)
        return make(self, issuer_id, *part)

    monkeypatch.setattr(CRLs, "make", slow)
    thread = threading.Thread(target=lite.crl)
    thread.start()
    assert started.wait(30)
    assert lite.world.services.crls.current(lite.issuer_id()) == before
    go_on.set()
    thread.join(30)
    assert len(lite.crl()) == 1


def test_a_list_that_would_go_back_is_not_published(lite: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process publishes a list of a later state while this one is being signed."""
    issued = lite.issue()
    slow, fast = CRLs(lite.world.parts), CRLs(lite.world.parts)
    sign = LocalSigner.sign

    def overtaken(self: LocalSigner, order: Any) -> bytes:
        monkeypatch.setattr(LocalSigner, "sign", sign)
        revoke(lite, issued)
        assert fast.current(lite.issuer_id()).number == 2
        return sign(self, order)

    monkeypatch.setattr(LocalSigner, "sign", overtaken)
    assert slow.make(lite.issuer_id()).number == 2
    issuer_id = lite.issuer_id()
    head = lite.world.parts.db.read(lambda c: crls.head(c, issuer_id))
    assert head is not None
    assert head.number == 2


@pytest.mark.parametrize("revocations", [1, 2])
def test_a_newer_list_that_covers_less_is_not_what_was_asked_for(
    pki: PKI, monkeypatch: pytest.MonkeyPatch, revocations: int
) -> None:
    """Another process takes a later number, and reads the database and publishes before the revocation."""
    issued = [pki.issue(name=f"n{n}.corp.example") for n in range(revocations)]
    slow, fast = CRLs(pki.world.parts), CRLs(pki.world.parts)
    sign, left = CRLs._sign, list(issued)

    def overtaken(self: CRLs, *order: Any) -> Any:
        if self is slow and left:
            fast.make(pki.issuer_id())
            revoke(pki, left.pop())
        return sign(self, *order)

    monkeypatch.setattr(CRLs, "_sign", overtaken)
    made = x509.load_der_x509_crl(slow.make(pki.issuer_id()).der)
    assert serials(made) == {serial_of(one) for one in issued}
