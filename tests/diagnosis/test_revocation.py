"""What a check-up says of CRLs that are late or withheld, of answers signed ahead, and of two clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pkiconf.diagnosis.diagnose import check_server_clock
from pkiconf.diagnosis.finding import Finding, Severity
from pkiconf.diagnosis.revocation import check_crls, check_presigned
from pkiconf.model.revocation import RevocationReason
from pkiconf.revocation.crl_comparison import Withheld
from pkiconf.store.crls import FULL_LIST, Part
from pkiconf.worker import Worker
from tests.revocation.pki import DECLARATION, PKI, prepare
from tests.revocation.test_crl_comparison import SQL, tamper
from tests.world import OPERATOR, World

DIVIDED = DECLARATION.replace("{name: issuing,", "{name: issuing, crl: {partitions: 1, delta: 6h},")
PRESIGNED = DECLARATION.replace("{name: issuing,", "{name: issuing, ocsp: {presign: [sha1]},")


def look(world: World) -> list[Finding]:
    now = world.clock.now()
    found = world.parts.db.read(lambda c: [*check_crls(c, now), *check_presigned(c, now)])
    return [finding for finding in found if finding.severity is not Severity.OK]


def withhold(pki: PKI, part: Part = FULL_LIST) -> None:
    issued = pki.issue()
    services = pki.world.services
    services.revocations.revoke(issued.id, RevocationReason.KEY_COMPROMISE, OPERATOR)
    services.crls.make(pki.issuer_id(), part)
    tamper(pki, SQL["good again"], issued)
    with pytest.raises(Withheld):
        services.crls.make(pki.issuer_id(), part)


def test_a_withheld_crl_is_an_error_with_what_to_do(world: World) -> None:
    pki = prepare(world)
    withhold(pki)
    (finding,) = look(world)
    assert finding.severity is Severity.ERROR
    assert "no CRL of issuing is published" in finding.text
    assert "would drop" in finding.text
    assert "pkiconf crl make issuing --generation 1 --accept-dropped" in finding.remedy
    world.services.crls.make_as_it_is(pki.issuer_id(), FULL_LIST, OPERATOR)
    assert look(world) == []


def test_which_part_is_withheld_is_said(sqlite_world: World) -> None:
    assert sqlite_world.apply(DIVIDED).exit_code == 0
    withhold(PKI(sqlite_world), Part(1))
    (finding,) = look(sqlite_world)
    assert "of issuing (part 1)" in finding.text
    assert "--part 1 --accept-dropped" in finding.remedy


def test_parts_and_deltas_that_are_late_are_told(sqlite_world: World) -> None:
    assert sqlite_world.apply(DIVIDED).exit_code == 0
    pki = PKI(sqlite_world)
    pki.issue()
    Worker(sqlite_world.services).run_once()
    assert look(sqlite_world) == []
    sqlite_world.pass_time(timedelta(days=1))
    late = {
        finding.text.partition(" ended")[0].partition(" of ")[2]: finding.severity for finding in look(sqlite_world)
    }
    assert late == {"issuing (full, delta)": Severity.ERROR, "issuing (part 1, delta)": Severity.ERROR}
    sqlite_world.pass_time(timedelta(days=5))
    assert any("issuing (part 1) is past half" in finding.text for finding in look(sqlite_world))
    Worker(sqlite_world.services).run_once()
    assert look(sqlite_world) == []


def test_deltas_that_are_no_longer_declared_are_not_late(sqlite_world: World) -> None:
    assert sqlite_world.apply(DIVIDED).exit_code == 0
    Worker(sqlite_world.services).run_once()
    assert sqlite_world.apply(DIVIDED.replace(", delta: 6h", ", delta: null")).exit_code == 0
    sqlite_world.pass_time(timedelta(days=1))
    assert look(sqlite_world) == []


def test_answers_signed_ahead_that_are_old_are_a_warning(sqlite_world: World) -> None:
    assert sqlite_world.apply(PRESIGNED).exit_code == 0
    pki = PKI(sqlite_world)
    pki.issue()
    assert look(sqlite_world) == []  # none yet: they are signed when asked for
    Worker(sqlite_world.services).run_once()
    assert look(sqlite_world) == []
    sqlite_world.pass_time(timedelta(hours=20))
    (finding,) = [finding for finding in look(sqlite_world) if finding.check == "OCSP"]
    assert finding.severity is Severity.WARNING
    assert "pkiconf worker" in finding.remedy
    Worker(sqlite_world.services).run_once()
    assert look(sqlite_world) == []


@pytest.mark.parametrize(("seconds", "said"), [(0, ""), (60, "60 s ahead of"), (-60, "60 s behind")])
def test_a_host_whose_clock_is_not_the_database_s(world: World, seconds: int, said: str) -> None:
    found = list(check_server_clock(world.parts.db, datetime.now(UTC) + timedelta(seconds=seconds)))
    if world.parts.db.dialect == "sqlite" or not said:
        assert found == []
    else:
        (finding,) = found
        assert finding.severity is Severity.ERROR
        assert f"{said} the database" in finding.text.replace("61 s", "60 s").replace("59 s", "60 s")
