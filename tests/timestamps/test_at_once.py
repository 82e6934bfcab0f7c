"""What a server's main loop stamps by itself: only what waits for nothing, by the same rules as all other tokens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.timestamps import FailureInfo
from pkiconf.store import timestamps
from pkiconf.timestamps.ledger import BLOCK
from tests.timestamps.stamping import declare, granted, query, refused, signed_data, tst_info, verify
from tests.world import OPERATOR, World

COUNTED = "enabled: true, record: count"


def at_once(world: World, request: bytes, slug: str = "issuing") -> bytes | None:
    """The response; None where somebody would have to wait for it."""
    found = world.services.timestamps.at_once(slug, request)
    if found is None:
        return None
    assert found[1] is None
    return found[0]


def counted(world: World) -> int:
    authority = world.services.lookup.get("issuing").row.id
    return world.parts.db.read(lambda c: timestamps.count(c, authority, 0, 1 << 55))[1]


@pytest.mark.row("F141")
def test_a_counted_token_where_the_database_is_a_file(world: World, tmp_path: Path) -> None:
    declare(world, COUNTED)
    request = query(tmp_path)
    assert at_once(world, request) is None  # numbers have to be taken first
    first = granted(world, request)
    second = at_once(world, request)
    if world.parts.db.dialect != "sqlite":
        assert second is None
        return
    assert second is not None
    verify(world, tmp_path, second)
    assert tst_info(second)["serial_number"].native != tst_info(first)["serial_number"].native
    assert tst_info(second)["nonce"].native == tst_info(first)["nonce"].native


@pytest.mark.parametrize("key", ["type: rsa, size: 4096", "type: ml-dsa"])
def test_a_slow_key_signs_in_a_thread(sqlite_world: World, tmp_path: Path, key: str) -> None:
    declare(sqlite_world, COUNTED, key)
    request = query(tmp_path)
    for _ in range(2):
        granted(sqlite_world, request)
        assert at_once(sqlite_world, request) is None


def test_each_is_counted(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    made = sum(at_once(sqlite_world, request) is not None for _ in range(BLOCK + 3))
    assert made == BLOCK - 1  # the next one has to write, and waits for that
    granted(sqlite_world, request)
    assert at_once(sqlite_world, request) is not None
    sqlite_world.services.timestamps.close()
    assert counted(sqlite_world) == 1 + made + 1 + 1
    assert at_once(sqlite_world, request) is None


@pytest.mark.parametrize("declared", ["enabled: true", "enabled: true, record: count, ordering: true"])
def test_what_has_to_be_written_is_left_to_a_thread(sqlite_world: World, tmp_path: Path, declared: str) -> None:
    declare(sqlite_world, declared)
    request = query(tmp_path)
    granted(sqlite_world, request)
    assert at_once(sqlite_world, request) is None


def test_another_day_has_numbers_of_its_own(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    midnight = timedelta(hours=11, minutes=59, seconds=30)
    sqlite_world.pass_time(midnight)
    granted(sqlite_world, request)
    assert at_once(sqlite_world, request) is not None
    sqlite_world.pass_time(timedelta(seconds=30))
    assert at_once(sqlite_world, request) is None


def test_once_a_minute_somebody_records_up_to_when_was_stamped(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    sqlite_world.pass_time(timedelta(seconds=59))
    assert at_once(sqlite_world, request) is not None
    sqlite_world.pass_time(timedelta(seconds=1))
    assert at_once(sqlite_world, request) is None
    granted(sqlite_world, request)
    assert at_once(sqlite_world, request) is not None
    sqlite_world.services.timestamps.close()
    assert counted(sqlite_world) == 4


def test_time_servers_are_not_waited_for(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    declare(sqlite_world, COUNTED, settings="clock: { ntp: [127.0.0.1] }")
    sqlite_world.pass_time(timedelta(minutes=1))
    assert at_once(sqlite_world, request) is None


def test_tokens_that_are_to_be_recorded_from_now_on_are(sqlite_world: World, tmp_path: Path) -> None:
    """Though there are numbers left that were taken ahead."""
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    declare(sqlite_world, "enabled: true, record: all")
    assert at_once(sqlite_world, request) is None


def test_a_clock_that_went_back_stamps_nothing(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    sqlite_world.timepiece.moved = -3600 * 1_000_000
    found = sqlite_world.services.timestamps.at_once("issuing", request)
    assert found is not None
    assert found[1] is FailureInfo.TIME_NOT_AVAILABLE


def test_refusals_are_those_of_the_longer_way(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    granted(sqlite_world, query(tmp_path))
    for request, failure in (
        (b"", FailureInfo.BAD_DATA_FORMAT),
        (b"\x30\x00", FailureInfo.BAD_DATA_FORMAT),
        (query(tmp_path, "-md5"), FailureInfo.BAD_ALG),
        (query(tmp_path, "-sha256", "-tspolicy", "1.2.3.4"), FailureInfo.UNACCEPTED_POLICY),
    ):
        found = sqlite_world.services.timestamps.at_once("issuing", request)
        assert found == sqlite_world.services.timestamps.answer("issuing", request)
        assert found is not None
        assert found[1] is failure
    sqlite_world.services.timestamps.close()
    assert counted(sqlite_world) == 1


@pytest.mark.parametrize("slug", ["root", "nobody", "iss\0uing"])
def test_nobody_stamps_under_another_name(sqlite_world: World, tmp_path: Path, slug: str) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    assert at_once(sqlite_world, request, slug) is None


def test_a_signer_that_was_revoked_stamps_nothing_more(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path, "-sha256", "-cert")
    granted(sqlite_world, request)
    first = at_once(sqlite_world, request)
    assert first is not None
    signer = signed_data(first)["signer_infos"][0]["sid"].chosen["serial_number"].native
    issuer_id = sqlite_world.services.lookup.get("issuing").row.current_issuer_id
    assert issuer_id is not None
    revoked = CertificateID(issuer_id, signer)
    sqlite_world.services.revocations.revoke(revoked, RevocationReason.KEY_COMPROMISE, OPERATOR)
    assert at_once(sqlite_world, request) is None
    granted(sqlite_world, request)
    second = at_once(sqlite_world, request)
    assert second is not None
    assert signed_data(second)["signer_infos"][0]["sid"].chosen["serial_number"].native != signer


def test_a_changed_declaration_holds_for_the_next_token(sqlite_world: World, tmp_path: Path) -> None:
    declare(sqlite_world, COUNTED)
    request = query(tmp_path)
    granted(sqlite_world, request)
    declare(sqlite_world, "enabled: true, record: count, digests: [sha512]")
    assert at_once(sqlite_world, request) is None  # who signs is declared there, too, and has to be looked for
    refused(sqlite_world, request)
    found = sqlite_world.services.timestamps.at_once("issuing", request)
    assert found is not None
    assert found[1] is FailureInfo.BAD_ALG
    declare(sqlite_world, "enabled: false")
    assert sqlite_world.services.timestamps.at_once("issuing", request) is None
